//! Numbers for whoever is on call.
//!
//! Labels come from closed lists and configured names; never an identity, a key id or anything that a caller chose.

mod metrics;

pub use metrics::{DecisionLabels, Metrics, SigningKeyCount, SourceNumbers};
