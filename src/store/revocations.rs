//! What is revoked, as everybody reads it: an immutable picture that is replaced whole.
//!
//! Keeps names and times. What a revocation means for a token or a caller is not known here.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::clock::Timestamp;

/// What kind of thing is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RevocationKind {
    /// One token, by its `jti`.
    Token,
    /// A workload or a person.
    Identity,
    /// Everything that a source vouches for.
    Source,
    /// Everything that a key signed.
    Key,
}

impl RevocationKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Token, Self::Identity, Self::Source, Self::Key];

    /// The word on the command line, in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Identity => "identity",
            Self::Source => "source",
            Self::Key => "key",
        }
    }

    /// The kind with that word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    const fn place(self) -> usize {
        self.number() as usize - 1
    }

    /// Its number in the file, from one. Never changes.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Token => 1,
            Self::Identity => 2,
            Self::Source => 3,
            Self::Key => 4,
        }
    }
}

/// One revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// When it began.
    pub from: Timestamp,
    /// When it ends or was lifted; `None`: it stands until somebody lifts it.
    pub ends: Option<Timestamp>,
    /// When it may be forgotten; `None` while it has no end.
    pub until: Option<Timestamp>,
    /// Who and why, for people.
    pub note: String,
}

impl Revocation {
    /// Whether it may be forgotten.
    pub fn is_over(&self, at: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= at)
    }
}

/// Pieces of the picture for each kind: a change copies one of them, so that it stays cheap when there are many revocations.
const SHARDS: usize = 64;

type Shard = HashMap<Box<str>, Revocation>;

/// Every revocation at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    shards: Vec<Arc<Shard>>,
    counts: [usize; 4],
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { shards: vec![Arc::default(); SHARDS * RevocationKind::ALL.len()], counts: [0; 4] }
    }
}

impl Snapshot {
    /// A picture of these alone.
    #[cfg(test)]
    pub fn of<'a>(revocations: impl IntoIterator<Item = (RevocationKind, &'a str, Revocation)>) -> Self {
        let mut snapshot = Self::default();
        revocations.into_iter().for_each(|(kind, name, revocation)| snapshot.put(kind, name, revocation));
        snapshot
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.counts == [0; 4]
    }

    /// How many there are of a kind, those that have ended and are kept for a while among them.
    pub fn count(&self, kind: RevocationKind) -> usize {
        self.counts.get(kind.place()).copied().unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The revocation of that.
    pub fn find(&self, kind: RevocationKind, name: &str) -> Option<&Revocation> {
        if self.count(kind) == 0 {
            return None;
        }
        self.shards.get(shard_of(kind, name))?.get(name)
    }

    /// All, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (RevocationKind, &str, &Revocation)> {
        let shards = RevocationKind::ALL.into_iter().zip(self.shards.chunks(SHARDS));
        shards.flat_map(|(kind, shards)| {
            let all = shards.iter().flat_map(|shard| shard.iter());
            all.map(move |(name, revocation)| (kind, name.as_ref(), revocation))
        })
    }

    pub(super) fn put(&mut self, kind: RevocationKind, name: &str, revocation: Revocation) {
        let Some(shard) = self.shards.get_mut(shard_of(kind, name)) else { return };
        let before = Arc::make_mut(shard).insert(Box::from(name), revocation);
        if before.is_none() {
            self.counted(kind, 1);
        }
    }

    pub(super) fn remove(&mut self, kind: RevocationKind, name: &str) {
        let Some(shard) = self.shards.get_mut(shard_of(kind, name)) else { return };
        if Arc::make_mut(shard).remove(name).is_some() {
            self.counted(kind, -1);
        }
    }

    fn counted(&mut self, kind: RevocationKind, by: isize) {
        if let Some(count) = self.counts.get_mut(kind.place()) {
            *count = count.saturating_add_signed(by);
        }
    }
}

fn shard_of(kind: RevocationKind, name: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    kind.place() * SHARDS + usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or_default()
}
