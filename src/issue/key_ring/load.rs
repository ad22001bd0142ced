//! From files to a ring, and from a missing algorithm to a file.
//!
//! A ring is made of a whole folder or not at all; a key that exists already is never parsed twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;

use super::{KeyRing, KeyRingFault, Ring, RingKey, Writer};
use crate::clock::Timestamp;
use crate::issue::folder::{FileText, FolderLock};
use crate::issue::key_file::KeyFile;
use crate::issue::new_key::{confirms, new_file};
use crate::issue::schedule::Schedule;
use crate::jose::Algorithm;

impl KeyRing {
    /// The keys of the folder in order of their ids. Warns once of each file that others than the owner have rights on.
    pub(super) fn load(&self, writer: &mut Writer) -> Result<Vec<Arc<RingKey>>, KeyRingFault> {
        let known = self.ring.load();
        let mut keys: Vec<Arc<RingKey>> = Vec::new();
        let (mut loose, mut paths) = (BTreeSet::new(), BTreeMap::new());
        for file in self.folder.read()? {
            let key = read_key(&file, &known)?;
            let key_id = key.key.key_id();
            if keys.iter().any(|other| other.key.key_id() == key_id) {
                return Err(KeyRingFault::SameId { path: file.path, key_id: key_id.clone() });
            }
            if file.loose {
                if !writer.warned.contains(&file.path) {
                    tracing::warn!(file = ?file.path, "others than the owner have rights on this signing key; use mode 0600");
                }
                loose.insert(file.path.clone());
            }
            paths.insert(key_id.clone(), file.path);
            keys.push(key);
        }
        (writer.warned, writer.paths) = (loose, paths);
        keys.sort_by(|one, other| one.key.key_id().cmp(other.key.key_id()));
        Ok(keys)
    }

    /// Makes these keys the ring. A new one signs once for nobody: if that does not verify, it is out of use from the start.
    pub(super) fn adopt(&self, keys: Vec<Arc<RingKey>>, at: Timestamp) -> Result<(), KeyRingFault> {
        let known = self.ring.load_full();
        let mut unconfirmed = None;
        for key in keys.iter().filter(|key| !known.keys.iter().any(|other| Arc::ptr_eq(key, other))) {
            if !confirms(&key.key) {
                let (key_id, algorithm) = (key.key.key_id().clone(), key.key.algorithm());
                self.take_out_of_use(&key_id);
                unconfirmed.get_or_insert(KeyRingFault::Unconfirmed { key_id, algorithm });
            }
        }
        let unchanged =
            keys.len() == known.keys.len() && keys.iter().zip(&known.keys).all(|(one, other)| Arc::ptr_eq(one, other));
        if !unchanged {
            tracing::info!(keys = keys.len(), "signing keys read");
            self.ring.store(Arc::new(Ring { keys, ..Ring::default() }));
        }
        self.read_at.store(at.millis(), Ordering::Relaxed);
        unconfirmed.map_or(Ok(()), Err)
    }

    /// Makes and writes a key of each algorithm with its dates. All are made before the first is written, so that the keys of an empty
    /// folder enter it together. A further key gets its dates once its file is there: however long this process is suspended on the
    /// way, it does not sign before it could be read. Returns when those sign that were late.
    pub(super) fn make(
        &self,
        lock: &FolderLock,
        wanted: &[(Algorithm, Schedule)],
    ) -> Result<BTreeMap<Algorithm, Timestamp>, KeyRingFault> {
        let made: Vec<KeyFile> =
            wanted.iter().map(|(algorithm, planned)| new_file(*algorithm, *planned)).collect::<Result<_, _>>()?;
        let mut late = BTreeMap::new();
        for mut file in made {
            let planned = file.schedule;
            if planned.activate() > planned.created() {
                file.schedule = planned.undated();
                self.write(lock, &file)?;
                file.schedule = planned.written_by(self.clock.now());
            }
            self.write(lock, &file)?;
            let (key, algorithm, signs_from) = (file.key.key_id(), file.key.algorithm(), file.schedule.activate());
            tracing::info!(%key, %algorithm, ?signs_from, "signing key made");
            if file.schedule != planned {
                tracing::warn!(%key, "its file came later than planned, and so do its dates");
                late.insert(algorithm, signs_from);
            }
        }
        Ok(late)
    }

    fn write(&self, lock: &FolderLock, file: &KeyFile) -> Result<(), KeyRingFault> {
        let not_made = |why| KeyRingFault::NotMade { algorithm: file.key.algorithm(), why };
        self.folder.put(lock, &file.name(), &file.to_text().map_err(not_made)?)
    }
}

fn read_key(file: &FileText, known: &Ring) -> Result<Arc<RingKey>, KeyRingFault> {
    let hash = digest::digest(&digest::SHA256, file.text.expose());
    if let Some(same) = known.keys.iter().find(|key| key.file.as_ref() == hash.as_ref()) {
        return Ok(same.clone());
    }
    let KeyFile { schedule, key } =
        KeyFile::parse(file.text.expose()).map_err(|why| KeyRingFault::Content { path: file.path.clone(), why })?;
    let before = known.keys.iter().find(|other| other.key.key_id() == key.key_id());
    if before.is_some_and(|before| before.key.public_jwk() != key.public_jwk()) {
        return Err(KeyRingFault::Replaced { path: file.path.clone(), key_id: key.key_id().clone() });
    }
    let signatures = AtomicU64::new(before.map_or(0, |before| before.signatures()));
    Ok(Arc::new(RingKey { key, schedule, file: hash, signatures }))
}
