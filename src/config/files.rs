//! Decides which files make up one configuration, and reads them.
//!
//! Must never read without a limit, wait at a pipe, or take a part of a file for the whole.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Bytes of one file: some thousands of rules.
const MAX_BYTES: u64 = 1024 * 1024;
/// Files of one configuration.
pub(super) const MAX_FILES: usize = 256;
/// Entries of a folder that `*` looks through.
const MAX_ENTRIES: usize = 10_000;

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("the file cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("this is not a file".to_owned());
    }
    let file = fs::File::open(path).map_err(|error| format!("the file cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("the file cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("the file is larger than {MAX_BYTES} bytes"));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("the file is not UTF-8 text: byte {} is wrong", error.utf8_error().valid_up_to()))
}

/// A path of the configuration, relative to the file that names it.
pub(super) fn resolve(named_in: &Path, path: &str) -> PathBuf {
    let whole = named_in.parent().map_or_else(|| PathBuf::from(path), |folder| folder.join(path));
    // Without the `.` of `./keys`.
    whole.components().collect()
}

/// The files that an entry of `include` names, sorted. `*` stands for any characters in the last part of the path;
/// files whose names begin with a dot need a dot in the pattern (a ConfigMap keeps its own links under such names).
pub(super) fn matching(named_in: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let whole = resolve(named_in, pattern);
    if !pattern.contains('*') {
        return Ok(vec![whole]);
    }
    let (Some(folder), Some(name)) = (whole.parent(), whole.file_name().and_then(|name| name.to_str())) else {
        return Err("this is not the path of a file".to_owned());
    };
    if folder.to_string_lossy().contains('*') || name.contains("**") {
        return Err("`*` may stand in the last part of the path only, and not twice in a row".to_owned());
    }
    let unreadable = |error| format!("the folder cannot be read: {error}");
    let mut found = Vec::new();
    // `rules/*.yaml` has `rules` for its folder, `*.yaml` has none: that is the working directory.
    let looked_in = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for (count, entry) in fs::read_dir(looked_in).map_err(unreadable)?.enumerate() {
        if count >= MAX_ENTRIES {
            return Err(format!("the folder has more than {MAX_ENTRIES} entries"));
        }
        let file_name = entry.map_err(unreadable)?.file_name();
        let Some(file_name) = file_name.to_str() else { continue };
        if (file_name.starts_with('.') && !name.starts_with('.')) || !fits(name, file_name) {
            continue;
        }
        let path = folder.join(file_name);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Does `name` fit a pattern in which `*` stands for any characters?
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(at) = left.find(part) else { return false };
        left = left.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::scratch::Folder;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name, fit) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a.yml", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("*", "x", true),
            ("a*a", "a", false),
            ("a.yaml", "a.yaml", true),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_read_up_to_their_limit() {
        let folder = Folder::new("limits");
        let full = usize::try_from(MAX_BYTES).unwrap();
        let path = folder.write("full", &"a".repeat(full));
        assert_eq!(read(&path).unwrap().len(), full);
        let path = folder.write("over", &"a".repeat(full + 1));
        assert!(read(&path).unwrap_err().contains("larger than"));
        fs::write(&path, [b'a', 0xff]).unwrap();
        assert!(read(&path).unwrap_err().contains("byte 1"));
        assert!(read(folder.path()).unwrap_err().contains("not a file"));
        assert!(read(&folder.path().join("none")).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn patterns_find_files_beside_the_file_that_names_them() {
        let folder = Folder::new("patterns");
        let main = folder.write("main.yaml", "");
        for name in ["rules/b.yaml", "rules/a.yaml", "rules/.hidden.yaml", "rules/c.txt", "rules/d.yaml/x"] {
            folder.write(name, "");
        }
        let found = matching(&main, "rules/*.yaml").unwrap();
        assert_eq!(found, [folder.path().join("rules/a.yaml"), folder.path().join("rules/b.yaml")]);
        assert_eq!(matching(&main, "none.yaml").unwrap(), [folder.path().join("none.yaml")]);
        assert!(matching(&main, "r*/a.yaml").unwrap_err().contains("last part"));
        assert!(matching(&main, "none/*.yaml").unwrap_err().contains("cannot be read"));
    }
}
