//! Which of the keys that sources publish are theirs: one public key, two sources, and a token could go to both.
//!
//! Public keys are public: whoever copies a key into its own set must never take it from its holder (design §3, K8S-09).
//! The one place that changes what a source holds. Takes a lock for a few instructions and never for I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::SourceSettings;
use super::source::{Confirmed, Held, SourceKeys, locked};
use super::status::Collision;
use crate::clock::Timestamp;
use crate::identity::{KeyId, SourceName};
use crate::jose::{KeySet, Thumbprint};
use crate::reason::quoted;

/// What every current source publishes and holds.
#[derive(Default)]
pub(super) struct Ledger {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// Counts first appearances, so that "first" is an order and not a time.
    appearances: u64,
    entries: Vec<Entry>,
}

struct Entry {
    keys: Arc<SourceKeys>,
    settings: SourceSettings,
    published: Option<Published>,
}

struct Published {
    set: Arc<KeySet>,
    /// When each key of the set appeared in it.
    since: BTreeMap<Thumbprint, u64>,
    /// When each key that is held was first held.
    held_since: BTreeMap<Thumbprint, u64>,
    effective: Arc<KeySet>,
    collisions: Vec<Collision>,
    confirmed: Confirmed,
    ends: Option<Timestamp>,
}

/// Which entry's copy of which key loses, and to whom.
type Refused = BTreeMap<(usize, Thumbprint), SourceName>;

/// What is to be logged once the lock is gone.
enum Remark {
    Keys { source: String, count: usize, ids: String },
    Collision { source: String, collision: Collision },
}

impl Ledger {
    /// From now on these sources count and no others. Those that are gone keep what they hold, frozen, for older views.
    pub(super) fn settle(&self, current: Vec<(Arc<SourceKeys>, SourceSettings)>, now: Timestamp) {
        let mut book = locked(&self.book);
        let mut old = std::mem::take(&mut book.entries);
        for (keys, settings) in current {
            let known = old.iter().position(|entry| Arc::ptr_eq(&entry.keys, &keys));
            let published = known.and_then(|index| old.swap_remove(index).published);
            book.entries.push(Entry { keys, settings, published });
        }
        for gone in &mut old {
            gone.freeze(now);
        }
        let remarks = book.arbitrate(None);
        drop(book);
        remarks.iter().for_each(Remark::log);
    }

    /// The source says that these are its keys. Nothing happens, and `false` says so, when the source no longer counts.
    pub(super) fn publish(&self, keys: &Arc<SourceKeys>, set: KeySet, confirmed: Confirmed) -> bool {
        let mut book = locked(&self.book);
        let mut appearances = book.appearances;
        let Some(entry) = book.entry(keys) else { return false };
        let same = entry.published.as_ref().is_some_and(|old| is_same(&old.set, &set));
        if let (true, Some(published)) = (same, &mut entry.published) {
            published.confirmed = confirmed;
            published.ends = None;
            entry.store();
            return true;
        }
        let touched = entry.replace(Arc::new(set), confirmed, &mut appearances);
        book.appearances = appearances;
        let mut remarks = book.arbitrate(Some(&touched));
        if let (true, Some(entry)) = (touched.is_empty(), book.entry(keys)) {
            // No key before and none now: nothing was given out, and it is confirmed all the same.
            entry.take_over(Vec::new(), 0, &mut remarks);
        }
        drop(book);
        remarks.iter().for_each(Remark::log);
        true
    }

    /// The stream that confirmed the keys is gone since `now`; what was confirmed before that stays so.
    pub(super) fn disconnect(&self, keys: &Arc<SourceKeys>, now: Timestamp) {
        if let Some(entry) = locked(&self.book).entry(keys) {
            entry.freeze(now);
        }
    }

    /// The keys serve until `ends` and then count as withdrawn; an earlier end stays.
    pub(super) fn end_at(&self, keys: &Arc<SourceKeys>, ends: Timestamp) {
        if let Some(entry) = locked(&self.book).entry(keys)
            && let Some(published) = &mut entry.published
        {
            published.ends = Some(published.ends.map_or(ends, |earlier| earlier.min(ends)));
            entry.store();
        }
    }

    /// Gives up the keys of a source whose end has come.
    pub(super) fn withdraw_ended(&self, keys: &Arc<SourceKeys>, now: Timestamp) {
        let ended = keys.held().and_then(|held| held.ends).filter(|ends| *ends <= now);
        if let Some(ends) = ended {
            self.publish(keys, KeySet::default(), Confirmed::At(ends));
        }
    }
}

fn is_same(one: &KeySet, other: &KeySet) -> bool {
    one.skipped() == other.skipped() && one.to_document() == other.to_document()
}

impl Entry {
    fn store(&self) {
        if let Some(published) = &self.published {
            self.keys.replace(Held {
                set: Arc::clone(&published.effective),
                skipped: published.set.skipped().len(),
                collisions: published.collisions.clone(),
                confirmed: published.confirmed,
                ends: published.ends,
            });
        }
    }

    fn freeze(&mut self, now: Timestamp) {
        if let Some(published) = &mut self.published
            && published.confirmed == Confirmed::WhileOpen
        {
            published.confirmed = Confirmed::At(now);
            self.store();
        }
    }

    /// Notes what the source publishes now. The keys that came, stayed or went are to be given out anew.
    fn replace(&mut self, set: Arc<KeySet>, confirmed: Confirmed, appearances: &mut u64) -> BTreeSet<Thumbprint> {
        let old = self.published.take();
        let (old_since, held_since, effective, collisions) = match old {
            Some(old) => (old.since, old.held_since, old.effective, old.collisions),
            None => (BTreeMap::new(), BTreeMap::new(), Arc::default(), Vec::new()),
        };
        let mut since = BTreeMap::new();
        for key in set.keys() {
            let appeared = old_since.get(key.thumbprint()).copied().unwrap_or_else(|| {
                *appearances += 1;
                *appearances
            });
            since.insert(key.thumbprint().clone(), appeared);
        }
        let touched = old_since.into_keys().chain(since.keys().cloned()).collect();
        self.published = Some(Published { set, since, held_since, effective, collisions, confirmed, ends: None });
        touched
    }

    /// Holds what is published but for the keys that belong to others.
    fn take_over(&mut self, losses: Vec<Collision>, rank: u64, remarks: &mut Vec<Remark>) {
        let Some(published) = &mut self.published else { return };
        let own = |thumbprint: &Thumbprint| !losses.iter().any(|lost| lost.thumbprint == *thumbprint);
        let kept: BTreeSet<_> = published.since.keys().filter(|key| own(key)).cloned().collect();
        let held_since = kept.into_iter().map(|key| {
            let since = published.held_since.get(&key).copied().unwrap_or(rank);
            (key, since)
        });
        published.held_since = held_since.collect();
        let effective = if losses.is_empty() {
            Arc::clone(&published.set)
        } else {
            let keys = published.set.keys().iter().filter(|key| own(key.thumbprint()));
            Arc::new(KeySet::of(keys.cloned()))
        };
        let first = self.keys.held().is_none();
        if first || effective.to_document() != published.effective.to_document() {
            published.effective = effective;
            remarks.push(Remark::keys(&self.keys, &published.effective));
        }
        let new = losses.iter().filter(|lost| !published.collisions.contains(lost));
        remarks
            .extend(new.map(|lost| Remark::Collision { source: self.keys.name.to_string(), collision: lost.clone() }));
        published.collisions = losses;
        self.store();
    }
}

impl Published {
    fn has_any(&self, keys: &BTreeSet<Thumbprint>) -> bool {
        keys.iter().any(|key| self.since.contains_key(key))
    }

    fn held_any(&self, keys: &BTreeSet<Thumbprint>) -> bool {
        keys.iter().any(|key| self.held_since.contains_key(key))
    }

    fn holder_of(&self, thumbprint: &Thumbprint) -> Option<&SourceName> {
        self.collisions.iter().find(|lost| lost.thumbprint == *thumbprint).map(|lost| &lost.holder)
    }
}

impl Book {
    fn entry(&mut self, keys: &Arc<SourceKeys>) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.keys, keys))
    }

    /// Gives every published key to one of the sources that a token could be routed to: the holder, else the first to publish it.
    ///
    /// With `touched`, only these keys change hands; otherwise all are looked at.
    fn arbitrate(&mut self, touched: Option<&BTreeSet<Thumbprint>>) -> Vec<Remark> {
        let refused = self.refused_claims(touched);
        let mut remarks = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let Some(published) = &entry.published else { continue };
            if touched.is_some_and(|touched| !published.has_any(touched) && !published.held_any(touched)) {
                continue;
            }
            let holder_of = |thumbprint: &Thumbprint| match touched {
                Some(touched) if !touched.contains(thumbprint) => published.holder_of(thumbprint),
                _ => refused.get(&(index, thumbprint.clone())),
            };
            let losses: Vec<Collision> = published
                .set
                .keys()
                .iter()
                .filter_map(|key| {
                    let (key_id, thumbprint) = (key.key_id().cloned(), key.thumbprint().clone());
                    holder_of(&thumbprint).cloned().map(|holder| Collision { key_id, thumbprint, holder })
                })
                .collect();
            self.appearances += 1;
            entry.take_over(losses, self.appearances, &mut remarks);
        }
        remarks
    }

    /// The claims that lose: which entry's copy of which key, and who holds it.
    fn refused_claims(&self, touched: Option<&BTreeSet<Thumbprint>>) -> Refused {
        let mut claims: Vec<(u64, u64, usize, &Thumbprint)> = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(published) = &entry.published else { continue };
            let mut claim = |thumbprint, appeared| {
                let held = published.held_since.get(thumbprint).copied().unwrap_or(u64::MAX);
                claims.push((held, appeared, index, thumbprint));
            };
            match touched {
                None => published.since.iter().for_each(|(thumbprint, appeared)| claim(thumbprint, *appeared)),
                Some(touched) => {
                    let known = touched.iter().filter_map(|key| published.since.get_key_value(key));
                    known.for_each(|(thumbprint, appeared)| claim(thumbprint, *appeared));
                }
            }
        }
        claims.sort_unstable();
        let mut granted: BTreeMap<&Thumbprint, Vec<&Entry>> = BTreeMap::new();
        let mut refused = Refused::new();
        for (_, _, index, thumbprint) in claims {
            let Some(entry) = self.entries.get(index) else { continue };
            let holders = granted.entry(thumbprint).or_default();
            match holders.iter().find(|holder| holder.settings.shares_issuer_with(&entry.settings)) {
                Some(holder) => {
                    refused.insert((index, thumbprint.clone()), holder.keys.name.clone());
                }
                None => holders.push(entry),
            }
        }
        refused
    }
}

impl Remark {
    fn keys(keys: &SourceKeys, set: &KeySet) -> Self {
        let ids: BTreeSet<&str> = set.keys().iter().filter_map(|key| key.key_id()).map(KeyId::as_str).collect();
        // Ten ids say enough; a set may have hundreds.
        let shown: Vec<String> = ids.iter().take(10).map(|id| quoted(id)).collect();
        let ids = if ids.len() > shown.len() { format!("{}, …", shown.join(", ")) } else { shown.join(", ") };
        Self::Keys { source: keys.name.to_string(), count: set.keys().len(), ids }
    }

    fn log(&self) {
        match self {
            Self::Keys { source, count: 0, .. } => {
                tracing::warn!(source, "{source} has no usable key: everything by it is withdrawn");
            }
            Self::Keys { source, count, ids } => {
                tracing::info!(source, keys = count, "{source} has {count} keys: {ids}");
            }
            Self::Collision { source, collision: Collision { key_id, thumbprint, holder } } => {
                let key_id = key_id.as_ref().map_or_else(|| "without id".to_owned(), |id| quoted(id.as_str()));
                tracing::warn!(
                    source,
                    %holder,
                    "key {key_id} (thumbprint {thumbprint}) is in {holder} and in {source}: {holder} held it first and keeps it; \
                     whoever has its private key could speak for both, so one of the two needs a key of its own"
                );
            }
        }
    }
}
