//! A key that did not exist before, and its file.
//!
//! Never overwrites a file, and never hands out a key whose signature does not verify.

use std::path::Path;

use serde_json::Map;

use super::folder::write_new;
use super::key_file::KeyFile;
use super::{KeyRingFault, Schedule};
use crate::clock::{Lifetime, Timestamp};
use crate::identity::KeyId;
use crate::jose::{Algorithm, SigningKey};
use crate::secret::Secret;

/// A new key as the text of a file, for a folder or a Secret that is not ours to write.
#[derive(Debug)]
pub struct NewKey {
    /// What its file is called, for people: `<date>-<algorithm>-<first 8 of the key id>.json`.
    pub name: String,
    /// Its id.
    pub key_id: KeyId,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Its dates.
    pub schedule: Schedule,
    /// The file: private.
    pub text: Secret<String>,
}

impl NewKey {
    /// Makes a key that is published at `at` and signs after `activate_in`: no time at all for the first key of a Secret,
    /// [`super::PUBLISHED_BEFORE_USE`] and the time until every process has the file for a further one. RSA takes a while.
    ///
    /// # Errors
    /// [`KeyRingFault::NotMade`], or [`KeyRingFault::Unconfirmed`] for an algorithm that we do not sign with.
    pub fn make(algorithm: Algorithm, activate_in: Lifetime, at: Timestamp) -> Result<Self, KeyRingFault> {
        let schedule = Schedule::waiting(at, activate_in);
        let file = new_file(algorithm, schedule)?;
        let text = file.to_text().map_err(|why| KeyRingFault::NotMade { algorithm, why })?;
        Ok(Self { name: file.name(), key_id: file.key.key_id().clone(), algorithm, schedule, text })
    }

    /// Writes it to a file that is not there yet, mode 0600.
    ///
    /// # Errors
    /// [`KeyRingFault::Unwritable`], also when there is such a file.
    pub fn write(&self, path: &Path) -> Result<(), KeyRingFault> {
        write_new(path, self.text.expose().as_bytes())
            .map_err(|why| KeyRingFault::Unwritable { path: path.to_owned(), why })
    }
}

/// A new key with its dates.
pub(super) fn new_file(algorithm: Algorithm, schedule: Schedule) -> Result<KeyFile, KeyRingFault> {
    let key = SigningKey::generate(algorithm).map_err(|why| KeyRingFault::NotMade { algorithm, why })?;
    if !confirms(&key) {
        return Err(KeyRingFault::Unconfirmed { key_id: key.key_id().clone(), algorithm });
    }
    Ok(KeyFile { schedule, key })
}

/// Whether a signature of the key verifies with its public half.
pub(super) fn confirms(key: &SigningKey) -> bool {
    key.seal("JWT", &Map::new()).is_ok_and(|sealed| key.is_confirmed(&sealed))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::issue::temp_dir::TempDir;

    #[test]
    fn a_new_key_is_a_file_that_is_read_back() {
        let temp = TempDir::new();
        let at = Timestamp::from_millis(1_790_000_000_999);
        let new = NewKey::make(Algorithm::ES256, Lifetime::from_minutes(15), at).unwrap();
        assert!(new.name.starts_with("2026-09-21-ES256-"), "{}", new.name);
        let dates = [new.schedule.created(), new.schedule.publish(), new.schedule.activate()].map(Timestamp::seconds);
        assert_eq!(dates, [1_790_000_000, 1_790_000_000, 1_790_000_900]);
        let path = temp.path().join(&new.name);
        new.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = KeyFile::parse(&fs::read(&path).unwrap()).unwrap();
        assert_eq!((read.key.key_id(), read.schedule), (&new.key_id, new.schedule));
        assert!(matches!(new.write(&path), Err(KeyRingFault::Unwritable { .. })), "never overwritten");
        assert!(!format!("{new:?}").contains("kty"), "the text is a secret");
        assert!(matches!(NewKey::make(Algorithm::ES512, Lifetime::ZERO, at), Err(KeyRingFault::Unconfirmed { .. })));
    }
}
