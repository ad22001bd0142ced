//! What can be had once: keys of 32 bytes that are claimed for a while.
//!
//! Knows nothing of credentials; who claims makes the key.

use crate::clock::Timestamp;

/// Names what is claimed. A hash: of one length whatever it is made of, and it gives nothing away.
pub type ClaimKey = [u8; 32];

/// One thing to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What.
    pub key: ClaimKey,
    /// What it is tied to: it can be had again by who brings the same. `None`: once, and by nobody again.
    pub tied_to: Option<[u8; 32]>,
    /// Until when it counts.
    pub until: Timestamp,
}

/// Whether all of the claims of one call were to be had. If not, none of them was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// All are the caller's now, durably.
    First,
    /// The one at this place was had before.
    Again(usize),
}
