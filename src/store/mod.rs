//! What is remembered between requests: decisions in a journal, claims and revocations in the store.
//!
//! Knows bytes, names and times, never what they mean; nothing here decides anything.

mod claims;
mod database;
mod fault;
mod handle;
mod journal;
mod revocations;
mod settings;
#[cfg(test)]
mod tests;
mod writer;

pub use claims::{Claim, ClaimKey, Claimed};
pub use fault::{StoreFault, StoreUnopened};
pub use handle::Store;
pub use journal::{Journal, JournalReader, Kept, LostRecords};
pub use revocations::{Revocation, RevocationKind, Snapshot};
pub use settings::{SMALLEST_JOURNAL, StateSettings, StoreLimits};
