//! What is remembered between requests.
//!
//! Knows bytes and references, never what they mean; nothing here decides anything.

mod journal;
mod settings;

pub use journal::{Journal, JournalReader, Kept, LostRecords};
pub use settings::{SMALLEST_JOURNAL, StateSettings};
