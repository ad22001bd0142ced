//! Grants that no longer fit whole: how many, and when, for each identity, resource, scopes, rules and configuration.
//!
//! Forgets references, keys and tokens on purpose; never grows past its limit in bytes, nor past its limit in kinds.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::Record;

/// What grants are put together by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrantKind {
    /// The SPIFFE ID.
    pub id: String,
    /// The resource.
    pub resource: String,
    /// The scopes.
    pub scope: String,
    /// The rules that granted it.
    pub rules: Vec<String>,
    /// The configuration that decided.
    pub generation: String,
}

/// How often and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantTally {
    /// What was granted to whom.
    #[serde(flatten)]
    pub kind: GrantKind,
    /// How many times.
    pub count: u64,
    /// The first time, RFC 3339.
    pub first: String,
    /// The last time.
    pub last: String,
}

/// Kinds that are held, at about 500 bytes each: the ones that were used last. Some more come between two clearings.
const KINDS: usize = 100_000;
const MORE_KINDS: usize = KINDS / 8;

/// Tallies of grants.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    tallies: BTreeMap<GrantKind, GrantTally>,
}

impl Grants {
    /// Adds a kept record, if it is one of a grant.
    pub fn add(&mut self, record: &[u8]) {
        let Ok(record) = serde_json::from_slice::<Record>(record) else { return };
        let (Some(id), Some(token)) = (record.id, record.token) else { return };
        let kind = GrantKind {
            id,
            resource: record.resource.unwrap_or_default(),
            scope: token.scope,
            rules: record.rules,
            generation: record.generation.unwrap_or_default(),
        };
        self.put(GrantTally { kind, count: 1, first: record.time.clone(), last: record.time });
    }

    fn put(&mut self, tally: GrantTally) {
        match self.tallies.get_mut(&tally.kind) {
            Some(known) => {
                known.count += tally.count;
                // RFC 3339 in UTC with whole seconds sorts as text.
                known.first = std::mem::take(&mut known.first).min(tally.first);
                known.last = std::mem::take(&mut known.last).max(tally.last);
            }
            None => {
                self.tallies.insert(tally.kind.clone(), tally);
                if self.tallies.len() > KINDS + MORE_KINDS {
                    self.keep_newest(KINDS);
                }
            }
        }
    }

    /// The tallies, the one that was used last first.
    pub fn tallies(&self) -> Vec<&GrantTally> {
        let mut tallies: Vec<&GrantTally> = self.tallies.values().collect();
        tallies.sort_by(|one, other| other.last.cmp(&one.last));
        tallies
    }

    /// The file of a folder of decisions.
    fn file(directory: &Path) -> PathBuf {
        directory.join("grants.jsonl")
    }

    /// What was put together before; a file that is torn or foreign counts as far as it can be read.
    pub fn read(directory: &Path) -> Self {
        let mut grants = Self::default();
        let text = std::fs::read_to_string(Self::file(directory)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).for_each(|tally| grants.put(tally));
        grants
    }

    /// Writes the tallies, the ones that were used last first, in at most `most` bytes, and forgets the others.
    ///
    /// # Errors
    /// The disk did not take them; the file is as it was.
    pub fn write(&mut self, directory: &Path, most: u64) -> io::Result<()> {
        let (mut text, mut fit) = (String::new(), 0);
        for tally in self.tallies() {
            let line = serde_json::to_string(tally)?;
            if (text.len() + line.len() + 1) as u64 > most {
                break;
            }
            text.push_str(&line);
            text.push('\n');
            fit += 1;
        }
        self.keep_newest(fit);
        let beside = directory.join(".grants.jsonl");
        // One that a kill left behind could be open to more readers.
        if let Err(error) = std::fs::remove_file(&beside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, Self::file(directory))?;
        // Its name too, before the records that it stands for are deleted.
        File::open(directory)?.sync_all()
    }

    /// Forgets all but so many, which were used last.
    fn keep_newest(&mut self, count: usize) {
        if self.tallies.len() <= count {
            return;
        }
        let mut tallies: Vec<GrantTally> = std::mem::take(&mut self.tallies).into_values().collect();
        // In the order of `tallies`: it is stable, and so is this.
        tallies.sort_by(|one, other| other.last.cmp(&one.last));
        tallies.truncate(count);
        self.tallies = tallies.into_iter().map(|tally| (tally.kind.clone(), tally)).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn grant(id: &str, time: &str) -> Vec<u8> {
        format!(r#"{{"outcome":"allow","id":"{id}","time":"{time}","resource":"orders","rules":["r"],"token":{{"scope":"read"}}}}"#)
            .into_bytes()
    }

    #[test]
    fn grants_are_put_together_and_survive_their_file() {
        let directory = std::env::temp_dir().join(format!("countersign-grants-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut grants = Grants::default();
        for (id, time) in [("a", "2026-01-02"), ("a", "2026-01-01"), ("b", "2026-01-03"), ("a", "2026-01-02")] {
            grants.add(&grant(id, time));
        }
        grants.add(br#"{"outcome":"deny","id":"a"}"#);
        let tallies = |grants: &Grants| -> Vec<(String, u64, String, String)> {
            let told =
                |tally: &&GrantTally| (tally.kind.id.clone(), tally.count, tally.first.clone(), tally.last.clone());
            grants.tallies().iter().map(told).collect()
        };
        let one = ("b".to_owned(), 1, "2026-01-03".to_owned(), "2026-01-03".to_owned());
        let three = ("a".to_owned(), 3, "2026-01-01".to_owned(), "2026-01-02".to_owned());
        assert_eq!(tallies(&grants), [one.clone(), three.clone()]);
        grants.write(&directory, 1 << 20).unwrap();
        assert_eq!(tallies(&Grants::read(&directory)), [one.clone(), three]);
        grants.write(&directory, 200).unwrap();
        assert_eq!(tallies(&Grants::read(&directory)), std::slice::from_ref(&one), "what was used last stays");
        assert_eq!(tallies(&grants), [one], "what does not fit is forgotten here too");
        let mode = std::fs::metadata(Grants::file(&directory)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn it_holds_so_many_kinds_and_no_more() {
        let mut grants = Grants::default();
        for number in 0..=KINDS + MORE_KINDS {
            let kind = GrantKind {
                id: number.to_string(),
                resource: String::new(),
                scope: String::new(),
                rules: Vec::new(),
                generation: String::new(),
            };
            let time = format!("{number:09}");
            grants.put(GrantTally { kind, count: 1, first: time.clone(), last: time });
            assert!(grants.tallies.len() <= KINDS + MORE_KINDS);
        }
        assert_eq!(grants.tallies.len(), KINDS);
        assert_eq!(grants.tallies()[0].kind.id, (KINDS + MORE_KINDS).to_string(), "the newest stay");
    }
}
