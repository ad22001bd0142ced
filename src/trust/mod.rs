//! Whose word counts: the configured sources, their keys, and how fresh those are.
//!
//! Never judges a credential, never dials what a token names, never makes a reader wait for the network.

mod authorities;
mod backoff;
mod bundle_endpoint;
mod bundle_stream;
mod check;
mod cluster_keys;
mod engine;
mod extend;
mod extension;
mod freshness;
mod keeping;
mod key_endpoint;
mod key_file;
mod known_issuers;
mod last_good;
mod ledger;
mod liveness;
mod look_again;
mod names;
mod newcomers;
mod origin;
mod outage;
mod outbound;
mod own_svid;
mod public_keys;
mod push;
mod pushed;
mod reading;
mod refresh;
mod server_identity;
mod settings;
mod source;
mod status;
mod view;
mod whole_file;
mod workload_api;
mod workload_svid;
mod x509_svid;

pub use authorities::{Authorities, Authority};
pub use check::check;
pub use cluster_keys::ClusterKeys;
pub use engine::Trust;
pub use extend::ExtensionOrder;
pub use extension::{Extension, MOST_EXTENSION, MOST_EXTENSIONS, NotExtended};
pub use key_file::check_key_files;
pub use known_issuers::Platform;
pub use liveness::{Expected, Liveness, LivenessStatus, Verdict};
pub use look_again::LookAgain;
pub use outage::{BudgetEnd, FirstFailure, OutageBudget};
pub use own_svid::{OwnSvid, follow_own_svid};
pub use public_keys::PublicKeys;
pub use push::{NotTaken, Push, push_endpoint};
pub use pushed::LastPush;
pub use settings::{
    Endpoint, EndpointProfile, IssuerKeys, Reuse, ServiceAccount, SourceKind, SourceSettings, SpiffeKeys,
};
pub use source::{KeysNow, KeysUnusable, TrustedSource};
pub use status::{Collision, SourceStatus};
pub use view::TrustView;
pub use workload_svid::{NoSvid, fetch_jwt_svid};
pub use x509_svid::{Chain, Leaf, Side};

#[cfg(all(test, feature = "world"))]
mod tests;
