//! A folder of one test, removed at its end.
//!
//! Never shared between tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Schedule;
use super::key_file::KeyFile;
use crate::clock::Timestamp;
use crate::jose::{SigningKey, parse_object};

/// A folder of one test, removed at its end.
pub(super) struct TempDir(PathBuf);

impl TempDir {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("countersign-keys-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn key_files(&self) -> Vec<PathBuf> {
        let paths = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
        paths.sort();
        paths
    }

    /// Writes a key as an operator does: beside the folder's files, then renamed into place.
    pub(super) fn put(&self, name: &str, key: &SigningKey, dates: [Timestamp; 4]) {
        let [created, publish, activate, retire] = dates;
        let jwk = parse_object(key.to_private_jwk().unwrap().expose().as_bytes()).unwrap();
        let key = SigningKey::from_private_jwk(&jwk).unwrap();
        let file = KeyFile { schedule: Schedule::new(created, publish, activate, retire).unwrap(), key };
        self.put_text(name, file.to_text().unwrap().expose());
    }

    pub(super) fn put_text(&self, name: &str, text: &str) {
        let temporary = self.0.join(format!("{name}.part"));
        fs::write(&temporary, text).unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&temporary, self.0.join(name)).unwrap();
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
