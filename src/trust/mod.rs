//! Whose word counts: the configured sources, their keys, and how fresh those are.
//!
//! Never judges a credential, never dials what a token names, never makes a reader wait for the network.

mod authorities;
mod backoff;
mod bundle_endpoint;
mod bundle_stream;
mod check;
mod engine;
mod freshness;
mod key_endpoint;
mod key_file;
mod known_issuers;
mod last_good;
mod ledger;
mod look_again;
mod names;
mod origin;
mod outbound;
mod own_svid;
mod refresh;
mod server_identity;
mod settings;
mod source;
mod status;
mod view;
mod workload_api;
mod workload_svid;
mod x509_svid;

pub use authorities::{Authorities, Authority};
pub use check::check;
pub use engine::Trust;
pub use key_file::check_key_files;
pub use known_issuers::Platform;
pub use look_again::LookAgain;
pub use own_svid::{OwnSvid, follow_own_svid};
pub use settings::{Endpoint, EndpointProfile, IssuerKeys, Reuse, SourceKind, SourceSettings, SpiffeKeys};
pub use source::{KeysNow, KeysUnusable, TrustedSource};
pub use status::{Collision, SourceStatus};
pub use view::TrustView;
pub use workload_svid::{NoSvid, fetch_jwt_svid};
pub use x509_svid::{Chain, Leaf, Side};

#[cfg(all(test, feature = "world"))]
mod tests;
