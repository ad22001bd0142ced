//! Last good keys and X.509 authorities in files, so that a restart refuses nobody whose keys are known (JWK-15).
//!
//! Public keys alone. A file of another source, of other key settings or of another time is never read as ours.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, json};

use super::authorities::Authorities;
use super::bundle_endpoint::Lineage;
use super::key_file::read_bounded;
use super::source::{CLOCK_DIFFERENCE, SourceKeys, locked};
use super::whole_file;
use crate::clock::Timestamp;
use crate::identity::SourceName;
use crate::jose::{KeyPurpose, KeySet, Object, Value, parse_object};

/// 500 RSA keys of 8192 bits, 100 certificates of 16 KiB, and room.
const MOST_BYTES: u64 = 5 * 1024 * 1024;

/// What a file holds.
pub(super) struct LastGood {
    /// The keys, unless there never were any.
    pub(super) keys: Option<Kept<Arc<KeySet>>>,
    /// The X.509 authorities, unless there never were any. None at all is a set too: every X.509-SVID is withdrawn.
    pub(super) authorities: Option<Kept<Arc<Authorities>>>,
    /// Of a bundle endpoint alone.
    pub(super) lineage: Lineage,
}

/// A set, and how fresh it is.
pub(super) struct Kept<T> {
    pub(super) set: T,
    pub(super) confirmed_at: Timestamp,
    /// From then on everything counts as withdrawn (WAP-09).
    pub(super) ends: Option<Timestamp>,
}

/// What was written last.
#[derive(Default)]
pub(super) struct Written {
    pub(super) last: Option<Last>,
    pub(super) trouble: Option<String>,
}

/// What stood in it, and when it was written.
pub(super) struct Last {
    pub(super) content: String,
    pub(super) at: Timestamp,
}

impl LastGood {
    /// What a source holds now; `None` when it never had anything.
    pub(super) fn of(keys: &SourceKeys, now: Timestamp) -> Option<Self> {
        let held = keys.held().map(|held| (held.at(now), held.ends));
        let held = held.map(|(now, ends)| Kept { set: now.set, confirmed_at: now.confirmed_at, ends });
        let ends = keys.authorities.ends();
        let authorities = keys.authorities.at(now).map(|(set, confirmed_at)| Kept { set, confirmed_at, ends });
        if held.is_none() && authorities.is_none() {
            return None;
        }
        Some(Self { keys: held, authorities, lineage: locked(&keys.lineage).clone() })
    }

    /// Everything but how fresh it is: whether it changed.
    pub(super) fn content(&self) -> String {
        self.document(|_confirmed| Timestamp::from_millis(0))
    }

    /// A JWK Set with a few more members (RFC 7517 §5): jq and other tools can read it.
    fn document(&self, confirmed: impl Fn(Timestamp) -> Timestamp) -> String {
        let keys = self.keys.as_ref().map_or_else(|| KeySet::default().to_document(), |kept| kept.set.to_document());
        let mut more = Map::new();
        if let Some(kept) = &self.keys {
            kept.note(&mut more, &confirmed);
        }
        if let Some(kept) = &self.authorities {
            let mut x509 = Map::new();
            x509.insert("authorities".to_owned(), kept.set.to_base64().into());
            kept.note(&mut x509, &confirmed);
            more.insert("x509".to_owned(), x509.into());
        }
        if let Some(sequence) = self.lineage.sequence {
            more.insert("spiffe_sequence".to_owned(), sequence.into());
        }
        if let Some(first) = &self.lineage.first {
            more.insert("first".to_owned(), first.as_str().into());
        }
        if let Some(vouching) = &self.lineage.vouching {
            more.insert("vouching".to_owned(), vouching.to_base64().into());
        }
        let more = serde_json::Value::from(more).to_string();
        format!("{},{}", keys.trim_end_matches('}'), more.trim_start_matches('{'))
    }

    /// # Errors
    /// What is wrong with the document.
    fn read(document: &Object, bytes: &[u8], now: Timestamp) -> Result<Self, String> {
        let keys = match document.has("confirmed_at") {
            true => {
                let set = KeySet::parse(bytes, KeyPurpose::JwkSet).map_err(|error| error.to_string())?;
                Some(Kept::read(Arc::new(set), document, now)?)
            }
            false => None,
        };
        let authorities = match document.get("x509") {
            None => None,
            Some(Value::Object(x509)) => {
                let texts = x509.array("authorities").ok_or("it has no X.509 authorities where they should be")?;
                Some(Kept::read(Arc::new(Authorities::of_base64(texts)), x509, now)?)
            }
            Some(_) => return Err("its X.509 authorities are of another form".to_owned()),
        };
        if keys.is_none() && authorities.is_none() {
            return Err("it has no time".to_owned());
        }
        let lineage = Lineage {
            sequence: Lineage::sequence_of(document),
            first: document.text("first").map(str::to_owned),
            vouching: document.array("vouching").map(|texts| Arc::new(Authorities::of_base64(texts))),
        };
        Ok(Self { keys, authorities, lineage })
    }
}

impl<T> Kept<T> {
    fn note(&self, members: &mut Map<String, serde_json::Value>, confirmed: impl Fn(Timestamp) -> Timestamp) {
        let times = [("confirmed_at", Some(confirmed(self.confirmed_at))), ("ends", self.ends)];
        for (name, time) in times.into_iter().filter_map(|(name, time)| Some((name, time?))) {
            members.insert(name.to_owned(), time.to_rfc3339().into());
        }
    }

    fn read(set: T, members: &Object, now: Timestamp) -> Result<Self, String> {
        let time = |name: &str| members.text(name).and_then(Timestamp::parse_rfc3339);
        let confirmed_at = time("confirmed_at").ok_or("it has no time")?;
        if confirmed_at > now.plus(CLOCK_DIFFERENCE) {
            return Err("it was written in the future of our clock".to_owned());
        }
        let ends = match members.has("ends") {
            true => Some(time("ends").ok_or("its end is no time")?),
            false => None,
        };
        Ok(Self { set, confirmed_at: confirmed_at.min(now), ends })
    }
}

/// Where the keys of a source are kept.
pub(super) fn path_of(directory: &Path, source: &SourceName) -> PathBuf {
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
    LastGood::read(&document, &bytes, now).map(Some).map_err(|why| fault(&why))
}

/// Writes the file.
///
/// # Errors
/// What the file system says.
pub(super) fn write(directory: &Path, source: &SourceName, origin: &str, good: &LastGood) -> io::Result<()> {
    let about = json!({ "source": source.as_str(), "origin": origin }).to_string();
    let document = good.document(|confirmed_at| confirmed_at);
    let text = format!("{},{}\n", document.strip_suffix('}').unwrap_or(&document), about.trim_start_matches('{'));
    whole_file::write(&path_of(directory, source), &text)
}
