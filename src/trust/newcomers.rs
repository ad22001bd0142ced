//! Whether a push may bring keys that nobody holds yet: public keys are public, and a push is quicker than a fetch.
//!
//! Lets sources that are asked hold their new keys first (design §3, K8S-09). Has no say between two pushes, and none about
//! files, which bring their keys by themselves.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;

use super::TrustedSource;
use super::push::Push;
use super::source::locked;
use crate::clock::{Lifetime, Timestamp};
use crate::jose::Thumbprint;

/// The keys that a push showed and nobody held, until they are somebody's.
#[derive(Default)]
pub(super) struct Newcomers(Mutex<Option<Shown>>);

struct Shown {
    keys: BTreeSet<Thumbprint>,
    /// What is copied was published by then.
    since: Timestamp,
}

impl Newcomers {
    /// Since when these have been shown: a push that comes again waits for nothing twice.
    fn since(&self, keys: BTreeSet<Thumbprint>, now: Timestamp) -> Timestamp {
        let mut shown = locked(&self.0);
        // A time ahead of now: the clock was set back.
        let before = shown.as_ref().filter(|shown| shown.since <= now && keys.is_subset(&shown.keys));
        let since = before.map_or(now, |shown| shown.since);
        *shown = Some(Shown { keys, since });
        since
    }
}

impl TrustedSource {
    /// Completes when every source of `all` that a token of this one could be routed to, and that can be asked, was asked since
    /// the push first showed keys that none of them holds. Whose keys they are is in place then. A source that was asked and
    /// gave no answer holds up nobody. Asks within the limits of an unknown key id, and waits at most 1 s.
    ///
    /// # Errors
    /// When to come back with the same push.
    pub async fn others_are_asked(&self, push: &Push, all: impl Iterator<Item = &Arc<Self>>) -> Result<(), Lifetime> {
        let Some(door) = &self.keys.door else { return Ok(()) };
        let rivals: Vec<_> = all.filter(|other| other.settings.shares_issuer_with(&self.settings)).collect();
        let is_held = |key: &Thumbprint| {
            let held = rivals.iter().filter_map(|source| source.keys.held());
            held.flat_map(|held| held.set.keys().to_vec()).any(|known| known.thumbprint() == key)
        };
        let shown = push.set.keys().iter().map(|key| key.thumbprint());
        let new: BTreeSet<_> = shown.filter(|key| !is_held(key)).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        let since = door.newcomers.since(new, self.clock.now());
        let gates = rivals.iter().filter_map(|source| source.keys.gate.as_ref());
        let asked = join_all(gates.map(|gate| gate.asked_since(since, &*self.clock))).await;
        asked.into_iter().filter_map(Result::err).max().map_or(Ok(()), Err)
    }
}
