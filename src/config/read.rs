//! Decides whether a tree has the form that is asked of it.
//!
//! Must never stop at the first fault: each is written into the ledger with its place, and reading goes on.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::field::{FIELD, FLAG_OR_TEXTS, Field, ONE_OR_MANY, TEXT_OR_MAP, WORD_OR_STRUCT};
use super::ledger::{Ledger, Said};
use super::place::{PlaceId, span_of};
use super::similar;
use super::tree::{Entry, Kind, Node};
use crate::problem::Step;
use crate::reason::quoted;

/// Reads `node` as `T`. A node of another kind altogether is a problem and gives `Field::Bad`.
pub(super) fn read<'t, T: Deserialize<'t>>(node: &'t Node, at: PlaceId, ledger: &'t Ledger) -> Field<T> {
    match Field::deserialize(Reader { node, at, ledger }) {
        Ok(field) => field,
        Err(Fault(said)) => {
            ledger.problem(at, said);
            Field::Bad
        }
    }
}

/// Why one value is not what it should be.
#[derive(Debug)]
pub(super) struct Fault(pub(super) Said);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(Said::new(message.to_string()))
    }
}

/// Our own deserializer: one node, and where what is wrong with it is written down.
#[derive(Clone, Copy)]
struct Reader<'t> {
    node: &'t Node,
    at: PlaceId,
    ledger: &'t Ledger,
}

impl<'t> Reader<'t> {
    fn wanted<T>(self, wanted: &str) -> Result<T, Fault> {
        let (found, hint) = match &self.node.kind {
            Kind::Null => ("nothing".to_owned(), Some("give it a value, or leave the key out")),
            Kind::Bool(value) => {
                (format!("`{value}`"), (wanted == "text").then_some("put it in quotes if it is meant as text"))
            }
            Kind::Number(value) => {
                (format!("the number {value}"), (wanted == "text").then_some("put it in quotes if it is meant as text"))
            }
            Kind::Text(_) => {
                let hint = match wanted {
                    "`true` or `false`" => Some("only `true` and `false` are booleans, without quotes"),
                    "a list" => Some("put it in brackets: a list of one"),
                    _ => None,
                };
                ("text".to_owned(), hint)
            }
            Kind::List(_) => ("a list".to_owned(), None),
            Kind::Map(_) => ("a map".to_owned(), None),
        };
        Err(Fault(Said::new(format!("{wanted} is needed here, not {found}")).maybe_hint(hint)))
    }

    /// The entries of a map, without repeated and merge keys, which are problems.
    fn entries(self, entries: &'t [Entry]) -> Vec<&'t Entry> {
        let mut kept: Vec<&Entry> = Vec::with_capacity(entries.len());
        let mut seen = std::collections::HashMap::new();
        for entry in entries {
            let at = || self.ledger.below(self.at, Step::Key(entry.key.clone()), entry.key_span.clone());
            if entry.key == "<<" {
                self.ledger
                    .problem(at(), Said::new("merge keys are not taken").hint("write the keys out at each place"));
            } else if let Some(line) = seen.insert(entry.key.as_str(), entry.key_span.line) {
                let said = Said::new(format!("the key {} is given twice", quoted(&entry.key)));
                self.ledger.problem(at(), said.hint(format!("it is on line {line} already")));
            } else {
                kept.push(entry);
            }
        }
        kept
    }

    /// The entries whose keys are among `known`; each other one is a problem.
    fn known_entries(self, entries: &'t [Entry], known: &'static [&'static str]) -> Vec<&'t Entry> {
        let mut kept = self.entries(entries);
        kept.retain(|entry| {
            let is_known = known.contains(&entry.key.as_str());
            if !is_known {
                let at = self.ledger.below(self.at, Step::Key(entry.key.clone()), entry.key_span.clone());
                let hint = match similar::nearest(&entry.key, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                self.ledger.problem(at, Said::new(format!("unknown key {}", quoted(&entry.key))).hint(hint));
            }
            is_known
        });
        kept
    }

    fn items(self, items: &'t [Node]) -> Items<'t> {
        Items { reader: self, items: items.iter().enumerate() }
    }
}

impl<'t> Deserializer<'t> for Reader<'t> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Number(number) => number.deserialize_any(visitor).map_err(Fault::custom),
            Kind::Text(text) => visitor.visit_borrowed_str(text),
            Kind::List(items) => visitor.visit_seq(self.items(items)),
            Kind::Map(entries) => {
                visitor.visit_map(Entries { reader: self, entries: self.entries(entries).into_iter(), next: None })
            }
        }
    }

    fn deserialize_bool<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Bool(value) => visitor.visit_bool(*value),
            _ => self.wanted("`true` or `false`"),
        }
    }

    fn deserialize_string<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Text(text) => visitor.visit_borrowed_str(text),
            _ => self.wanted("text"),
        }
    }

    fn deserialize_seq<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::List(items) => visitor.visit_seq(self.items(items)),
            _ => self.wanted("a list"),
        }
    }

    fn deserialize_map<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Map(entries) => {
                visitor.visit_map(Entries { reader: self, entries: self.entries(entries).into_iter(), next: None })
            }
            _ => self.wanted("a map"),
        }
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Map(entries) => {
                let known = self.known_entries(entries, fields);
                visitor.visit_map(Entries { reader: self, entries: known.into_iter(), next: None })
            }
            _ => self.wanted(&format!("a map with {}", listed(fields))),
        }
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Kind::Text(text) = &self.node.kind else { return self.wanted(&listed(variants)) };
        if variants.contains(&text.as_str()) {
            return visitor.visit_enum(StrDeserializer::<Fault>::new(text));
        }
        let said = Said::new(format!("{} is not one of {}", quoted(text), listed(variants)));
        let meant = similar::nearest(text, variants.iter().copied());
        Err(Fault(said.maybe_hint(meant.map(|meant| format!("did you mean `{meant}`?")))))
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match (name, &self.node.kind) {
            (FIELD, _) => visitor.visit_seq(Placed { reader: self, told: false }),
            (ONE_OR_MANY, Kind::List(items)) => visitor.visit_seq(self.items(items)),
            (ONE_OR_MANY, _) => visitor.visit_seq(Alone { reader: Some(self) }),
            (FLAG_OR_TEXTS, Kind::Bool(value)) => visitor.visit_bool(*value),
            (TEXT_OR_MAP | WORD_OR_STRUCT, Kind::Text(text)) => visitor.visit_borrowed_str(text),
            (TEXT_OR_MAP, Kind::Map(_)) => self.deserialize_map(visitor),
            (TEXT_OR_MAP, _) => self.wanted("text or a map"),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    forward_to_deserialize_any! {
        <W: Visitor<'t>>
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf option unit unit_struct
        tuple tuple_struct identifier ignored_any
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// What a [`Field`] is told: its place, then its value, or nothing where the value is bad.
struct Placed<'t> {
    reader: Reader<'t>,
    told: bool,
}

impl<'t> SeqAccess<'t> for Placed<'t> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        if !std::mem::replace(&mut self.told, true) {
            return seed.deserialize((self.reader.at.0 as u64).into_deserializer()).map(Some);
        }
        match seed.deserialize(self.reader) {
            Ok(value) => Ok(Some(value)),
            Err(Fault(said)) => {
                self.reader.ledger.problem(self.reader.at, said);
                Ok(None)
            }
        }
    }
}

/// One value where a list may stand.
struct Alone<'t> {
    reader: Option<Reader<'t>>,
}

impl<'t> SeqAccess<'t> for Alone<'t> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.reader.take().map(|reader| seed.deserialize(reader)).transpose()
    }
}

struct Items<'t> {
    reader: Reader<'t>,
    items: std::iter::Enumerate<std::slice::Iter<'t, Node>>,
}

impl<'t> SeqAccess<'t> for Items<'t> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let at = self.reader.ledger.below(self.reader.at, Step::Index(index), node.span.clone());
        seed.deserialize(Reader { node, at, ..self.reader }).map(Some)
    }
}

struct Entries<'t> {
    reader: Reader<'t>,
    entries: std::vec::IntoIter<&'t Entry>,
    next: Option<&'t Entry>,
}

impl<'t> MapAccess<'t> for Entries<'t> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.next = self.entries.next();
        self.next.map(|entry| seed.deserialize(StrDeserializer::new(&entry.key))).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some(entry) = self.next.take() else { return Err(Fault::custom("a value was asked for before its key")) };
        let at = self.reader.ledger.below(self.reader.at, Step::Key(entry.key.clone()), span_of(entry));
        seed.deserialize(Reader { node: &entry.value, at, ..self.reader })
    }
}
