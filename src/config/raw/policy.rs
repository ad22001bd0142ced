//! Decides which keys resources, rules and tests have.
//!
//! Must never name a form that this release cannot serve.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{Duration, Text, Texts, required};
use crate::config::field::{Field, Named, NamedVisitor, OneOrMany};

/// What tokens are for.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| required(s, &["name", "audience", "scopes"]))]
pub(in crate::config) struct Resource {
    /// Our name for it.
    pub(in crate::config) name: Text,
    /// The `aud` of its tokens, an absolute URI.
    pub(in crate::config) audience: Text,
    /// The scopes that exist.
    pub(in crate::config) scopes: Texts,
    /// How long its tokens live at most. Default `5m`.
    pub(in crate::config) lifetime: Field<Duration>,
    /// Who answers for it: shown, never compared.
    pub(in crate::config) owner: Text,
    /// How its tokens are signed. Default `ES256`.
    pub(in crate::config) algorithm: Field<Signature>,
    /// The `typ` of its tokens. Default `at+jwt` (RFC 9068); `JWT` for verifiers that refuse it.
    pub(in crate::config) typ: Field<TokenType>,
    /// Further fixed claims for its verifiers.
    pub(in crate::config) claims: Field<Named<Value>>,
    /// `bound`: its tokens are bound to a key that the caller proves, by DPoP or by its certificate. Default: whoever holds one may use it.
    pub(in crate::config) require: Field<Require>,
    /// The workload that serves it: it may introspect its tokens, and exchange them onward.
    pub(in crate::config) served_by: Field<From>,
}

/// `algorithm` of a resource.
#[derive(Debug, Clone, Copy, serde::Deserialize, JsonSchema)]
pub(in crate::config) enum Signature {
    /// ECDSA with P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSA PKCS#1 v1.5.
    #[serde(rename = "RS256")]
    Rs256,
}

/// `typ` of a resource.
#[derive(Debug, Clone, Copy, serde::Deserialize, JsonSchema)]
pub(in crate::config) enum TokenType {
    /// RFC 9068.
    #[serde(rename = "at+jwt")]
    AtJwt,
    /// For verifiers that refuse `at+jwt`.
    #[serde(rename = "JWT")]
    Jwt,
}

/// A sentence: these identities may have a token for that resource with these scopes.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| required(s, &["name", "from", "to"]))]
pub(in crate::config) struct Rule {
    /// The sentence in words, shown in decisions.
    pub(in crate::config) name: Text,
    /// Whom it is for.
    pub(in crate::config) from: Field<From>,
    /// What they may have.
    pub(in crate::config) to: Field<To>,
    /// `observe` decides and records, and grants nothing. Default `enforce`.
    pub(in crate::config) mode: Field<Mode>,
    /// A `client_id` that callers of this rule may send; never begins with `spiffe:`.
    pub(in crate::config) alias: Text,
    /// Callers that name no target get this resource. Default `false`.
    pub(in crate::config) default: Field<bool>,
    /// How long tokens of this rule live at most.
    pub(in crate::config) lifetime: Field<Duration>,
    /// `bound`: tokens of this rule are bound to a key that the caller proves, by DPoP or by its certificate.
    pub(in crate::config) require: Field<Require>,
    /// For whom callers of this rule may act. Such a rule grants nothing to those who act for themselves.
    pub(in crate::config) on_behalf_of: Field<OnBehalfOf>,
}

/// `require` of a resource and of a rule.
#[derive(Debug, Clone, Copy, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Require {
    /// A request without a proof of possession or a certificate is refused.
    Bound,
}

/// `on_behalf_of` of a rule.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| required(s, &["subjects"]))]
pub(in crate::config) struct OnBehalfOf {
    /// Whose subjects: issuers of people (`subjects`), sources, groups of sources.
    pub(in crate::config) subjects: Field<OneOrMany<String>>,
    /// How many workloads may act for one subject, one after the other, the caller included. Default 1, at most 8.
    pub(in crate::config) depth: Field<u64>,
    /// A narrower bound for the scopes.
    pub(in crate::config) scopes: Texts,
    /// The token names the subject alone, and not who acts for it; `rests_on` does, where the caller's source has `liveness`.
    /// Default `false`.
    pub(in crate::config) impersonate: Field<bool>,
}

/// `to` of a rule.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| required(s, &["resource", "scopes"]))]
pub(in crate::config) struct To {
    /// The resource's name.
    pub(in crate::config) resource: Text,
    /// The scopes they may have of it.
    pub(in crate::config) scopes: Texts,
}

/// `mode` of a rule.
#[derive(Debug, Clone, Copy, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Mode {
    /// It grants.
    Enforce,
    /// It is recorded, and grants nothing.
    Observe,
}

/// `from` of a rule: `source`, `group`, `path`, `everyone`, and attributes by their names.
#[derive(Debug, Default)]
pub(in crate::config) struct From(pub(in crate::config) Vec<(String, Field<FromValue>)>);

impl<'de> Deserialize<'de> for From {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Named::deserialize(deserializer).map(|named| Self(named.0))
    }
}

impl JsonSchema for From {
    fn schema_name() -> Cow<'static, str> {
        "From".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<OneOrMany<String>>();
        json_schema!({
            "description": "Whom a rule is for: a source or a group, and at least one of `path`, attributes or `everyone: true`.",
            "type": "object",
            "properties": { "source": values, "group": values, "path": values, "everyone": { "const": true } },
            "additionalProperties": values,
            "anyOf": [{ "required": ["source"] }, { "required": ["group"] }],
        })
    }
}

/// One value in `from`: texts, or the boolean of `everyone`.
#[derive(Debug)]
pub(in crate::config) enum FromValue {
    /// `true` or `false`.
    Flag(bool),
    /// One text or a list of them.
    Texts(Vec<Field<String>>),
}

impl<'de> Deserialize<'de> for FromValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asking for both forms of one node would report its faults twice: the flag is asked for first, and only a flag is taken.
        deserializer.deserialize_newtype_struct(crate::config::field::FLAG_OR_TEXTS, FlagOrTexts)
    }
}

struct FlagOrTexts;

impl<'de> Visitor<'de> for FlagOrTexts {
    type Value = FromValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a list of texts, or a boolean")
    }

    fn visit_bool<E>(self, value: bool) -> Result<FromValue, E> {
        Ok(FromValue::Flag(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<FromValue, D::Error> {
        OneOrMany::deserialize(deserializer).map(|texts| FromValue::Texts(texts.0))
    }
}

/// `only` of an included file.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| required(s, &["resources"]))]
pub(in crate::config) struct Only {
    /// The resources that rules of this file may grant.
    pub(in crate::config) resources: Texts,
}

/// A question to the policy, and the answer that must come out.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| required(s, &["as", "for", "expect"]))]
pub(in crate::config) struct Test {
    /// Who asks: a SPIFFE ID, or a source with attributes.
    #[serde(rename = "as")]
    pub(in crate::config) who: Field<AsWho>,
    /// The source that vouches, where two sources can make the same identity.
    pub(in crate::config) via: Text,
    /// The resource's name.
    #[serde(rename = "for")]
    pub(in crate::config) resource: Text,
    /// The scopes that are asked for; without them all that are granted.
    pub(in crate::config) scopes: Texts,
    /// `allow`, or the reason code of the refusal.
    pub(in crate::config) expect: Text,
}

/// `as` of a test.
#[derive(Debug)]
pub(in crate::config) enum AsWho {
    /// A SPIFFE ID.
    Id(String),
    /// `source`, `path`, and attributes by their names.
    Attributes(Vec<(String, Field<String>)>),
}

impl<'de> Deserialize<'de> for AsWho {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(crate::config::field::TEXT_OR_MAP, AsWhoVisitor)
    }
}

struct AsWhoVisitor;

impl<'de> Visitor<'de> for AsWhoVisitor {
    type Value = AsWho;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a SPIFFE ID, or a map with `source` and attributes")
    }

    fn visit_str<E>(self, text: &str) -> Result<AsWho, E> {
        Ok(AsWho::Id(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<AsWho, A::Error> {
        NamedVisitor(PhantomData).visit_map(entries).map(|named| AsWho::Attributes(named.0))
    }
}

impl JsonSchema for AsWho {
    fn schema_name() -> Cow<'static, str> {
        "AsWho".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A SPIFFE ID, or a source with a path or attributes.",
            "anyOf": [
                { "type": "string", "pattern": "^spiffe://" },
                {
                    "type": "object",
                    "properties": { "source": { "type": "string" }, "path": { "type": "string" } },
                    "additionalProperties": { "type": "string" },
                    "required": ["source"],
                },
            ],
        })
    }
}
