//! countersign: a SPIFFE-native workload identity broker.

pub mod clock;
pub mod entropy;
pub mod secret;
