//! Every requirement is named by a test, or stands in `tests/later.md` with the reason why not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_requirement_is_named_by_a_test_or_put_off_with_a_reason() {
    let required = std::fs::read_to_string(root().join("tests/requirements.txt")).unwrap();
    let required: BTreeSet<&str> =
        required.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let later = later();
    let sources = test_sources();
    let mut wrong = Vec::new();
    for id in &required {
        let named = sources.iter().any(|source| names(source, id));
        match (named, later.contains_key(*id)) {
            (false, false) => wrong.push(format!("{id}: named by no test, and not in later.md")),
            (true, true) => wrong.push(format!("{id}: named by a test, and in later.md too")),
            _ => {}
        }
    }
    for (id, reason) in &later {
        if !required.contains(id.as_str()) {
            wrong.push(format!("{id}: in later.md, and not in requirements.txt"));
        }
        if reason.split_whitespace().count() < 3 {
            wrong.push(format!("{id}: in later.md without a reason"));
        }
    }
    assert!(wrong.is_empty(), "{} ids:\n{}", wrong.len(), wrong.join("\n"));
}

/// The rows `| ID | reason |` of `later.md`.
fn later() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join("tests/later.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, reason] = cells.as_slice() else { panic!("later.md: {line}") };
        if *id != "ID" && !id.starts_with('-') {
            assert!(rows.insert((*id).to_owned(), (*reason).to_owned()).is_none(), "{id} stands twice in later.md");
        }
    }
    rows
}

/// The text of all tests, without comments: files below `tests`, and of `src` what follows `#[cfg(test)]`.
fn test_sources() -> Vec<String> {
    let mut files = Vec::new();
    rust_files(&root().join("tests"), &mut files);
    rust_files(&root().join("src"), &mut files);
    let mut sources = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let is_test_file = path.starts_with(root().join("tests"))
            || path.file_name().is_some_and(|name| name == "tests.rs")
            || path.parent().is_some_and(|folder| folder.ends_with("tests"));
        let tests = if is_test_file { Some(text.as_str()) } else { text.find("#[cfg(test)]").map(|at| &text[at..]) };
        let code = tests.unwrap_or_default().lines().filter(|line| !line.trim_start().starts_with("//"));
        sources.push(code.collect::<Vec<_>>().join("\n"));
    }
    sources
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Whether the text has the id as it is, or as part of the name of a function.
fn names(source: &str, id: &str) -> bool {
    let snake = id.to_lowercase().replace('-', "_");
    stands_alone(source, id, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '/'))
        || source
            .lines()
            .filter(|line| line.contains("fn "))
            .any(|line| stands_alone(line, &snake, |c| c.is_ascii_alphanumeric()))
}

/// Whether `word` stands in `text` with nothing on either side that would make it another word.
fn stands_alone(text: &str, word: &str, joins: impl Fn(char) -> bool) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(&joins) && !after.is_some_and(&joins)
    })
}

#[test]
fn an_id_is_not_found_inside_another() {
    let id = |prefix: &str| format!("{prefix}-0{}", 6);
    assert!(names(&format!("row(\"{} x\"", id("CA")), &id("CA")));
    assert!(names("fn a_ca_06_b() {", &id("CA")));
    assert!(!names(&format!("\"S{}\"", id("CA")), &id("CA")));
    assert!(!names(&format!("\"{}1\"", id("CA")), &id("CA")));
    assert!(!names("fn sca_06() {", &id("CA")));
    assert!(!names(&format!("\"{}/bearer-grant\"", id("XC")), &format!("{}/bearer", id("XC"))));
}
