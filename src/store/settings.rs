//! Where things are remembered, and how much of them.

use std::path::PathBuf;

/// The least space for decisions: sixteen segments that hold at least one record of the longest kind.
pub const SMALLEST_JOURNAL: u64 = super::journal::SMALLEST_LIMIT;

/// Settings of what is remembered between requests and starts. One folder for each process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// The folder.
    pub directory: PathBuf,
    /// The most bytes of kept decisions.
    pub decisions: u64,
}
