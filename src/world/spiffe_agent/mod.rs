//! A pretend SPIFFE trust domain, and an agent that serves its Workload API on a Unix socket.
//!
//! Never decides who a caller is: everybody on the socket gets the configured identities.

mod agent;
mod answers;
mod bundle_endpoint;
mod change;
mod service;
mod trust_domain;

pub use self::agent::{Answer, Registration, Rpc, WorkloadApi};
pub use self::bundle_endpoint::{BUNDLE_PATH, BundleEndpoint};
pub use self::trust_domain::PretendTrustDomain;

/// Messages and server of `proto/workload.proto`.
mod proto {
    #![expect(
        unreachable_pub,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        reason = "generated code"
    )]

    tonic::include_proto!("_");
}

#[cfg(test)]
mod tests;
