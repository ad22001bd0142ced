//! One file of records, each behind its length and checksum.
//!
//! Reading stops at the first record that is not whole: what comes after it was never acknowledged. So nothing more is written
//! behind bytes of which the disk did not say that they are there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

/// The longest record: a decision has about one kilobyte, and at most a few with everything at its limit.
pub(super) const LONGEST_RECORD: u64 = 64 * 1024;

/// Length and the first eight bytes of the SHA-256.
const FRAME: u64 = 4 + 8;

/// Gathered bytes that are written before the turn ends.
const GATHERED: usize = 256 * 1024;

/// A segment.
#[derive(Debug)]
pub(super) struct Segment {
    id: String,
    path: PathBuf,
    file: File,
    /// Bytes of whole records in the file.
    written: u64,
    /// Records that the file gets with the next write.
    gathered: Gathered,
    /// The file has bytes that no sync was asked for.
    unsynced: bool,
    /// The disk failed here: further records go to another segment.
    sealed: bool,
}

/// Framed records in a row, and the hash of the reference and the place of each.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    places: Vec<(u64, u64)>,
}

/// The number in a segment's name, if it is one of that prefix.
pub(super) fn number_of(name: &str, prefix: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.strip_prefix('-')?.strip_suffix(".log")?.parse().ok()
}

/// Whether a path is a segment of that prefix.
pub(super) fn is_of(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| number_of(&name.to_string_lossy(), prefix).is_some())
}

/// How many bytes a record takes.
///
/// # Errors
/// It is longer than a record may be.
pub(super) fn framed_length(record: &[u8]) -> io::Result<u64> {
    let length = record.len() as u64;
    if length > LONGEST_RECORD - FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a record has at most 64 KiB"));
    }
    Ok(length + FRAME)
}

impl Segment {
    pub(super) fn create(directory: &Path, prefix: &str, number: u64) -> io::Result<Self> {
        let id = format!("{prefix}-{number:010}.log");
        let path = directory.join(&id);
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = sync_directory(directory) {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self::of(id, path, file, 0))
    }

    /// Opens a segment of an earlier run and tells `found` of every whole record; the rest is cut off.
    pub(super) fn open(
        directory: &Path,
        prefix: &str,
        number: u64,
        found: &mut dyn FnMut(&str, &Path, &str, u64),
    ) -> io::Result<Self> {
        let id = format!("{prefix}-{number:010}.log");
        let path = directory.join(&id);
        let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
        let mut reader = io::BufReader::new(&mut file);
        let mut length = 0;
        while let Some(record) = next_whole(&mut reader)? {
            if let Some(reference) = reference_of(&record) {
                found(&id, &path, &reference, length);
            }
            length += record.len() as u64 + FRAME;
        }
        drop(reader);
        if file.metadata()?.len() > length {
            tracing::warn!(segment = id, "a torn record was cut off");
            file.set_len(length)?;
        }
        Ok(Self::of(id, path, file, length))
    }

    const fn of(id: String, path: PathBuf, file: File, written: u64) -> Self {
        let gathered = Gathered { bytes: Vec::new(), places: Vec::new() };
        Self { id, path, file, written, gathered, unsynced: false, sealed: false }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// With what is gathered.
    pub(super) const fn length(&self) -> u64 {
        self.written + self.gathered.bytes.len() as u64
    }

    pub(super) const fn is_sealed(&self) -> bool {
        self.sealed
    }

    #[cfg(test)]
    pub(super) const fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// From now on the disk is full.
    #[cfg(test)]
    pub(super) fn fill_disk(&mut self) -> io::Result<()> {
        self.file = OpenOptions::new().append(true).open("/dev/full")?;
        Ok(())
    }

    /// Gathers a record for the next write; `hash` is of its reference. Whether it is time for that write.
    pub(super) fn gather(&mut self, hash: u64, record: &[u8]) -> io::Result<bool> {
        let length = u32::try_from(record.len()).map_err(io::Error::other)?;
        let offset = self.length();
        let bytes = &mut self.gathered.bytes;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&checksum(record));
        bytes.extend_from_slice(record);
        self.gathered.places.push((hash, offset));
        Ok(self.gathered.bytes.len() >= GATHERED)
    }

    /// Writes what is gathered and tells `found` of its places. What the disk took a part of is cut off again.
    ///
    /// # Errors
    /// How many records are lost, and why.
    pub(super) fn write(&mut self, found: impl FnOnce(&str, &Path, &[(u64, u64)])) -> Result<(), (usize, io::Error)> {
        if self.gathered.bytes.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.gathered.bytes);
        let outcome = match written {
            Ok(()) => {
                self.written = self.length();
                self.unsynced = true;
                found(&self.id, &self.path, &self.gathered.places);
                Ok(())
            }
            Err(error) => {
                self.cut();
                Err((self.gathered.places.len(), error))
            }
        };
        self.gathered.bytes.clear();
        self.gathered.places.clear();
        outcome
    }

    /// Back to the last whole record; if the disk refuses that too, nothing more is written behind it.
    fn cut(&mut self) {
        if self.file.set_len(self.written).is_err() {
            self.sealed = true;
            self.written = self.file.metadata().map_or_else(|_unknown| self.length(), |metadata| metadata.len());
        }
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// The disk did not say so. It says that once: nothing more is written here, so that no later sync vouches for these bytes.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.unsynced) {
            return Ok(());
        }
        let synced = self.file.sync_data();
        self.sealed |= synced.is_err();
        synced
    }

    pub(super) fn delete(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The record at a place.
pub(super) fn read(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    next_whole(&mut file)?.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the record is not whole"))
}

/// Every whole record of a segment.
pub(super) fn read_all(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut reader = io::BufReader::new(File::open(path)?);
    let mut records = Vec::new();
    while let Some(record) = next_whole(&mut reader)? {
        records.push(record);
    }
    Ok(records)
}

fn next_whole(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let (mut length, mut sum) = ([0; 4], [0; 8]);
    if !fill(reader, &mut length)? || !fill(reader, &mut sum)? {
        return Ok(None);
    }
    let length = u64::from(u32::from_le_bytes(length));
    if length > LONGEST_RECORD {
        return Ok(None);
    }
    let mut record = vec![0; usize::try_from(length).unwrap_or_default()];
    let whole = fill(reader, &mut record)? && checksum(&record) == sum;
    Ok(whole.then_some(record))
}

/// Whether all of `bytes` could be read.
fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn checksum(record: &[u8]) -> [u8; 8] {
    let hash = digest::digest(&digest::SHA256, record);
    let mut sum = [0; 8];
    for (to, from) in sum.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    sum
}

/// The reference of a record: its JSON member `ref`.
fn reference_of(record: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        r#ref: String,
    }
    serde_json::from_slice::<Named>(record).ok().map(|named| named.r#ref)
}
