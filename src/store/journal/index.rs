//! Where the records are: sixteen bytes of memory each.
//!
//! Keeps a hash of each reference, not the reference; a find reads the record and sees whether it is the one.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

/// The places of all kept records.
#[derive(Debug, Default)]
pub(super) struct Index {
    hasher: RandomState,
    segments: BTreeMap<String, Places>,
}

#[derive(Debug)]
struct Places {
    path: PathBuf,
    /// Hash of the reference and offset, in the order of the segment.
    records: Vec<(u64, u64)>,
}

impl Index {
    /// What a reference is kept under.
    pub(super) fn hash(&self, reference: &str) -> u64 {
        self.hasher.hash_one(reference)
    }

    /// Hashes of references with their offsets, in the order of the segment.
    pub(super) fn insert(&mut self, segment: &str, path: &Path, records: &[(u64, u64)]) {
        match self.segments.get_mut(segment) {
            Some(places) => places.records.extend_from_slice(records),
            None => {
                let places = Places { path: path.to_owned(), records: records.to_vec() };
                self.segments.insert(segment.to_owned(), places);
            }
        }
    }

    pub(super) fn forget(&mut self, segment: &str) {
        self.segments.remove(segment);
    }

    pub(super) fn places(&self, reference: &str) -> Vec<(PathBuf, u64)> {
        let hash = self.hash(reference);
        let of = |places: &Places| -> Vec<(PathBuf, u64)> {
            let found = places.records.iter().filter(|(other, _)| *other == hash);
            found.map(|(_, offset)| (places.path.clone(), *offset)).collect()
        };
        self.segments.values().flat_map(of).collect()
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.segments.values().map(|places| places.path.clone()).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.segments.values().map(|places| places.records.len()).sum()
    }
}
