//! Which key signs now, and which keys verifiers must know.
//!
//! Never signs, never forgets a key that a verifier may need, and never lets a key whose signature did not verify sign again in this process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_lc_rs::digest::Digest;
use tokio_util::sync::CancellationToken;

use super::SigningSettings;
use super::folder::Folder;
use super::published::{PublishedFor, PublishedKeys};
use super::schedule::{KeyState, SEEN_BY_ALL, Schedule};
use super::verifiers::Verifiers;
use super::wait::Canary;
use crate::clock::{Clock, Lifetime, Timestamp};
use crate::identity::KeyId;
use crate::jose::{Algorithm, KeySet, SigningKey};

mod change;
mod fault;
mod load;
mod wait;

pub use fault::KeyRingFault;
pub use wait::Postponed;

#[cfg(test)]
mod late_tests;
#[cfg(test)]
mod operations_tests;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wait_tests;

/// How often the folder is read again. Much shorter than [`super::JWKS_MAX_AGE`], so that all processes on a folder
/// publish a key long before its first use.
const REREAD_EVERY: Lifetime = Lifetime::from_seconds(5);

const _: () =
    assert!(REREAD_EVERY.millis() * 2 < SEEN_BY_ALL.millis(), "all processes publish a key from one moment on");

/// A signing key of the ring.
pub struct RingKey {
    key: SigningKey,
    schedule: Schedule,
    /// SHA-256 of its file.
    file: Digest,
    signatures: AtomicU64,
}

impl RingKey {
    /// The key itself.
    pub const fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// Its dates.
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The end of every token that it signs, at the latest (AT-12).
    pub fn retires_at(&self) -> Timestamp {
        self.schedule.ends()
    }

    /// Counts one more signature, and says how many came before it in this process: call it once for each. The first is 0,
    /// so that `counts() % 1024 == 0` confirms the first signature and every 1,024th after it.
    pub fn counts(&self) -> u64 {
        self.signatures.fetch_add(1, Ordering::Relaxed)
    }

    /// How many signatures were counted, for status and metrics.
    pub fn signatures(&self) -> u64 {
        self.signatures.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for RingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.key, self.schedule)
    }
}

/// A key as status and metrics show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// The key id.
    pub key_id: KeyId,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Where in its life it is.
    pub state: KeyState,
    /// Whether it is the one that signs for its algorithm.
    pub signs: bool,
    /// Whether a signature of it did not verify in this process.
    pub out_of_use: bool,
    /// How many signatures it made in this process.
    pub signatures: u64,
    /// Its dates.
    pub schedule: Schedule,
}

/// The keys of one reading of the folder, in order of their ids.
#[derive(Debug, Default)]
struct Ring {
    keys: Vec<Arc<RingKey>>,
    published: ArcSwapOption<PublishedFor>,
}

/// The signing keys of a folder. Readers take snapshots and wait for nothing.
pub struct KeyRing {
    folder: Folder,
    ring: ArcSwap<Ring>,
    /// Kept apart from the keys: a file that is written anew must not bring a broken key back.
    out_of_use: ArcSwap<BTreeSet<KeyId>>,
    read_at: AtomicI64,
    /// How long a key signs before the next takes over. `None` when somebody else writes the files.
    rotate: Option<Lifetime>,
    /// Asked again after whatever may take long: a plan is made for the moment at which it is carried out.
    clock: Arc<dyn Clock>,
    verifiers: Verifiers,
    /// How keys that wait fared when they were tried through the public URL.
    canaries: Mutex<BTreeMap<KeyId, Canary>>,
    /// Held while the folder is read or written.
    writer: Mutex<Writer>,
}

/// What whoever reads or writes the folder knows of it.
#[derive(Debug, Default)]
struct Writer {
    /// The files that were warned about.
    warned: BTreeSet<PathBuf>,
    /// The file of each key.
    paths: BTreeMap<KeyId, PathBuf>,
    /// The algorithms that there must be keys of.
    needed: BTreeSet<Algorithm>,
}

impl KeyRing {
    /// Opens the folder. Makes it (0700) if it is not there, and a key of each needed algorithm that has none: active at once
    /// if the folder had no key at all, after [`super::PUBLISHED_BEFORE_USE`] otherwise. Blocks on files, on the lock
    /// (30 s at most) and while RSA keys are made. With [`SigningSettings::Files`] it only reads, and a needed key must be there.
    ///
    /// # Errors
    /// [`KeyRingFault`] when a file cannot be read or written, when a key's signature does not verify, or when a key is missing
    /// that is not ours to make.
    pub fn open(
        settings: &SigningSettings,
        needed: &BTreeSet<Algorithm>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, KeyRingFault> {
        let (folder, rotate) = match settings {
            SigningSettings::Directory { path, rotate } => (Folder::open(path)?, Some(*rotate)),
            SigningSettings::Files { path } => (Folder::read_only(path), None),
        };
        let ring = Self {
            folder,
            rotate,
            ring: ArcSwap::default(),
            out_of_use: ArcSwap::default(),
            read_at: AtomicI64::new(i64::MIN),
            clock,
            verifiers: Verifiers::default(),
            canaries: Mutex::default(),
            writer: Mutex::default(),
        };
        if ring.folder.is_loose() {
            tracing::warn!(folder = ?ring.folder.path(), "others than the owner may put signing keys into the folder; use mode 0700");
        }
        ring.need(needed, ring.clock.now())?;
        Ok(Arc::new(ring))
    }

    /// Reads the folder again and makes a key of each needed algorithm that has none which is not retired. Such a key signs
    /// after [`super::PUBLISHED_BEFORE_USE`], and until then [`KeyRing::active`] has none: a verifier that read the key set
    /// a moment ago does not know it. Blocks as [`KeyRing::open`] does.
    ///
    /// # Errors
    /// As [`KeyRing::open`]; the ring then stays as it was, except after [`KeyRingFault::Unconfirmed`].
    pub fn need(&self, needed: &BTreeSet<Algorithm>, at: Timestamp) -> Result<(), KeyRingFault> {
        let mut writer = self.writer();
        let mut keys = self.load(&mut writer)?;
        if let Some(algorithm) = missing(&keys, needed, at).first().copied() {
            if self.rotate.is_none() {
                return Err(KeyRingFault::Missing { path: self.folder.path().to_owned(), algorithm });
            }
            let lock = self.folder.lock()?;
            // Another process may have made them while this one waited.
            keys = self.load(&mut writer)?;
            let at = at.max(self.clock.now());
            let schedule = if keys.is_empty() { Schedule::at_once(at) } else { Schedule::announced(at) };
            let missing: Vec<_> =
                missing(&keys, needed, at).into_iter().map(|algorithm| (algorithm, schedule)).collect();
            if !missing.is_empty() {
                self.make(&lock, &missing)?;
                keys = self.load(&mut writer)?;
            }
        }
        writer.needed.clone_from(needed);
        self.adopt(keys, at)
    }

    /// The key that signs at `at`: of the active ones of that algorithm the one that became active last, then the smallest
    /// id. `None` when there is none, or none yet: the service is unavailable for that algorithm.
    pub fn active(&self, algorithm: Algorithm, at: Timestamp) -> Option<Arc<RingKey>> {
        let (ring, out_of_use) = (self.ring.load(), self.out_of_use.load());
        signer(&ring.keys, &out_of_use, algorithm, at).cloned()
    }

    /// Every key that verifiers must know at `at`: the same bytes in every process that reads the folder.
    pub fn published(&self, at: Timestamp) -> Arc<PublishedKeys> {
        self.published_for(at).keys.clone()
    }

    /// The same keys, ready to verify tokens of ours.
    pub fn verification_keys(&self, at: Timestamp) -> Arc<KeySet> {
        self.published_for(at).verification.clone()
    }

    fn published_for(&self, at: Timestamp) -> Arc<PublishedFor> {
        let ring = self.ring.load();
        if let Some(known) = ring.published.load_full().filter(|known| known.covers(at)) {
            return known;
        }
        let made = Arc::new(PublishedFor::at(&ring.keys, at));
        ring.published.store(Some(made.clone()));
        made
    }

    /// Reads the folder again. Keys whose files are unchanged stay the very same ones. Blocks on files.
    ///
    /// # Errors
    /// [`KeyRingFault`]: the last good ring stays, except after [`KeyRingFault::Unconfirmed`], where the new one is taken
    /// with that key out of use.
    pub fn reread(&self, at: Timestamp) -> Result<(), KeyRingFault> {
        let mut writer = self.writer();
        let keys = self.load(&mut writer)?;
        self.adopt(keys, at)
    }

    /// Reads the folder again every five seconds and makes the next keys when they are due, until cancelled. A folder that cannot be
    /// read or written costs nothing but a warning: the last good ring stays, and its keys sign on.
    pub async fn watch(self: Arc<Self>, clock: Arc<dyn Clock>, cancel: CancellationToken) {
        let mut last = String::new();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = clock.sleep_until(clock.now().plus(REREAD_EVERY)) => {}
            }
            let (ring, at) = (self.clone(), clock.now());
            let outcome = tokio::task::spawn_blocking(move || ring.look_after(at)).await;
            let fault = match outcome {
                Ok(Ok(())) => String::new(),
                Ok(Err(fault)) => fault.to_string(),
                Err(_gone) => "reading the folder of signing keys was broken off".to_owned(),
            };
            // Said once, not every five seconds.
            if fault != last {
                match fault.as_str() {
                    "" => tracing::info!("the folder of signing keys is whole again"),
                    fault => tracing::warn!(fault, "the signing keys stay as they were"),
                }
                last = fault;
            }
        }
    }

    fn look_after(&self, at: Timestamp) -> Result<(), KeyRingFault> {
        self.reread(at)?;
        self.rotate_if_due(at)
    }

    /// Every key of the folder, in order of ids.
    pub fn states(&self, at: Timestamp) -> Vec<KeyStatus> {
        let (ring, out_of_use) = (self.ring.load(), self.out_of_use.load());
        let algorithms: BTreeSet<Algorithm> = ring.keys.iter().map(|key| key.key.algorithm()).collect();
        let signers: Vec<&Arc<RingKey>> =
            algorithms.into_iter().filter_map(|algorithm| signer(&ring.keys, &out_of_use, algorithm, at)).collect();
        let status = |key: &Arc<RingKey>| {
            let algorithm = key.key.algorithm();
            KeyStatus {
                key_id: key.key.key_id().clone(),
                algorithm,
                state: key.schedule.state(at),
                signs: signers.iter().any(|signer| Arc::ptr_eq(signer, key)),
                out_of_use: out_of_use.contains(key.key.key_id()),
                signatures: key.signatures(),
                schedule: key.schedule,
            }
        };
        ring.keys.iter().map(status).collect()
    }

    /// When the folder was last read whole, for the metric of its age.
    pub fn read_at(&self) -> Timestamp {
        Timestamp::from_millis(self.read_at.load(Ordering::Relaxed))
    }

    /// A signature of this key did not verify: it never signs again in this process. It stays published, for the tokens
    /// that it signed before and for the other processes; an older active key of its algorithm signs in its place.
    pub fn take_out_of_use(&self, key_id: &KeyId) {
        self.out_of_use.rcu(|known| {
            let mut known = BTreeSet::clone(known);
            known.insert(key_id.clone());
            known
        });
        tracing::error!(key = %key_id, "a signature of this key did not verify; it signs nothing any more in this process");
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // What a writer leaves half done is what it knew of the folder, and that is read anew before it is used.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signing keys of {:?}: {:?}", self.folder.path(), self.ring.load().keys)
    }
}

/// The needed algorithms without a key that signs, will sign, or waits to.
fn missing(keys: &[Arc<RingKey>], needed: &BTreeSet<Algorithm>, at: Timestamp) -> Vec<Algorithm> {
    let serves =
        |key: &RingKey| !matches!(key.schedule.state(at), KeyState::Retired | KeyState::Gone | KeyState::Revoked);
    let has = |algorithm: Algorithm| keys.iter().any(|key| key.key.algorithm() == algorithm && serves(key));
    needed.iter().copied().filter(|algorithm| !has(*algorithm)).collect()
}

fn signer<'a>(
    keys: &'a [Arc<RingKey>],
    out_of_use: &BTreeSet<KeyId>,
    algorithm: Algorithm,
    at: Timestamp,
) -> Option<&'a Arc<RingKey>> {
    keys.iter()
        .filter(|key| key.key.algorithm() == algorithm && key.schedule.state(at) == KeyState::Active)
        .filter(|key| !out_of_use.contains(key.key.key_id()))
        .max_by(|one, other| {
            let later = one.schedule.activate().cmp(&other.schedule.activate());
            later.then_with(|| other.key.key_id().cmp(one.key.key_id()))
        })
}
