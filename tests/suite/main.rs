//! The integration suite: the product through its real doors, over pretend sources with real protocols.
//!
//! One binary, so that it links once. Each module is a set of promises; `stage` starts what they need.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod accepted;
mod cases;
mod commands;
mod contract;
mod deployment;
mod documents;
mod dpop;
mod evidence;
mod faults;
#[path = "../fuzz/mod.rs"]
mod fuzz;
mod grpc;
mod limits;
mod liveness;
mod mtls;
mod pushes;
mod requirements;
mod revocation;
mod rotation;
mod smoke;
mod stage;
#[cfg(feature = "otlp")]
mod telemetry;
