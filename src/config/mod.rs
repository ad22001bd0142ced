//! Decides what a configuration file means: text in, settings out, or every problem of it at once.
//!
//! Must never let a file with a problem become settings, and never read a key, a bundle or a token.

mod build;
mod checks;
mod field;
mod files;
mod ledger;
mod load;
mod net;
mod place;
mod raw;
mod read;
mod report;
mod schema;
#[cfg(test)]
mod scratch;
mod similar;
#[cfg(test)]
mod tests;
mod tree;

use std::path::PathBuf;

pub use load::{load, load_settled};
pub use report::{Finding, Report};
pub use schema::schema;

use crate::exchange::{AuditSettings, Grants, LimitSettings};
use crate::identity::{IssuerUrl, TrustDomain};
use crate::issue::SigningSettings;
use crate::policy::{ResourceSettings, RuleSettings, TestSettings};
use crate::store::StateSettings;
use crate::telemetry::TelemetrySettings;
use crate::trust::SourceSettings;
use crate::wire::{AdminSettings, GrpcSettings, ListenSettings};

/// One configuration without a problem: the settings of every module.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Who we are, byte for byte as tokens say it.
    pub issuer: IssuerUrl,
    /// The trust domain of identities that we make ourselves.
    pub identity_domain: TrustDomain,
    /// The address for workloads.
    pub listen: ListenSettings,
    /// The address for health and metrics.
    pub admin: AdminSettings,
    /// Our own keys.
    pub signing: SigningSettings,
    /// The authorities of the certificate at our public URL, if the system does not know them.
    pub canary_ca: Option<PathBuf>,
    /// What is remembered between starts.
    pub state: StateSettings,
    /// How decisions are recorded.
    pub audit: AuditSettings,
    /// The gRPC services.
    pub grpc: GrpcSettings,
    /// How many requests are taken.
    pub limits: LimitSettings,
    /// The grants that are served.
    pub grants: Vec<Grants>,
    /// Whether proofs of possession must repeat a nonce of ours.
    pub dpop_nonce: bool,
    /// Where telemetry goes besides `/metrics`.
    pub telemetry: TelemetrySettings,
    /// Whose word counts.
    pub sources: Vec<SourceSettings>,
    /// The issuers of people for whom workloads act.
    pub subjects: Vec<SourceSettings>,
    /// What tokens are for.
    pub resources: Vec<ResourceSettings>,
    /// Who may have what, over all files in their order.
    pub rules: Vec<RuleSettings>,
    /// Questions with the answers that must come out, over all files in their order.
    pub tests: Vec<TestSettings>,
    /// Every file that was read, the main one first.
    pub files: Vec<PathBuf>,
    /// SHA-256 of the contents of those files, in lower-case hexadecimal: the same files, the same hash.
    pub hash: String,
}

impl Configuration {
    /// Everybody whose keys are kept: the sources of callers, then the issuers of people.
    pub fn authorities(&self) -> Vec<SourceSettings> {
        self.sources.iter().chain(&self.subjects).cloned().collect()
    }
}

/// A configuration that may be used, and what is worth a look in it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub configuration: Configuration,
    /// Lints alone; empty for a clean file.
    pub lints: Report,
}

/// What of the environment may be asked for by a configuration. Reading it is the caller's.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `SPIFFE_ENDPOINT_SOCKET`, for sources that say `workload_api: auto` (WAP-02).
    pub spiffe_endpoint_socket: Option<String>,
}
