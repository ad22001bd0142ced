//! Whose word counts: the configured sources, their keys, and how fresh those are.
//!
//! Never judges a credential, never dials what a token names, never makes a reader wait for the network.

mod settings;

pub use settings::{Endpoint, KubernetesKeys, SourceKind, SourceSettings, SpiffeKeys, check};
