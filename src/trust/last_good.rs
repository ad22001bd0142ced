//! Last good keys in files, so that a restart refuses nobody whose keys are known (JWK-15).
//!
//! Public keys alone. A file of another source, of other key settings or of another time is never read as ours.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::key_file::read_bounded;
use super::source::CLOCK_DIFFERENCE;
use crate::clock::Timestamp;
use crate::identity::SourceName;
use crate::jose::{KeyPurpose, KeySet, parse_object};

/// 500 RSA keys of 8192 bits, and room.
const MOST_BYTES: u64 = 2 * 1024 * 1024;

/// What a file held.
pub(super) struct LastGood {
    pub(super) set: KeySet,
    pub(super) confirmed_at: Timestamp,
    /// From then on everything counts as withdrawn (WAP-09).
    pub(super) ends: Option<Timestamp>,
}

fn path_of(directory: &Path, source: &SourceName) -> PathBuf {
    directory.join("keys").join(format!("{source}.json"))
}

/// Reads the file of that source. `None` when there is none.
///
/// # Errors
/// A sentence, when there is a file and it is not to be used.
pub(super) fn read(
    directory: &Path,
    source: &SourceName,
    origin: &str,
    now: Timestamp,
) -> Result<Option<LastGood>, String> {
    let path = path_of(directory, source);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(&path, MOST_BYTES)?;
    let fault = |what: &str| format!("{}: {what}", path.display());
    let document = parse_object(&bytes).map_err(|error| fault(&error.to_string()))?;
    if document.text("source") != Some(source.as_str()) {
        return Err(fault("it belongs to another source"));
    }
    if document.text("origin") != Some(origin) {
        return Err(fault("the source's key settings have changed since"));
    }
    let confirmed_at = document.text("confirmed_at").and_then(Timestamp::parse_rfc3339);
    let confirmed_at = confirmed_at.ok_or_else(|| fault("it has no time"))?;
    if confirmed_at > now.plus(CLOCK_DIFFERENCE) {
        return Err(fault("it was written in the future of our clock"));
    }
    let ends = match document.has("ends") {
        true => {
            let ends = document.text("ends").and_then(Timestamp::parse_rfc3339);
            Some(ends.ok_or_else(|| fault("its end is no time"))?)
        }
        false => None,
    };
    let set = KeySet::parse(&bytes, KeyPurpose::JwkSet).map_err(|error| fault(&error.to_string()))?;
    Ok(Some(LastGood { set, confirmed_at: confirmed_at.min(now), ends }))
}

/// Writes the file: whole or not at all, and readable by us alone.
///
/// # Errors
/// What the file system says.
pub(super) fn write(
    directory: &Path,
    source: &SourceName,
    origin: &str,
    set: &KeySet,
    confirmed_at: Timestamp,
    ends: Option<Timestamp>,
) -> io::Result<()> {
    let path = path_of(directory, source);
    let folder = directory.join("keys");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let mut about = serde_json::json!({
        "source": source.as_str(), "origin": origin, "confirmed_at": confirmed_at.to_rfc3339()
    });
    if let (Some(ends), Some(about)) = (ends, about.as_object_mut()) {
        about.insert("ends".to_owned(), ends.to_rfc3339().into());
    }
    let about = about.to_string();
    // A JWK Set with a few more members (RFC 7517 §5): jq and other tools can read it.
    let keys = set.to_document();
    let text = format!("{},{}\n", keys.trim_end_matches('}'), about.trim_start_matches('{'));
    let unfinished = folder.join(format!(".{source}.json.new"));
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, &path)
}
