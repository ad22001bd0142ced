//! Records that are kept for a while, found by their reference: append-only segments with an exact limit in bytes.
//!
//! Never holds more bytes than its limit, never blocks a reader, and never trusts its own last bytes: a record that was torn
//! by a kill is passed over. Grants can fill half of the space at most, so that they never push refusals out.

mod index;
mod segment;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use index::Index;
use segment::Segment;

/// Segments of each half: the oldest is deleted whole, so a sixteenth of the space is always on its way out.
const SEGMENTS: u64 = 8;

/// Segments of a half, however short those are that a failing disk left behind.
const MOST_SEGMENTS: usize = 64;

/// What the names of the segments begin with.
const REFUSALS: &str = "refusals";
const GRANTS: &str = "grants";

/// The smallest limit: sixteen segments that hold at least one record of the longest kind.
pub(super) const SMALLEST_LIMIT: u64 = 16 * segment::LONGEST_RECORD;

/// Which half of the space a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A refusal, or a connection that dropped.
    Refusal,
    /// A grant.
    Grant,
}

/// Records that the disk did not take.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the disk did not take {records} records: {why}")]
pub struct LostRecords {
    /// How many.
    pub records: usize,
    why: String,
}

/// What was lost since it was last told, with the first error.
#[derive(Debug, Default)]
struct Lost {
    records: usize,
    why: Option<String>,
}

/// What is done with grants before they are deleted.
type Fold = Box<dyn FnMut(&[Vec<u8>]) + Send>;

/// The writing end. One owner.
pub struct Journal {
    directory: PathBuf,
    segment_bytes: u64,
    refusals: Half,
    grants: Half,
    lost: Lost,
    shared: Arc<JournalReader>,
    fold: Option<Fold>,
    /// Held while the journal is open: two processes on one folder would write over each other.
    _lock: File,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "journal in {}", self.directory.display())
    }
}

/// The reading end. Shared by everybody who asks.
#[derive(Debug)]
pub struct JournalReader {
    directory: PathBuf,
    index: Mutex<Index>,
}

#[derive(Debug)]
struct Half {
    prefix: &'static str,
    /// Oldest first; the last one is written to.
    segments: Vec<Segment>,
    next: u64,
}

impl Journal {
    /// Opens or makes the folder, reads what is in it, and deletes what is over the limit.
    ///
    /// # Errors
    /// The folder or a segment cannot be made or read. A torn record is none.
    pub fn open(directory: &Path, limit: u64) -> io::Result<Self> {
        make_private(directory)?;
        let lock = File::create(directory.join(".lock"))?;
        lock.try_lock().map_err(|_held| io::Error::other(format!("another process has {}", directory.display())))?;
        let segment_bytes = limit.max(SMALLEST_LIMIT) / (2 * SEGMENTS);
        let mut index = Index::default();
        let refusals = Half::open(directory, REFUSALS, &mut index)?;
        let grants = Half::open(directory, GRANTS, &mut index)?;
        let directory = directory.to_owned();
        let shared = Arc::new(JournalReader { directory: directory.clone(), index: Mutex::new(index) });
        let mut journal =
            Self { directory, segment_bytes, refusals, grants, lost: Lost::default(), shared, fold: None, _lock: lock };
        for kept in [Kept::Refusal, Kept::Grant] {
            journal.make_room(kept, 0)?;
        }
        Ok(journal)
    }

    /// Has `fold` see every grant once more before its space is given away. What it writes beside the segments may have
    /// [`Journal::aside`] bytes.
    pub fn fold_grants(&mut self, fold: impl FnMut(&[Vec<u8>]) + Send + 'static) {
        self.fold = Some(Box::new(fold));
    }

    /// The bytes of the limit that are left for what grants are folded into.
    pub const fn aside(&self) -> u64 {
        self.segment_bytes
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The reading end.
    pub fn reader(&self) -> Arc<JournalReader> {
        Arc::clone(&self.shared)
    }

    /// Appends one record. It is found after [`Journal::flush`], and durable after [`Journal::sync`].
    ///
    /// # Errors
    /// The record is over 64 KiB, or there is no place for it; nothing of it is kept then.
    pub fn append(&mut self, kept: Kept, reference: &str, record: &[u8]) -> io::Result<()> {
        let bytes = segment::framed_length(record)?;
        self.make_room(kept, bytes)?;
        let hash = self.shared.locked().hash(reference);
        let half = Self::half_of(&mut self.refusals, &mut self.grants, kept);
        let segment = half.segments.last_mut().ok_or_else(|| io::Error::other("there is no segment"))?;
        if segment.gather(hash, record)? {
            self.lost.write(segment, &self.shared);
        }
        Ok(())
    }

    /// Writes what was appended: it is found from now on.
    ///
    /// # Errors
    /// Records that the disk did not take since the last call, and nothing of them is found.
    pub fn flush(&mut self) -> Result<(), LostRecords> {
        for half in [&mut self.refusals, &mut self.grants] {
            if let Some(segment) = half.segments.last_mut() {
                self.lost.write(segment, &self.shared);
            }
        }
        match std::mem::take(&mut self.lost) {
            Lost { records: 0, .. } => Ok(()),
            Lost { records, why } => Err(LostRecords { records, why: why.unwrap_or_default() }),
        }
    }

    /// Makes everything that was written durable, in every segment that a record was written to since the last call.
    ///
    /// # Errors
    /// The disk did not say so.
    pub fn sync(&mut self) -> io::Result<()> {
        let segments = self.refusals.segments.iter_mut().chain(&mut self.grants.segments);
        // Each is asked, also when one before it failed: none may be left for a later call to vouch for.
        segments.map(Segment::sync).fold(Ok(()), io::Result::and)
    }

    /// Begins a new segment when the record does not fit into the last one, and deletes the oldest ones over the limit.
    fn make_room(&mut self, kept: Kept, bytes: u64) -> io::Result<()> {
        let limit = self.segment_bytes;
        let half = Self::half_of(&mut self.refusals, &mut self.grants, kept);
        if half.segments.last().is_none_or(|segment| segment.is_sealed() || segment.length() + bytes > limit) {
            if let Some(full) = half.segments.last_mut() {
                self.lost.write(full, &self.shared);
            }
            half.begin(&self.directory)?;
        }
        // The last segment counts as full, so that filling it never needs a deletion.
        let total = |half: &Half| half.segments.iter().rev().skip(1).map(Segment::length).sum::<u64>() + limit;
        // One segment's bytes of the grants' half are for what they are folded into.
        let most = match kept {
            Kept::Refusal => limit * SEGMENTS,
            Kept::Grant => limit * (SEGMENTS - 1),
        };
        while half.segments.len() > 1 && (total(half) > most || half.segments.len() > MOST_SEGMENTS) {
            let oldest = half.segments.remove(0);
            self.shared.locked().forget(oldest.id());
            if let (Kept::Grant, Some(fold)) = (kept, &mut self.fold) {
                fold(&segment::read_all(oldest.path())?);
            }
            oldest.delete()?;
        }
        Ok(())
    }

    const fn half_of<'a>(refusals: &'a mut Half, grants: &'a mut Half, kept: Kept) -> &'a mut Half {
        match kept {
            Kept::Refusal => refusals,
            Kept::Grant => grants,
        }
    }
}

impl JournalReader {
    /// The record with that reference, if it is kept. Reads a file: blocks.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub fn find(&self, reference: &str) -> io::Result<Option<Vec<u8>>> {
        // Two references can share a hash; the record itself says which it is, and the caller compares.
        let places = self.locked().places(reference);
        // The last one that was written is what the caller heard: a record that came too late for its answer stands before it.
        for (path, offset) in places.into_iter().rev() {
            match segment::read(&path, offset) {
                Ok(record) if contains(&record, reference.as_bytes()) => return Ok(Some(record)),
                Ok(_other) => {}
                // Deleted since: its space was needed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Every grant that is kept whole, segment by segment. Reads files: blocks.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn grants(&self, mut see: impl FnMut(&[u8])) -> io::Result<()> {
        for path in self.locked().paths().into_iter().filter(|path| segment::is_of(path, GRANTS)) {
            match segment::read_all(&path) {
                Ok(records) => records.iter().for_each(|record| see(record)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How many records are kept.
    pub fn count(&self) -> usize {
        self.locked().count()
    }

    fn locked(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Half {
    fn open(directory: &Path, prefix: &'static str, index: &mut Index) -> io::Result<Self> {
        let mut numbers: Vec<u64> = std::fs::read_dir(directory)?
            .filter_map(Result::ok)
            .filter_map(|entry| segment::number_of(&entry.file_name().to_string_lossy(), prefix))
            .collect();
        numbers.sort_unstable();
        let mut segments = Vec::new();
        for number in &numbers {
            let mut add = |id: &str, path: &Path, reference: &str, offset| {
                let hash = index.hash(reference);
                index.insert(id, path, &[(hash, offset)]);
            };
            segments.push(Segment::open(directory, prefix, *number, &mut add)?);
        }
        Ok(Self { prefix, segments, next: numbers.last().map_or(1, |last| last + 1) })
    }

    fn begin(&mut self, directory: &Path) -> io::Result<()> {
        let number = self.next;
        // Also when it fails: a number is never tried again.
        self.next += 1;
        self.segments.push(Segment::create(directory, self.prefix, number)?);
        Ok(())
    }
}

impl Lost {
    /// Has a segment write what it gathered.
    fn write(&mut self, segment: &mut Segment, shared: &JournalReader) {
        let found = |id: &str, path: &Path, places: &[(u64, u64)]| shared.locked().insert(id, path, places);
        if let Err((records, error)) = segment.write(found) {
            self.records += records;
            self.why.get_or_insert_with(|| error.to_string());
        }
    }
}

/// Makes the folder, and the name of a new one durable.
fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if directory.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    segment::sync_directory(parent.unwrap_or_else(|| Path::new(".")))
}

fn contains(record: &[u8], reference: &[u8]) -> bool {
    record.windows(reference.len().max(1)).any(|window| window == reference)
}

#[cfg(test)]
mod tests;
