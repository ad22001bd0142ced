//! An operator's order that the last keys of a source serve longer than `max_stale`, for a time that ends by itself.
//!
//! Adds time and nothing else: withdrawn keys stay withdrawn, the end that an agent set stays (WAP-09), and keys that never
//! were are not made up. It belongs to the source with its key settings: one that is re-pointed has none.

use std::io;
use std::path::{Path, PathBuf};

use super::key_file::read_bounded;
use super::source::CLOCK_DIFFERENCE;
use super::whole_file;
use crate::clock::{Lifetime, Timestamp};
use crate::identity::SourceName;
use crate::jose::parse_object;

/// What one order can add.
pub const MOST_EXTENSION: Lifetime = Lifetime::from_hours(24);
/// Beyond `max_stale`, however many orders there are.
pub const MOST_EXTENSIONS: Lifetime = Lifetime::from_hours(7 * 24);

const MOST_BYTES: u64 = 16 * 1024;

/// An order that stands, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// When it was given.
    pub ordered: Timestamp,
    /// Until when the keys may serve.
    pub until: Timestamp,
    /// Who gave it.
    pub by: String,
    /// Why, in an operator's words.
    pub reason: String,
}

/// Why keys do not serve longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotExtended {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Senseless(String),
    /// It could not be kept, so it does not count.
    #[error("the order could not be kept, and nothing has changed: {0}")]
    Unkept(String),
}

impl Extension {
    /// Whether it counts at `at`. An order from the future of our clock says nothing: the clock was set back since.
    pub(super) fn stands(&self, at: Timestamp) -> bool {
        self.ordered <= at.plus(CLOCK_DIFFERENCE) && at <= self.until
    }

    /// Until when keys may serve that were confirmed at `confirmed_at`, as it is at `at`.
    pub(super) fn deadline(
        extension: Option<&Self>,
        confirmed_at: Timestamp,
        max_stale: Lifetime,
        at: Timestamp,
    ) -> Timestamp {
        let own = confirmed_at.plus(max_stale);
        match extension {
            Some(extension) if extension.stands(at) => own.max(extension.until.min(own.plus(MOST_EXTENSIONS))),
            _ => own,
        }
    }

    /// The end that an order given at `at` would have: counted from the source's own deadline or from now, whichever is later.
    /// The same order twice is the same order, not twice the time.
    pub(super) fn end(own: Timestamp, by: Lifetime, at: Timestamp) -> Result<Timestamp, NotExtended> {
        if by > MOST_EXTENSION {
            return Err(NotExtended::Senseless(format!(
                "one order extends by {MOST_EXTENSION} at most; when that is not enough, give another later"
            )));
        }
        let end = own.max(at).plus(by);
        let last = own.plus(MOST_EXTENSIONS);
        if end > last {
            return Err(NotExtended::Senseless(format!(
                "that would be until {end:?}, and keys never serve longer than {MOST_EXTENSIONS} beyond max_stale: until {last:?}"
            )));
        }
        Ok(end)
    }
}

/// Where the order for a source is kept.
pub(super) fn path_of(directory: &Path, source: &SourceName) -> PathBuf {
    directory.join("extensions").join(format!("{source}.json"))
}

/// Reads the order for that source, ended or not. `None` when there is none.
///
/// # Errors
/// A sentence, when there is a file and it is not to be used.
pub(super) fn read(
    directory: &Path,
    source: &SourceName,
    origin: &str,
    now: Timestamp,
) -> Result<Option<Extension>, String> {
    let path = path_of(directory, source);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(&path, MOST_BYTES)?;
    let fault = |what: &str| format!("{}: {what}", path.display());
    let document = parse_object(&bytes).map_err(|error| fault(&error.to_string()))?;
    if (document.text("source"), document.text("origin")) != (Some(source.as_str()), Some(origin)) {
        return Err(fault("it is for another source, or for other key settings"));
    }
    let time = |name| document.text(name).and_then(Timestamp::parse_rfc3339);
    let (Some(ordered), Some(until)) = (time("ordered"), time("until")) else { return Err(fault("it has no times")) };
    if ordered > now.plus(CLOCK_DIFFERENCE) {
        return Err(fault("it was given in the future of our clock"));
    }
    let text = |name| document.text(name).unwrap_or_default().to_owned();
    Ok(Some(Extension { ordered, until, by: text("by"), reason: text("reason") }))
}

/// Writes the order, or takes it away. Durable once this returns.
///
/// # Errors
/// What the file system says.
pub(super) fn write(
    directory: &Path,
    source: &SourceName,
    origin: &str,
    extension: Option<&Extension>,
) -> io::Result<()> {
    let path = path_of(directory, source);
    match extension {
        None => whole_file::remove(&path),
        Some(Extension { ordered, until, by, reason }) => {
            let text = serde_json::json!({
                "source": source.as_str(), "origin": origin, "ordered": ordered.to_rfc3339(),
                "until": until.to_rfc3339(), "by": by, "reason": reason
            });
            whole_file::write(&path, &format!("{text}\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DAY: Lifetime = Lifetime::from_hours(24);
    const NOON: Timestamp = Timestamp::from_seconds(1_790_000_000);

    fn until(until: Timestamp) -> Extension {
        Extension { ordered: NOON, until, by: "uid 0".to_owned(), reason: String::new() }
    }

    #[test]
    fn an_order_adds_time_once_and_within_bounds() {
        let own = NOON.plus(Lifetime::from_hours(1));
        let hours = Lifetime::from_hours;
        assert_eq!(Extension::end(own, hours(2), NOON), Ok(own.plus(hours(2))), "keys that are good still");
        let late = own.plus(hours(5));
        assert_eq!(Extension::end(own, hours(2), late), Ok(late.plus(hours(2))), "keys that are stale already");
        assert_eq!(Extension::end(own, MOST_EXTENSION, NOON), Ok(own.plus(DAY)));
        assert!(Extension::end(own, Lifetime::from_seconds(24 * 3600 + 1), NOON).is_err(), "too much at once");
        let sixth = own.plus(hours(6 * 24));
        assert_eq!(Extension::end(own, MOST_EXTENSION, sixth), Ok(own.plus(MOST_EXTENSIONS)), "a week in all");
        assert!(Extension::end(own, MOST_EXTENSION, sixth.plus(hours(1))).is_err(), "and no more");
    }

    #[test]
    fn a_deadline_is_never_shortened_and_never_a_week_longer() {
        let own = NOON.plus(DAY);
        let deadline = |extension: &Extension, at| Extension::deadline(Some(extension), NOON, DAY, at);
        assert_eq!(Extension::deadline(None, NOON, DAY, NOON), own);
        assert_eq!(deadline(&until(NOON.plus(Lifetime::from_hours(1))), NOON), own, "an earlier end changes nothing");
        let later = own.plus(Lifetime::from_hours(3));
        assert_eq!(deadline(&until(later), NOON), later);
        assert_eq!(deadline(&until(own.plus(Lifetime::from_hours(9999))), NOON), own.plus(MOST_EXTENSIONS));
        let set_back = NOON.minus(Lifetime::from_minutes(6));
        assert_eq!(deadline(&until(later), set_back), own, "an order from the future counts for nothing");
    }

    #[test]
    fn an_order_is_for_one_source_with_its_key_settings() {
        let directory = std::env::temp_dir().join(format!("countersign-extension-{}", std::process::id()));
        let (eu1, eu2) = (SourceName::parse("eu1").unwrap(), SourceName::parse("eu2").unwrap());
        let order = until(NOON.plus(DAY));
        assert_eq!(read(&directory, &eu1, "a", NOON), Ok(None));
        write(&directory, &eu1, "a", Some(&order)).unwrap();
        assert_eq!(read(&directory, &eu1, "a", NOON), Ok(Some(order)));
        assert!(read(&directory, &eu1, "b", NOON).is_err(), "re-pointed since");
        assert!(read(&directory, &eu1, "a", NOON.minus(DAY)).is_err(), "from the future");
        fs::copy(path_of(&directory, &eu1), path_of(&directory, &eu2)).unwrap();
        assert!(read(&directory, &eu2, "a", NOON).is_err(), "copied from another");
        write(&directory, &eu1, "a", None).unwrap();
        write(&directory, &eu1, "a", None).unwrap();
        assert_eq!(read(&directory, &eu1, "a", NOON), Ok(None));
        fs::remove_dir_all(&directory).unwrap();
    }
}
