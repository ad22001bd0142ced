//! Decides what a YAML text says: a tree of nodes, each with its place.
//!
//! Must never follow an anchor, an alias or a merge key, and never guess a type that YAML 1.2 does not give.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    Error, Location, MessageFormatter as _, Spanned, options::DuplicateKeyPolicy, options::MergeKeyPolicy,
};

/// Levels of lists and maps. The deepest form that a configuration has is below ten.
const MAX_DEPTH: usize = 32;
/// Nodes of one file: some thousands of rules.
const MAX_NODES: usize = 50_000;

/// Where a node or key stands in its file. Line and column count from 1, in characters; the range is in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) bytes: Range<usize>,
}

impl Span {
    /// The first character of a file: the place of what stands nowhere.
    pub(super) const fn start() -> Self {
        Self { line: 1, column: 1, bytes: 0..0 }
    }

    fn of(location: &Location) -> Self {
        let span = location.span();
        let from = to_usize(span.byte_offset());
        Self {
            line: location.line().max(1),
            column: location.column().max(1),
            bytes: from..from.saturating_add(to_usize(span.byte_len())),
        }
    }
}

fn to_usize(bytes: Option<u64>) -> usize {
    bytes.and_then(|value| usize::try_from(value).ok()).unwrap_or(0)
}

/// One node of the tree.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map and its value. Repeated keys are kept: the reader reports each with its place.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

/// A text that is no tree: where, why, and what helps.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
}

/// Reads one file's text.
pub(super) fn parse(text: &str) -> Result<Node, Unreadable> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_anchors: 0,
            max_aliases: 0,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 0 },
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        // Both are the reader's to refuse, so that every one of them is reported.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        with_snippet: false,
    };
    if text.trim().is_empty() {
        return Err(Unreadable { span: Span::start(), message: "the file is empty".to_owned(), hint: None });
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error| unreadable(&error))
}

fn unreadable(error: &Error) -> Unreadable {
    use serde_saphyr::budget::BudgetBreach;
    let span = error.location().map_or_else(Span::start, |location| Span::of(&location));
    let refused = |message: String, hint| Unreadable { span: span.clone(), message, hint };
    match error.without_snippet() {
        Error::Budget { breach: BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. }, .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::UnknownAnchor { .. } => {
            refused("anchors and aliases are not taken".to_owned(), Some("write the value out at each place"))
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => refused(too_deep(), None),
        Error::Budget { breach: BudgetBreach::Nodes { .. }, .. } => {
            refused(format!("the file has more than {MAX_NODES} values"), Some("divide it and use `include`"))
        }
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } | Error::MultipleDocuments { .. } => refused(
            "a second YAML document begins here".to_owned(),
            Some("one file is one document: use `include` for further files"),
        ),
        other => {
            let text = serde_saphyr::UserMessageFormatter.format_message(other);
            // The parser's own limit on `[[[[` has no error of its own.
            if text.contains("recursion limit exceeded") {
                return refused(too_deep(), None);
            }
            refused(format!("this cannot be read as YAML: {}", text.lines().next().unwrap_or_default()), None)
        }
    }
}

fn too_deep() -> String {
    format!("lists and maps are nested deeper than {MAX_DEPTH} levels")
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self { span: Span::of(&spanned.referenced), kind: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Kind, E> {
        serde_json::Number::from_f64(value).map(Kind::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let value = entries.next_value()?;
            map.push(Entry { key: key.value, key_span: Span::of(&key.referenced), value });
        }
        Ok(Kind::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, u64, u64) {
        let fault = parse(text).unwrap_err();
        (fault.message, fault.span.line, fault.span.column)
    }

    #[test]
    fn every_node_knows_its_place() {
        let tree = parse("# ä\nissuer: https://id.example\nlist:\n  - ü: [1, no]\n").unwrap();
        let Kind::Map(entries) = &tree.kind else { panic!("{tree:?}") };
        assert_eq!((entries[0].key_span.line, entries[0].key_span.column, entries[0].value.span.column), (2, 1, 9));
        assert_eq!(entries[0].value.span.bytes, 13..31);
        let Kind::List(items) = &entries[1].value.kind else { panic!() };
        let Kind::Map(inner) = &items[0].kind else { panic!() };
        let Kind::List(numbers) = &inner[0].value.kind else { panic!() };
        assert!(matches!(&numbers[0].kind, Kind::Number(_)));
        assert!(matches!(&numbers[1].kind, Kind::Text(text) if text == "no"));
        assert_eq!((numbers[1].span.line, numbers[1].span.column), (4, 12));
    }

    #[test]
    fn only_yaml_1_2_types_are_guessed() {
        for text in ["no", "off", "yes", "on", "007", "1_000", "'true'", "\"1\"", "30s"] {
            let tree = parse(&format!("a: {text}")).unwrap();
            let Kind::Map(entries) = &tree.kind else { panic!() };
            assert!(matches!(&entries[0].value.kind, Kind::Text(_)), "{text}: {:?}", entries[0].value);
        }
    }

    #[test]
    fn what_is_not_taken_is_refused_with_its_place() {
        for (text, message, line, column) in [
            ("a: &x 1\nb: 2", "anchors and aliases are not taken", 1, 7),
            ("a: 1\nb: *x", "anchors and aliases are not taken", 2, 4),
            ("a: 1\n---\nb: 2", "a second YAML document begins here", 2, 1),
            ("", "the file is empty", 1, 1),
            ("a: !secret x", "unsupported tag", 1, 12),
            ("a: [1, 2\nb: 3", "read as YAML", 2, 2),
        ] {
            let (found, found_line, found_column) = refused(text);
            assert!(found.contains(message), "{text}: {found}");
            assert_eq!((found_line, found_column), (line, column), "{text}: {found}");
        }
    }

    #[test]
    fn budgets_hold_one_past_the_limit() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(refused(&nested(MAX_DEPTH + 1)).0.contains("nested deeper"), "{:?}", refused(&nested(MAX_DEPTH + 1)));
        assert!(refused(&nested(5000)).0.contains("nested deeper"));
        let blocks: String = (0..5000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert!(refused(&blocks).0.contains("nested deeper"), "{:?}", refused(&blocks));
        let list = |nodes: usize| format!("[{}]", "1,".repeat(nodes - 1));
        assert!(parse(&list(MAX_NODES)).is_ok());
        assert!(refused(&list(MAX_NODES + 1)).0.contains("more than 50000 values"));
    }
}
