//! countersign: a SPIFFE-native workload identity broker.
//!
//! A platform has given the workload a short-lived signed identity: a JWT-SVID or a Kubernetes service-account token.
//! countersign checks it against the platform's own keys, turns it into one `WorkloadIdentity`, asks the policy, and answers
//! with a short OAuth 2.0 access token that any standard resource server verifies.
//!
//! # The path of a credential
//!
//! ```text
//! bytes ─wire→ ExchangeRequest ─verify→ Parties ─policy→ Grant ─issue→ AccessToken ─record→ Decision ─wire→ bytes
//! ```
//!
//! A request takes one `Generation` (sources, resources and rules of one configuration) and reads the clock once. Each step hands
//! out a type that only it can make, so that no later step can run without it: [`verify::VerifiedIdentity`],
//! [`policy::Grant`], [`issue::AccessToken`].
//!
//! # The modules, lowest first
//!
//! Imports point upwards in this list only; a test reads every path and fails on one that points down.

#![warn(unreachable_pub)]

pub mod clock;
pub mod entropy;
pub mod lifecycle;
pub mod problem;
pub mod reason;
pub mod secret;
pub mod telemetry;

pub mod identity;
pub mod store;

pub mod credential;

pub mod jose;

pub mod trust;

pub mod verify;

pub mod policy;

pub mod issue;

pub mod exchange;

pub mod wire;

pub mod config;

#[cfg(feature = "world")]
pub mod world;

pub mod app;

pub mod cli;
