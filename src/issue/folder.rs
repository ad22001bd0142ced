//! The folder of key files: what is in it, who may write to it now, and how a file enters it whole.
//!
//! Never writes into a folder that is somebody else's, and never without the lock. Temporary files and names that do not end in
//! `.json` are none of its business.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::KeyRingFault;
use crate::secret::Secret;

/// Most bytes of a key file. The largest real one, RSA with 8192 bits, has about seven thousand.
const FILE_LIMIT: usize = 64 * 1024;
/// Most visible entries of the folder. Two algorithms that rotate hourly have about 500, as files of keys that are gone for a week
/// are then removed.
const MOST_FILES: usize = 1000;
/// How long another process may take to make its keys: 30 seconds, as RSA keys take a while.
const LOCK_TRIES: u32 = 600;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Bits of a mode that let others than the owner at a file.
const OTHERS: u32 = 0o077;
/// The same in a mounted Secret, where the group is how the kubelet lets us read.
const STRANGERS: u32 = 0o027;
/// Bits of a mode that let others change what is in a folder.
const OTHERS_WRITE: u32 = 0o022;

/// A folder that holds key files.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    ours: bool,
}

/// One file, as it was read.
pub(super) struct FileText {
    pub(super) path: PathBuf,
    pub(super) text: Secret<Vec<u8>>,
    /// Others than the owner have rights on it.
    pub(super) loose: bool,
}

/// The right to make keys. Ends when dropped, or with the process.
#[derive(Debug)]
pub(super) struct FolderLock {
    _held: File,
}

impl Folder {
    /// Makes the folder (0700) if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, KeyRingFault> {
        let folder = Self { path: path.to_owned(), ours: true };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|why| folder.fault("made", why))?;
        Ok(folder)
    }

    /// A folder that somebody else writes: nothing is made or locked in it.
    pub(super) fn read_only(path: &Path) -> Self {
        Self { path: path.to_owned(), ours: false }
    }

    /// Whether others may put files into our folder.
    pub(super) fn is_loose(&self) -> bool {
        // What a mount's own mode says has no meaning: a Secret is mounted read-only with mode 1777.
        self.ours && fs::metadata(&self.path).is_ok_and(|metadata| metadata.permissions().mode() & OTHERS_WRITE != 0)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Every key file, in order of names.
    pub(super) fn read(&self) -> Result<Vec<FileText>, KeyRingFault> {
        let mut paths = Vec::new();
        let mut seen = 0;
        for entry in fs::read_dir(&self.path).map_err(|why| self.fault("read", why))? {
            let path = entry.map_err(|why| self.fault("read", why))?.path();
            // Names with a dot in front are temporary files, the lock, and the links inside a mounted Secret.
            if path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            seen += 1;
            if seen > MOST_FILES {
                return Err(KeyRingFault::TooMany { path: self.path.clone(), limit: MOST_FILES });
            }
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        let others = if self.ours { OTHERS } else { STRANGERS };
        paths.into_iter().map(|path| read_file(path, others)).collect()
    }

    /// Waits until no other process makes keys here.
    pub(super) fn lock(&self) -> Result<FolderLock, KeyRingFault> {
        self.lock_within(LOCK_TRIES)
    }

    fn lock_within(&self, tries: u32) -> Result<FolderLock, KeyRingFault> {
        if !self.ours {
            return Err(KeyRingFault::NotOurs { path: self.path.clone() });
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.path.join(".lock")).map_err(|why| self.fault("written", why))?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => return Ok(FolderLock { _held: file }),
                Err(TryLockError::WouldBlock) if attempt < tries => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(why)) => return Err(self.fault("locked", why)),
            }
        }
        Err(KeyRingFault::Busy { path: self.path.clone() })
    }

    /// Puts a file into the folder, or new text into the place of the old, whole or not at all, and durable when this returns.
    pub(super) fn put(&self, _lock: &FolderLock, name: &str, text: &Secret<String>) -> Result<(), KeyRingFault> {
        let (temporary, path) = (self.path.join(format!(".{name}.new")), self.path.join(name));
        // Under the lock a file of that name is what a killed process left behind.
        let _ = fs::remove_file(&temporary);
        let added = write_new(&temporary, text.expose().as_bytes())
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| File::open(&self.path)?.sync_all());
        added.map_err(|why| {
            // Half a key is of no use to anybody; a failure here changes nothing about the first one.
            let _ = fs::remove_file(&temporary);
            self.fault("written", why)
        })
    }

    /// Takes a file out of the folder.
    pub(super) fn remove(&self, _lock: &FolderLock, path: &Path) -> Result<(), KeyRingFault> {
        match fs::remove_file(path) {
            Err(why) if why.kind() != ErrorKind::NotFound => Err(self.fault("tidied", why)),
            _ => Ok(()),
        }
    }

    fn fault(&self, action: &'static str, why: io::Error) -> KeyRingFault {
        KeyRingFault::Folder { path: self.path.clone(), action, why }
    }
}

/// Writes a file that is not there yet, mode 0600, durable when this returns.
pub(super) fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn read_file(path: PathBuf, others: u32) -> Result<FileText, KeyRingFault> {
    let unreadable = |why: io::Error| KeyRingFault::Unreadable { path: path.clone(), why };
    // Asked before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(&path).map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let file = File::open(&path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode();
    // Room for all of it from the start: a vector that grows leaves copies of the key behind.
    let room = usize::try_from(metadata.len()).map_or(FILE_LIMIT, |length| length.min(FILE_LIMIT));
    let mut bytes = Vec::with_capacity(room + 1);
    let read = file.take(FILE_LIMIT as u64 + 1).read_to_end(&mut bytes);
    let text = Secret::new("signing key file", bytes);
    read.map_err(unreadable)?;
    if text.expose().len() > FILE_LIMIT {
        return Err(KeyRingFault::TooLarge { path, limit: FILE_LIMIT });
    }
    Ok(FileText { path, text, loose: mode & others != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::temp_dir::TempDir;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn text(content: &str) -> Secret<String> {
        Secret::new("test", content.to_owned())
    }

    #[test]
    fn folder_and_files_belong_to_the_owner_alone() {
        let temp = TempDir::new();
        let folder = Folder::open(&temp.path().join("a/keys")).unwrap();
        let lock = folder.lock().unwrap();
        fs::write(folder.path().join(".k.json.new"), "left behind by a killed process").unwrap();
        folder.put(&lock, "k.json", &text("{}")).unwrap();
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.path().join("k.json")), 0o600);
        assert_eq!(mode(&folder.path().join(".lock")), 0o600);
        assert!(!folder.path().join(".k.json.new").exists());
        assert!(!folder.is_loose());
        let files = folder.read().unwrap();
        assert_eq!(
            files.iter().map(|file| (file.text.expose().as_slice(), file.loose)).collect::<Vec<_>>(),
            [(b"{}".as_slice(), false)]
        );
    }

    #[test]
    fn loose_modes_are_told() {
        let temp = TempDir::new();
        let folder = Folder::open(temp.path()).unwrap();
        for (bits, loose) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o644, true)] {
            let path = temp.path().join("k.json");
            fs::write(&path, "{}").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
            assert_eq!(folder.read().unwrap()[0].loose, loose, "{bits:o}");
            fs::remove_file(&path).unwrap();
        }
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(folder.is_loose());
    }

    #[test]
    fn a_folder_of_somebody_else_is_only_read() {
        let temp = TempDir::new();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let folder = Folder::read_only(temp.path());
        assert!(matches!(folder.lock(), Err(KeyRingFault::NotOurs { .. })));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        assert!(!folder.is_loose());
        let path = temp.path().join("k.json");
        fs::write(&path, "{}").unwrap();
        for (bits, loose) in [(0o600, false), (0o440, false), (0o460, true), (0o444, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
            assert_eq!(folder.read().unwrap()[0].loose, loose, "{bits:o}");
        }
        let absent = Folder::read_only(&temp.path().join("absent"));
        assert!(absent.read().is_err() && !absent.path().exists());
    }

    #[test]
    fn other_names_are_ignored_and_links_followed() {
        let temp = TempDir::new();
        let folder = Folder::open(temp.path()).unwrap();
        for name in [".lock", ".k.json", ".k.json.new", "k.json~", "k.json.bak", "README", "json"] {
            fs::write(temp.path().join(name), "x").unwrap();
        }
        assert!(folder.read().unwrap().is_empty());
        // As the kubelet mounts a Secret: a link to a link to a dated folder.
        fs::create_dir(temp.path().join("..2026_09_21")).unwrap();
        fs::write(temp.path().join("..2026_09_21/k.json"), "{}").unwrap();
        std::os::unix::fs::symlink("..2026_09_21", temp.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/k.json", temp.path().join("k.json")).unwrap();
        assert_eq!(folder.read().unwrap().len(), 1);
    }

    #[test]
    fn reading_has_limits() {
        let temp = TempDir::new();
        let folder = Folder::open(temp.path()).unwrap();
        let path = temp.path().join("k.json");
        fs::write(&path, " ".repeat(FILE_LIMIT)).unwrap();
        assert!(folder.read().is_ok());
        fs::write(&path, " ".repeat(FILE_LIMIT + 1)).unwrap();
        assert!(matches!(folder.read(), Err(KeyRingFault::TooLarge { .. })));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(folder.read(), Err(KeyRingFault::Unreadable { .. })));
        fs::remove_dir(&path).unwrap();
        for number in 0..MOST_FILES {
            fs::write(temp.path().join(format!("{number}.json")), "").unwrap();
        }
        assert_eq!(folder.read().unwrap().len(), MOST_FILES);
        fs::write(&path, "").unwrap();
        assert!(matches!(folder.read(), Err(KeyRingFault::TooMany { .. })));
    }

    #[test]
    fn one_maker_at_a_time_and_nobody_waits_for_ever() {
        let temp = TempDir::new();
        let folder = Folder::open(temp.path()).unwrap();
        let held = folder.lock().unwrap();
        assert!(matches!(folder.lock_within(1), Err(KeyRingFault::Busy { .. })));
        drop(held);
        assert!(folder.lock_within(1).is_ok());
    }
}
