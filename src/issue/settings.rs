//! Where signing keys live.

use std::path::PathBuf;

/// Settings of signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningSettings {
    /// The folder of dated key files. The processes on it make its first key themselves.
    pub directory: PathBuf,
}
