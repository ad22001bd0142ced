//! Files below the state folder: whole or not at all, readable by us alone, and durable once a call returns.
//!
//! Knows nothing of what is in them, and serializes nobody: two writers of one file are the caller's to keep apart.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Puts the text there, in the place of the one before.
///
/// # Errors
/// What the file system says; then the one before is there still.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = folder.join(format!(".{name}.new"));
    absent(fs::remove_file(&unfinished))?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    // Without this a power cut may bring the one before back: of keys, one with a key that was withdrawn.
    fs::File::open(folder)?.sync_all()
}

/// Takes the file away.
///
/// # Errors
/// What the file system says; a file that is not there is none.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed?,
    }
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_the_old_one_or_the_new_one_and_ours_alone() {
        let folder = std::env::temp_dir().join(format!("countersign-whole-file-{}", std::process::id()));
        let path = folder.join("below").join("eu1.json");
        remove(&path).unwrap();
        write(&path, "one").unwrap();
        // What a killed process left behind is in nobody's way, and nobody's.
        let left = folder.join("below").join(".eu1.json.new");
        fs::write(&left, "half of something longer").unwrap();
        fs::set_permissions(&left, fs::Permissions::from_mode(0o666)).unwrap();
        write(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder.join("below")), mode(&path)), (0o700, 0o600));
        fs::create_dir(&left).unwrap();
        assert!(write(&path, "three").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        remove(&path).unwrap();
        assert!(!path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
