//! The shape of the source, as a test: who may import whom, which crate is named where, how long a file may be.
//!
//! Reads `src/` as text. Code under `#[cfg(test)]`, comments and strings do not count.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lowest first. A module may import those of its own layer and of layers before it.
const LAYERS: &[&[&str]] = &[
    &["clock", "entropy", "secret", "reason", "problem", "lifecycle", "telemetry"],
    &["identity", "store"],
    &["credential"],
    &["jose"],
    &["trust"],
    &["verify"],
    &["policy"],
    &["issue"],
    &["exchange"],
    &["wire"],
    &["config"],
    &["world"],
    &["app"],
    &["cli"],
    &["main"],
];

/// What may be named only by some modules, so that it can be replaced, and so that its traps are known to few.
const NAMED_ONLY_BY: &[(&str, &[&str])] = &[
    ("jsonwebtoken", &["jose"]),
    ("aws_lc_rs::signature", &["jose", "world"]),
    ("spiffe", &["trust"]),
    ("reqwest", &["trust", "cli"]),
    ("axum", &["wire", "world"]),
    // `cli` for `token --watch`, which is a client of our own service.
    ("tonic", &["wire", "world", "telemetry", "cli"]),
    ("hyper", &["wire", "world"]),
    // `cli` for the socket under that client.
    ("hyper_util", &["wire", "world", "cli"]),
    ("serde_saphyr", &["config"]),
    ("schemars", &["config"]),
    ("prometheus_client", &["telemetry"]),
    ("rcgen", &["world"]),
    ("clap", &["cli"]),
    ("anyhow", &["app", "cli", "main"]),
];

/// Names that say nothing about what is inside.
const SAY_NOTHING: &[&str] = &["util", "utils", "common", "helpers", "helper", "manager", "misc"];

/// How an item is marked that exists in tests only.
const FOR_TESTS: [&str; 2] = ["#[cfg(test)]", "#[cfg(all(test, "];

const LONGEST_FILE: usize = 400;

#[test]
fn imports_point_downwards() {
    let mut wrong = Vec::new();
    for file in product() {
        for import in file.imports() {
            match (layer(file.top()), layer(&import.module)) {
                (Some(own), Some(other)) if other > own => {
                    wrong.push(format!("{}:{} imports {}", file.name, import.line, import.module));
                }
                (None, _) => wrong.push(format!("{}: module {} has no layer", file.name, file.top())),
                _ => {}
            }
        }
    }
    assert_none("imports that point upwards", wrong);
}

#[test]
fn modules_of_one_layer_do_not_depend_on_each_other_in_a_circle() {
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in product() {
        for import in file.imports().into_iter().filter(|import| import.module != file.top()) {
            needs.entry(file.top().to_owned()).or_default().insert(import.module);
        }
    }
    // Take away what needs nothing that is left; what cannot be taken away is a circle.
    while let Some(free) = needs.iter().find(|(_, others)| others.iter().all(|other| !needs.contains_key(other))) {
        let free = free.0.clone();
        needs.remove(&free);
    }
    assert_none("circles", needs.into_iter().map(|(module, others)| format!("{module} needs {others:?}")).collect());
}

#[test]
fn crates_are_named_only_where_they_belong() {
    let mut wrong = Vec::new();
    for file in product() {
        for (name, modules) in NAMED_ONLY_BY {
            if !modules.contains(&file.top()) {
                wrong.extend(file.names(name).map(|line| format!("{}:{line} names {name}", file.name)));
            }
        }
    }
    assert_none("crates out of their place", wrong);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for file in sources() {
        let lines = file.text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{} has {lines} lines, over {LONGEST_FILE}", file.name));
        }
        if !file.text.starts_with("//! ") {
            wrong.push(format!("{} does not begin with what it is (//!)", file.name));
        }
        if let Some(name) = file.module.iter().find(|name| SAY_NOTHING.contains(&name.as_str())) {
            wrong.push(format!("{}: {name} says nothing about what is inside", file.name));
        }
    }
    assert_none("files", wrong);
}

#[test]
fn the_reader_of_this_test_finds_what_it_looks_for() {
    let text = r##"//! Sample.
use crate::{clock, trust::{Trust, Source}, wire as w};
/// See [`crate::cli`].
fn one() { let _ = "crate::app"; super::super::config::load(); r#"crate::main"#; 'a'; '"'; x::spiffe::y(); }
fn two<'a>(b: &'a str) { spiffe::z(b); }
#[cfg(test)]
mod tests { use crate::cli::run; fn three() { { reqwest::get(); } } }
pub(crate) mod four { use crate::exchange; }
"##;
    let file = File::new("src/trust/sample.rs".to_owned(), text.to_owned());
    let modules: Vec<_> = file.imports().into_iter().map(|import| (import.line, import.module)).collect();
    let expected = [(2, "clock"), (2, "trust"), (2, "wire"), (4, "config"), (8, "exchange")];
    assert_eq!(modules, expected.map(|(line, module)| (line, module.to_owned())));
    assert_eq!(file.names("spiffe").collect::<Vec<_>>(), [5]);
    assert_eq!(file.names("reqwest").count(), 0);
}

fn assert_none(what: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

struct Import {
    line: usize,
    module: String,
}

struct File {
    name: String,
    /// The path of the module, without `crate`.
    module: Vec<String>,
    text: String,
    /// `text` with everything that does not count blanked; lines stay where they are.
    code: String,
}

impl File {
    fn new(name: String, text: String) -> Self {
        let path = name.trim_start_matches("src/").trim_end_matches(".rs");
        let module = path.split('/').filter(|part| *part != "mod").map(str::to_owned).collect();
        let code = without_tests(&without_comments_and_strings(&text));
        Self { name, module, text, code }
    }

    /// The module below the crate; `main` for the binary.
    fn top(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// Every module of this crate that the code names, by `crate::` or by enough `super::`.
    fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            // `pub(in crate::…)` gives no access, and a longer word is another word.
            if !inside_word(&self.code, at) && !self.code[..at].ends_with("pub(in ") {
                self.add(&mut imports, at, at + "crate::".len());
            }
        }
        for (at, _) in self.code.match_indices("super::") {
            if inside_word(&self.code, at) || self.code[..at].ends_with("super::") {
                continue;
            }
            let supers = self.code[at..].split("::").take_while(|part| *part == "super").count();
            if supers == self.module.len() {
                self.add(&mut imports, at, at + supers * "super::".len());
            }
        }
        imports.sort_by_key(|import| import.line);
        imports
    }

    fn add(&self, imports: &mut Vec<Import>, at: usize, from: usize) {
        let line = self.line(at);
        let heads = heads(&self.code[from..]);
        imports.extend(heads.into_iter().filter(|head| layer(head).is_some()).map(|module| Import { line, module }));
    }

    /// The lines on which a path of another crate is named.
    fn names<'a>(&'a self, path: &'a str) -> impl Iterator<Item = usize> + 'a {
        let starts = self.code.match_indices(path).map(|(at, _)| at);
        starts
            .filter(move |at| {
                let after = &self.code[at + path.len()..];
                let before = self.code[..*at].trim_end();
                let begins = !inside_word(&self.code, *at) && !before.ends_with("::") && !before.ends_with('.');
                begins && (after.starts_with("::") || (before.ends_with("use") && after.starts_with([';', ' '])))
            })
            .map(|at| self.line(at))
    }

    fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

/// The first names of a path or of each path in a group: `{a, b::{c, d}, e}` has `a`, `b`, `e`.
fn heads(path: &str) -> Vec<String> {
    let Some(group) = path.trim_start().strip_prefix('{') else {
        return vec![word(path)];
    };
    let (mut heads, mut depth, mut fresh) = (vec![word(group)], 0_usize, false);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            _ if fresh && is_word(letter) => {
                heads.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|letter| is_word(*letter)).collect()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn inside_word(text: &str, at: usize) -> bool {
    text[..at].chars().next_back().is_some_and(is_word)
}

/// Blanks comments, strings and characters.
fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let word_before = code.chars().next_back().is_some_and(is_word);
        let length = match letter {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if !word_before && is_raw_string(rest) => {
                let fence = rest[1..].find('"').map_or(0, |at| at);
                let close = format!("\"{}", "#".repeat(fence));
                rest[fence + 2..].find(&close).map_or(rest.len(), |end| fence + 2 + end + close.len())
            }
            '"' => quoted(rest, '"').unwrap_or(rest.len()),
            // A lifetime has no closing quote after one character.
            '\'' => character(rest).unwrap_or(0),
            _ => 0,
        };
        if length == 0 {
            code.push(letter);
            rest = &rest[letter.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

fn is_raw_string(rest: &str) -> bool {
    rest[1..].trim_start_matches('#').starts_with('"')
}

/// The length of a quoted text, quotes included.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return Some(at + letter.len_utf8()),
            _ => {}
        }
    }
    None
}

fn character(rest: &str) -> Option<usize> {
    let mut letters = rest.chars().skip(1);
    let (first, second) = (letters.next()?, letters.next()?);
    if first == '\\' || second == '\'' { quoted(rest, '\'') } else { None }
}

/// Blanks each item under `#[cfg(test)]`: to its semicolon, or to the end of its braces.
fn without_tests(code: &str) -> String {
    let mut left = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = FOR_TESTS.iter().filter_map(|mark| rest.find(mark)).min() {
        left.push_str(&rest[..at]);
        let end = at + item(&rest[at..]);
        left.extend(rest[at..end].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
        rest = &rest[end..];
    }
    left + rest
}

fn item(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Every file of `src/`.
fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    walk(&root.join("src"), &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| File::new(name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// The files that are not for tests alone.
fn product() -> Vec<File> {
    let files = sources();
    let for_tests: BTreeSet<Vec<String>> = files.iter().flat_map(modules_for_tests).collect();
    let is_test = |file: &File| (1..=file.module.len()).any(|to| for_tests.contains(&file.module[..to]));
    files.into_iter().filter(|file| file.name != "src/lib.rs" && !is_test(file)).collect()
}

/// `#[cfg(test)] mod name;` in a file: the module is in a file of its own.
fn modules_for_tests(file: &File) -> Vec<Vec<String>> {
    let declared = FOR_TESTS.iter().flat_map(|mark| file.text.split(mark).skip(1));
    // What is left of the mark itself is on its line.
    let items = declared.filter_map(|after| Some(after.split_once('\n')?.1));
    let names = items.filter_map(|item| item.trim_start().strip_prefix("mod ")?.split_once(';'));
    let plain = names.filter(|(name, _)| name.chars().all(is_word));
    plain.map(|(name, _)| [file.module.as_slice(), &[name.to_owned()]].concat()).collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            paths.push(path);
        }
    }
}
