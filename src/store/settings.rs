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

/// How much the store holds (LIM-05). What does not fit is refused: an entry that matters is never dropped for a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Claims that still count.
    pub claims: u64,
    /// Revocations of all kinds.
    pub revocations: usize,
    /// Revocations of single tokens among them. Fewer, so that callers who revoke their own cannot take the room of operators.
    pub tokens: usize,
}

impl Default for StoreLimits {
    /// A million claims take about 200 MB of disk; 100,000 revocations about 30 MB of memory.
    fn default() -> Self {
        Self { claims: 1_000_000, revocations: 100_000, tokens: 90_000 }
    }
}
