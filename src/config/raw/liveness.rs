//! Decides how it is written whether a cluster is asked if a workload still lives.
//!
//! Must never take a word that is not `none` for no check.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use super::{Field, Text};
use crate::config::field::WORD_OR_STRUCT;

/// `kubernetes.liveness`.
#[derive(Debug)]
pub(in crate::config) enum Liveness {
    /// A word: `none`, or one that is refused.
    Word(String),
    /// A way to ask.
    Asked(Asked),
}

/// The ways to ask.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Asked {
    /// By TokenReview, and of the pod and the account themselves once the token is ours.
    pub(in crate::config) token_review: Field<TokenReview>,
}

/// `kubernetes.liveness.token_review`; without `url` it is asked where `keys: { api_server }` says.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TokenReview {
    /// The address of the API server.
    pub(in crate::config) url: Text,
    /// A file with its certificate authority.
    pub(in crate::config) ca: Text,
    /// A file with the bearer token to ask with, read at each use.
    pub(in crate::config) token: Text,
}

impl<'de> Deserialize<'de> for Liveness {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(WORD_OR_STRUCT, LivenessVisitor)
    }
}

struct LivenessVisitor;

impl<'de> Visitor<'de> for LivenessVisitor {
    type Value = Liveness;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`none`, or a map with `token_review`")
    }

    fn visit_str<E>(self, text: &str) -> Result<Liveness, E> {
        Ok(Liveness::Word(text.to_owned()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, map: D) -> Result<Liveness, D::Error> {
        Asked::deserialize(map).map(Liveness::Asked)
    }
}

impl JsonSchema for Liveness {
    fn schema_name() -> Cow<'static, str> {
        "Liveness".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whether the cluster is asked if a workload still lives.",
            "anyOf": [{ "const": "none" }, generator.subschema_for::<Asked>()],
        })
    }
}
