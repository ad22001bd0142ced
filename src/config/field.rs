//! Decides what is known of one key: it is not there, it is bad and reported, or it has a value and a place.
//!
//! Must never let a bad value look like an absent one: a default would then stand in for it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::ledger::{Ledger, Said};
use super::place::PlaceId;

/// The name by which the reader knows a [`Field`].
pub(super) const FIELD: &str = "countersign config field";
/// The name by which the reader knows a [`OneOrMany`].
pub(super) const ONE_OR_MANY: &str = "countersign config one or many";

/// The name by which the reader knows a value that is a boolean, a text or a list of texts.
pub(super) const FLAG_OR_TEXTS: &str = "countersign config flag or texts";
/// The name by which the reader knows a value that is a text or a map.
pub(super) const TEXT_OR_MAP: &str = "countersign config text or map";
/// The name by which the reader knows a value that is a word, or else a map with known keys.
pub(super) const WORD_OR_STRUCT: &str = "countersign config word or struct";

/// One value of the configuration.
#[derive(Debug, Default)]
pub(super) enum Field<T> {
    /// The key is not written.
    #[default]
    Absent,
    /// The key is written and its value is of no use; the ledger says why.
    Bad,
    /// The key has a value of the right form.
    Given {
        /// The value.
        value: T,
        /// Where it stands.
        at: PlaceId,
    },
}

impl<T> Field<T> {
    /// The value and its place, where there is one.
    pub(super) const fn given(&self) -> Option<(&T, PlaceId)> {
        match self {
            Self::Given { value, at } => Some((value, *at)),
            Self::Absent | Self::Bad => None,
        }
    }

    /// What becomes of the value; a refusal is a problem at its place.
    pub(super) fn try_map<'f, U>(&'f self, ledger: &Ledger, make: impl FnOnce(&'f T) -> Result<U, Said>) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Bad => Field::Bad,
            Self::Given { value, at } => match make(value) {
                Ok(value) => Field::Given { value, at: *at },
                Err(said) => {
                    ledger.problem(*at, said);
                    Field::Bad
                }
            },
        }
    }

    /// What becomes of the value where making it may write several problems of its own; nothing made is bad.
    pub(super) fn and_then<'f, U>(&'f self, make: impl FnOnce(&'f T, PlaceId) -> Option<U>) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Bad => Field::Bad,
            Self::Given { value, at } => make(value, *at).map_or(Field::Bad, |value| Field::Given { value, at: *at }),
        }
    }

    /// The value, or `default` for a key that is not written; nothing for a bad value.
    pub(super) fn or(self, default: T) -> Option<T> {
        match self {
            Self::Absent => Some(default),
            Self::Bad => None,
            Self::Given { value, .. } => Some(value),
        }
    }

    /// The value of a key that must be there: without it `parent` has a problem.
    pub(super) fn needed(self, ledger: &Ledger, parent: PlaceId, key: &str) -> Option<T> {
        match self {
            Self::Absent => {
                ledger.problem(parent, Said::new(format!("`{key}` is missing")));
                None
            }
            Self::Bad => None,
            Self::Given { value, .. } => Some(value),
        }
    }

    /// `Some(None)` for a key that is not written; nothing for a bad value.
    pub(super) fn optional(self) -> Option<Option<T>> {
        match self {
            Self::Absent => Some(None),
            Self::Bad => None,
            Self::Given { value, .. } => Some(Some(value)),
        }
    }

    /// Is the key written, with a good value or a bad one?
    pub(super) const fn is_written(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

impl<T> Field<Vec<Field<T>>> {
    /// The list made of each value, with the places; bad as soon as one element is.
    pub(super) fn try_each<U>(
        &self,
        ledger: &Ledger,
        make: impl Fn(&T) -> Result<U, Said>,
    ) -> Field<Vec<(U, PlaceId)>> {
        match self {
            Self::Absent => Field::Absent,
            Self::Bad => Field::Bad,
            Self::Given { value, at } => {
                each(value, ledger, make).map_or(Field::Bad, |value| Field::Given { value, at: *at })
            }
        }
    }
}

/// What becomes of each element; nothing as soon as one is bad.
pub(super) fn each<T, U>(
    items: &[Field<T>],
    ledger: &Ledger,
    make: impl Fn(&T) -> Result<U, Said>,
) -> Option<Vec<(U, PlaceId)>> {
    let made: Vec<Option<(U, PlaceId)>> = items
        .iter()
        .map(|item| match item.try_map(ledger, &make) {
            Field::Given { value, at } => Some((value, at)),
            Field::Absent | Field::Bad => None,
        })
        .collect();
    made.into_iter().collect()
}

/// The values alone.
pub(super) fn values<T>(placed: Vec<(T, PlaceId)>) -> Vec<T> {
    placed.into_iter().map(|(value, _)| value).collect()
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Told<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Told<T> {
            type Value = Field<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a place and a value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut told: A) -> Result<Field<T>, A::Error> {
                let at = told.next_element::<u64>()?.and_then(|at| usize::try_from(at).ok());
                let at = PlaceId(at.ok_or_else(|| A::Error::custom("a field without a place"))?);
                Ok(told.next_element()?.map_or(Field::Bad, |value| Field::Given { value, at }))
            }
        }

        deserializer.deserialize_newtype_struct(FIELD, Told(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A list, or one value that stands for a list of one.
#[derive(Debug)]
pub(super) struct OneOrMany<T>(pub(super) Vec<Field<T>>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Listed<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Listed<T> {
            type Value = Vec<Field<T>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(list)
            }
        }

        deserializer.deserialize_newtype_struct(ONE_OR_MANY, Listed(PhantomData)).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        schemars::json_schema!({ "anyOf": [one.clone(), { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// A map whose keys are the operator's words, in the order of the file.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) Vec<(String, Field<T>)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor(PhantomData))
    }
}

/// Reads a [`Named`] out of a map.
pub(super) struct NamedVisitor<T>(pub(super) PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for NamedVisitor<T> {
    type Value = Named<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Named<T>, A::Error> {
        let mut named = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            named.push(entry);
        }
        Ok(Named(named))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": "object", "additionalProperties": value })
    }
}
