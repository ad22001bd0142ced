//! What is to be said about a source: how many keys, how fresh, what went wrong last.
//!
//! Decides nothing, and holds no key material.

use super::{Extension, LastPush, LivenessStatus, OutageBudget};
use crate::clock::{Lifetime, Timestamp};
use crate::identity::{KeyId, SourceName};
use crate::jose::Thumbprint;

/// The state of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Its name.
    pub name: SourceName,
    /// `spiffe`, `kubernetes`, `oidc` or `people`.
    pub kind: &'static str,
    /// Usable keys.
    pub keys: usize,
    /// Keys of its document that cannot be used (JWK-08).
    pub skipped: usize,
    /// X.509 authorities.
    pub authorities: usize,
    /// What is wrong with them at this moment, in a sentence.
    pub authorities_error: Option<String>,
    /// Keys that belong to another source (design §3).
    pub collisions: Vec<Collision>,
    /// When the keys were last confirmed; now, while a stream is open. `None`: there never were any.
    pub confirmed_at: Option<Timestamp>,
    /// Until when the keys may be used, if they are not confirmed again.
    pub usable_until: Option<Timestamp>,
    /// An operator's order that they serve longer, while it stands.
    pub extension: Option<Extension>,
    /// Until when nobody is refused, if the source stays away from now on.
    pub budget: OutageBudget,
    /// How far its clock is ahead of ours in seconds, by the `Date` of its last answer; behind is negative.
    pub skew_seconds: Option<i64>,
    /// The last push that was taken, where keys are pushed.
    pub last_push: Option<LastPush>,
    /// How far ahead of ours the times of its credentials may be.
    pub leeway: Lifetime,
    /// When the last attempt began.
    pub last_attempt: Option<Timestamp>,
    /// What is wrong at this moment, in a sentence. `None`: nothing.
    pub last_error: Option<String>,
    /// When the next attempt is due, if one is planned.
    pub next_attempt: Option<Timestamp>,
    /// Attempts that brought keys: reads of a file, fetches, stream messages.
    pub refreshes_ok: u64,
    /// Attempts that failed.
    pub refreshes_failed: u64,
    /// Attempts that went out over a socket.
    pub outbound_attempts: u64,
    /// How questions whether its workloads live went; `None`: they are not asked.
    pub liveness: Option<LivenessStatus>,
}

/// A key that was left out, because a source with the same issuer held it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// The key's id.
    pub key_id: Option<KeyId>,
    /// The key.
    pub thumbprint: Thumbprint,
    /// The source that keeps it.
    pub holder: SourceName,
}

/// Counters and times of one source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) skew_seconds: Option<i64>,
    pub(super) last_attempt: Option<Timestamp>,
    pub(super) next_attempt: Option<Timestamp>,
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) outbound: u64,
}
