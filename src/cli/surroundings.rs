//! What a running `countersign up` has told about itself, so that other commands need no flags beside it.
//!
//! `up` writes `up.json` into its directory; it says the same as `up -o json`. Nothing in it is secret.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where things are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Surroundings {
    /// The issuer of the running service.
    pub(super) issuer: String,
    /// Its configuration.
    pub(super) config: PathBuf,
    /// The pretend SPIFFE agent.
    pub(super) workload_api: String,
    /// The pretend clusters.
    pub(super) clusters: Vec<Cluster>,
    /// The admin address.
    pub(super) admin: String,
}

/// A pretend cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cluster {
    /// Its name, as the configuration has it.
    pub(super) name: String,
    /// Its API server.
    pub(super) url: String,
    /// The certificate authority of its API server.
    pub(super) ca_file: PathBuf,
    /// A token that may ask for pods' tokens.
    pub(super) admin_token_file: PathBuf,
}

impl Surroundings {
    /// Where `up` writes it.
    pub(super) fn file_in(directory: &Path) -> PathBuf {
        directory.join("up.json")
    }

    /// Of the `up` in `./.countersign`, if there is one.
    pub(super) fn find() -> Option<Self> {
        let text = std::fs::read(Self::file_in(Path::new("./.countersign"))).ok()?;
        serde_json::from_slice(&text).ok()
    }
}
