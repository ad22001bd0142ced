//! countersign: a SPIFFE-native workload identity broker.

pub mod clock;
pub mod entropy;
pub mod problem;
pub mod reason;
pub mod secret;

pub mod credential;
pub mod identity;
pub mod issue;
pub mod jose;
pub mod policy;
pub mod trust;
