//! What is remembered of pushes between starts: the last one, and which first keys they began with.
//!
//! Holds no keys: those are in the file of last good keys. Written before them, so that a crash in between costs a push and
//! never lets an older one in.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::key_file::read_bounded;
use super::whole_file;
use crate::clock::Timestamp;
use crate::identity::SourceName;

/// 500 key ids of 256 bytes, and room.
const MOST_BYTES: u64 = 256 * 1024;

/// A push that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastPush {
    /// When.
    pub at: Timestamp,
    /// By whom: the SPIFFE ID that we give it.
    pub by: String,
    /// `iat` of its token: what was issued before pushes no more.
    pub issued_at: Timestamp,
    /// The key ids of the set; a key without one by its thumbprint.
    pub key_ids: Vec<String>,
}

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pushes {
    /// A hash of the file of first keys that was taken last.
    pub(super) first: Option<String>,
    pub(super) last: Option<LastPush>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    source: String,
    origin: String,
    first: Option<String>,
    last: Option<WrittenPush>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPush {
    at: String,
    by: String,
    issued_at: String,
    key_ids: Vec<String>,
}

/// Where what is remembered of pushes is kept. No name of a source has a dot.
pub(super) fn path_of(directory: &Path, source: &SourceName) -> PathBuf {
    directory.join("keys").join(format!("{source}.pushes.json"))
}

/// Reads the file of that source. `None` when there is none, or it is of other key settings.
///
/// # Errors
/// A sentence, when there is a file and it cannot be used.
pub(super) fn read(directory: &Path, source: &SourceName, origin: &str) -> Result<Option<Pushes>, String> {
    let path = path_of(directory, source);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(&path, MOST_BYTES)?;
    let fault = |what: &str| format!("{}: {what}", path.display());
    let written: Written = serde_json::from_slice(&bytes).map_err(|error| fault(&error.to_string()))?;
    if written.source != source.as_str() || written.origin != origin {
        return Ok(None);
    }
    let time = |text: &str| Timestamp::parse_rfc3339(text).ok_or_else(|| fault("it has a time that is none"));
    let last = match written.last {
        None => None,
        Some(WrittenPush { at, by, issued_at, key_ids }) => {
            Some(LastPush { at: time(&at)?, by, issued_at: time(&issued_at)?, key_ids })
        }
    };
    Ok(Some(Pushes { first: written.first, last }))
}

/// Writes the file: whole or not at all, and readable by us alone; its name too is on the disk before the keys are written.
///
/// # Errors
/// What the file system says.
pub(super) fn write(directory: &Path, source: &SourceName, origin: &str, pushes: &Pushes) -> io::Result<()> {
    let last = pushes.last.as_ref().map(|last| WrittenPush {
        at: last.at.to_rfc3339(),
        by: last.by.clone(),
        issued_at: last.issued_at.to_rfc3339(),
        key_ids: last.key_ids.clone(),
    });
    let written = Written { source: source.to_string(), origin: origin.to_owned(), first: pushes.first.clone(), last };
    let text = serde_json::to_string(&written).map_err(io::Error::other)?;
    whole_file::write(&path_of(directory, source), &format!("{text}\n"))
}
