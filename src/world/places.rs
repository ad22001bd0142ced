//! Files and directories of the pretend world, with the modes that their content needs.
//!
//! Never writes a secret that others can read, not even for a moment.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::entropy::{Entropy, SystemEntropy};

use super::WorldFault;

/// A directory of its own under the system's temporary one, removed when dropped.
#[derive(Debug)]
pub struct ScratchDirectory(PathBuf);

impl ScratchDirectory {
    /// Makes one with mode 0700. Its path is short: a Unix socket's path has about 100 bytes.
    ///
    /// # Errors
    /// When the system gives no directory or no random bytes.
    pub fn new() -> Result<Self, WorldFault> {
        let mut bytes = [0; 8];
        SystemEntropy.fill(&mut bytes)?;
        let path = std::env::temp_dir().join(format!("cs-{:016x}", u64::from_be_bytes(bytes)));
        DirBuilder::new().mode(0o700).create(&path).map_err(place("making", &path))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        // A leftover in the temporary directory is not worth a failure.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn make_private_directory(path: &Path) -> Result<(), WorldFault> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(place("making", path))
}

/// Mode 0644, whatever the umask says.
pub(super) fn write_public_file(path: &Path, content: &str) -> Result<(), WorldFault> {
    write_file(path, content, 0o644)
}

/// Mode 0600 from its first moment.
pub(super) fn write_private_file(path: &Path, content: &str) -> Result<(), WorldFault> {
    write_file(path, content, 0o600)
}

/// Written beside and renamed: a reader sees the old content or the new, and a file that was there keeps no wider mode.
fn write_file(path: &Path, content: &str, mode: u32) -> Result<(), WorldFault> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode & 0o600)
        .open(&beside)
        .map_err(place("writing", &beside))?;
    file.write_all(content.as_bytes()).map_err(place("writing", &beside))?;
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(place("setting the mode of", &beside))?;
    fs::rename(&beside, path).map_err(place("writing", path))
}

/// For `map_err` on a file operation.
pub(super) fn place(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> WorldFault + use<> {
    let path = path.to_path_buf();
    move |cause| WorldFault::Place { action, path, cause }
}
