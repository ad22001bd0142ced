//! Decides how a place in the configuration is written: `rules[2].from.namespace`.
//!
//! Must never lose the file that a value came from.

use super::tree::{Entry, Kind, Node, Span};
use crate::problem::Step;

/// The number of a [`Place`] in the ledger that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlaceId(pub(super) usize);

/// Where a value stands: its file, the way to it from the top, and its span.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) path: Vec<Step>,
    pub(super) span: Span,
}

impl Place {
    /// The whole of one file.
    pub(super) const fn file(file: usize) -> Self {
        Self { file, path: Vec::new(), span: Span::start() }
    }

    /// The place of a value one step below this one.
    pub(super) fn below(&self, step: Step, span: Span) -> Self {
        let mut path = self.path.clone();
        path.push(step);
        Self { file: self.file, path, span }
    }
}

/// The way as it is written; empty for the whole file.
pub(super) fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                let plain = !key.is_empty()
                    && key.len() <= 64
                    && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
                match plain {
                    true => text.push_str(key),
                    false => {
                        text.extend(std::iter::once('"').chain(key.escape_debug().take(64)).chain(std::iter::once('"')))
                    }
                }
            }
        }
    }
    text
}

/// What to underline for a value under `entry`: the value itself, or its key where the value spreads over lines.
pub(super) fn span_of(entry: &Entry) -> Span {
    match &entry.value.kind {
        Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => entry.value.span.clone(),
        Kind::Null | Kind::List(_) | Kind::Map(_) => entry.key_span.clone(),
    }
}

/// The span at the end of `path`, or of the nearest step above it that exists.
pub(super) fn nearest(root: &Node, path: &[Step]) -> Span {
    let mut span = root.span.clone();
    let mut node = root;
    for step in path {
        match (step, &node.kind) {
            (Step::Key(key), Kind::Map(entries)) => {
                let Some(entry) = entries.iter().find(|entry| entry.key == *key) else { return span };
                span = span_of(entry);
                node = &entry.value;
            }
            (Step::Index(index), Kind::List(items)) => {
                let Some(item) = items.get(*index) else { return span };
                span = item.span.clone();
                node = item;
            }
            // One value where a list may stand is its own first element.
            (Step::Index(0), _) => {}
            _ => return span,
        }
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree::parse;

    fn key(text: &str) -> Step {
        Step::Key(text.to_owned())
    }

    #[test]
    fn paths_are_written_as_people_write_them() {
        let path = [key("rules"), Step::Index(2), key("from"), key("name space")];
        assert_eq!(written(&path), "rules[2].from.\"name space\"");
        assert_eq!(written(&[]), "");
    }

    #[test]
    fn the_nearest_existing_ancestor_is_found() {
        let tree = parse("rules:\n  - name: a\n    from: { path: /x }\n").unwrap();
        let at = |path: &[Step]| {
            let span = nearest(&tree, path);
            (span.line, span.column)
        };
        assert_eq!(at(&[key("rules"), Step::Index(0), key("from"), key("path")]), (3, 19));
        assert_eq!(at(&[key("rules"), Step::Index(0), key("from"), key("path"), Step::Index(0)]), (3, 19));
        assert_eq!(at(&[key("rules"), Step::Index(0), key("from"), key("source")]), (3, 5));
        assert_eq!(at(&[key("rules"), Step::Index(0), key("to"), key("scopes")]), (2, 5));
        assert_eq!(at(&[key("rules"), Step::Index(7)]), (1, 1));
        assert_eq!(at(&[key("resources")]), (1, 1));
    }
}
