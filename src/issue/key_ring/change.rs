//! Changes of plan: rotation by the clock, and what an operator asks for.
//!
//! One process at a time, under the lock; never in a folder that somebody else writes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{KeyRing, KeyRingFault, KeyStatus, RingKey, Writer};
use crate::clock::Timestamp;
use crate::identity::KeyId;
use crate::issue::folder::FolderLock;
use crate::issue::key_file;
use crate::issue::plan::{self, Changes, Dated, PlanFault};
use crate::issue::schedule::OVERLAP;
use crate::jose::Algorithm;

impl KeyRing {
    /// Makes the next key of each algorithm whose present one has nearly signed for its time, and writes into the present one's
    /// file when it retires. Nothing with `files`. Any process on the folder may do it; the lock lets one. Blocks as
    /// [`KeyRing::open`] does, and on nothing at all as long as nothing is due.
    ///
    /// # Errors
    /// As [`KeyRing::open`]; the present keys sign on.
    pub fn rotate_if_due(&self, at: Timestamp) -> Result<(), KeyRingFault> {
        let Some(rotate) = self.rotate else { return Ok(()) };
        let mut writer = self.writer();
        let needed: BTreeSet<Algorithm> = writer.needed.clone();
        let due = |keys: &[Dated], at| plan::due(keys, &needed, rotate, at);
        if due(&dated(&self.ring.load().keys), at).is_empty() {
            return Ok(());
        }
        self.change(&mut writer, at, |keys, at| Ok(due(keys, at))).map(drop)
    }

    /// When the next key of that algorithm will be made: `None` with `files`, or while one waits already.
    pub fn next_made(&self, algorithm: Algorithm, at: Timestamp) -> Option<Timestamp> {
        plan::next_made(&dated(&self.ring.load().keys), algorithm, self.rotate?, at)
    }

    /// Makes a further key, which signs once it has been published for [`crate::issue::PUBLISHED_BEFORE_USE`]. Blocks as
    /// [`KeyRing::open`] does.
    ///
    /// # Errors
    /// As [`KeyRing::open`], and [`KeyRingFault::NotOurs`] with `files`.
    pub fn new_key(&self, algorithm: Algorithm, at: Timestamp) -> Result<Vec<KeyStatus>, KeyRingFault> {
        self.planned(at, |keys, at| Ok(plan::new_key(keys, algorithm, at)))
    }

    /// Rotates now: the key that waits signs as soon as it has been published for [`crate::issue::PUBLISHED_BEFORE_USE`] and nobody
    /// is waited for, a held one too; if none waits, one is made. Asked twice, it is the same plan. Blocks as [`KeyRing::open`] does.
    ///
    /// # Errors
    /// As [`KeyRing::new_key`].
    pub fn rotate(&self, algorithm: Algorithm, at: Timestamp) -> Result<Vec<KeyStatus>, KeyRingFault> {
        let soonest = |key: &Dated, at| self.wait_of(key, at).map(|wait| wait.soonest(at));
        self.planned(at, |keys, at| Ok(plan::rotate(keys, algorithm, |key| soonest(key, at), at)))
    }

    /// Postpones: no key that waits signs before `until`, and the present one lasts until then. Blocks as [`KeyRing::open`] does.
    ///
    /// # Errors
    /// As [`KeyRing::new_key`], and [`KeyRingFault::Plan`] when no key waits, or `until` is not later than planned or over a year away.
    pub fn hold(&self, algorithm: Algorithm, until: Timestamp, at: Timestamp) -> Result<Vec<KeyStatus>, KeyRingFault> {
        self.planned(at, |keys, at| plan::hold(keys, algorithm, until, at))
    }

    /// Goes back: the key that signs stops now, and stays published for its tokens; the one before it signs again, and for a whole
    /// turn. Blocks as [`KeyRing::open`] does.
    ///
    /// # Errors
    /// As [`KeyRing::new_key`], and [`KeyRingFault::Plan`] when no earlier key may still sign.
    pub fn rollback(&self, algorithm: Algorithm, at: Timestamp) -> Result<Vec<KeyStatus>, KeyRingFault> {
        self.planned(at, |keys, at| plan::rollback(keys, algorithm, at))
    }

    /// Takes a key back for good: it signs nothing and leaves the key set now; verifiers refuse its tokens once their copies of the
    /// set are older than [`crate::issue::JWKS_MAX_AGE`]. If it was the one that signs, the one before it does again until a new
    /// key may; without one, nobody signs until then. Other processes on the folder follow within seconds. Blocks as
    /// [`KeyRing::open`] does.
    ///
    /// # Errors
    /// As [`KeyRing::new_key`], and [`KeyRingFault::Plan`] when no key has that id.
    pub fn revoke(&self, key_id: &KeyId, at: Timestamp) -> Result<Vec<KeyStatus>, KeyRingFault> {
        self.planned(at, |keys, at| plan::revoke(keys, key_id, at))
    }

    fn planned(
        &self,
        at: Timestamp,
        plan: impl FnOnce(&[Dated], Timestamp) -> Result<Changes, PlanFault>,
    ) -> Result<Vec<KeyStatus>, KeyRingFault> {
        let at = self.change(&mut self.writer(), at, plan)?;
        Ok(self.states(at))
    }

    /// Plans for the moment at which the lock is held and the folder is read, not before `at`, and returns it.
    pub(super) fn change(
        &self,
        writer: &mut Writer,
        at: Timestamp,
        plan: impl FnOnce(&[Dated], Timestamp) -> Result<Changes, PlanFault>,
    ) -> Result<Timestamp, KeyRingFault> {
        let lock = self.folder.lock()?;
        // Another process may have changed them while this one waited.
        let mut keys = self.load(writer)?;
        let at = at.max(self.clock.now());
        let changes = plan(&dated(&keys), at)?;
        if !changes.is_empty() {
            self.apply(&lock, writer, &keys, &changes)?;
            keys = self.load(writer)?;
        }
        self.adopt(keys, at)?;
        Ok(at)
    }

    fn apply(
        &self,
        lock: &FolderLock,
        writer: &Writer,
        keys: &[Arc<RingKey>],
        changes: &Changes,
    ) -> Result<(), KeyRingFault> {
        let late = self.make(lock, &changes.make)?;
        for (key_id, schedule) in &changes.dates {
            let key = keys.iter().find(|key| key.key.key_id() == key_id);
            let name = writer.paths.get(key_id).and_then(|path| path.file_name()?.to_str());
            let (Some(key), Some(name)) = (key, name) else { continue };
            let not_made = |why| KeyRingFault::NotMade { algorithm: key.key.algorithm(), why };
            // Whoever signs now does so until the new one takes over, also where that is later than planned.
            let schedule = match late.get(&key.key.algorithm()) {
                Some(takes_over) => schedule.lasting(Some(takes_over.plus(OVERLAP))),
                None => *schedule,
            };
            self.folder.put(lock, name, &key_file::text(&schedule, &key.key).map_err(not_made)?)?;
            tracing::info!(
                key = %key_id,
                signs_from = ?schedule.activate(),
                retires = ?schedule.retire(),
                revoked = ?schedule.revoked(),
                "dates of a signing key changed"
            );
        }
        for key_id in &changes.forget {
            if let Some(path) = writer.paths.get(key_id) {
                self.folder.remove(lock, path)?;
                tracing::info!(key = %key_id, file = ?path, "file of a signing key that is long gone removed");
            }
        }
        Ok(())
    }
}

pub(super) fn dated(keys: &[Arc<RingKey>]) -> Vec<Dated> {
    let dated = |key: &Arc<RingKey>| Dated {
        key_id: Some(key.key.key_id().clone()),
        algorithm: key.key.algorithm(),
        schedule: key.schedule,
    };
    keys.iter().map(dated).collect()
}
