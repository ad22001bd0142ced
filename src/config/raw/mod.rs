//! Decides which keys exist: the file's form, field by field, as people write it.
//!
//! Must never give a key a meaning: that is the builders'. The published schema is made of the same types.

mod liveness;
mod policy;
mod source;

use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::json;

pub(super) use liveness::{Liveness, TokenReview};
pub(super) use policy::{
    AsWho, From, FromValue, Mode, OnBehalfOf, Only, Require, Resource, Rule, Signature, Test, To, TokenType,
};
pub(super) use source::{
    ApiServer, Bundle, Keys, Kubernetes, Oidc, Profile, Push, PushedBy, Reuse, Source, Spiffe, Subjects,
};

use super::field::Field;

/// A text.
pub(super) type Text = Field<String>;
/// A list of texts.
pub(super) type Texts = Field<Vec<Field<String>>>;
/// A list of `T`.
pub(super) type List<T> = Field<Vec<Field<T>>>;

/// The configuration of countersign.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "countersign configuration", transform = |s: &mut Schema| required(s, &["issuer", "trust", "resources"]))]
pub(super) struct Main {
    /// Our issuer URL, byte for byte as it stands in tokens. `https`, or `http` with a loopback host while the listener has no TLS.
    pub(super) issuer: Text,
    /// The trust domain of identities that we make ourselves. Default: the issuer's host.
    pub(super) identity_domain: Text,
    /// The address that workloads talk to.
    pub(super) listen: Field<Listen>,
    /// The address of health and metrics.
    pub(super) admin: Field<Admin>,
    /// The keys that sign our tokens.
    pub(super) signing: Field<Signing>,
    /// What is remembered between starts.
    pub(super) state: Field<State>,
    /// Where decision records go.
    pub(super) audit: Field<Audit>,
    /// How many requests are taken.
    pub(super) limits: Field<Limits>,
    /// The assertion grant of RFC 7523. Default: not served.
    pub(super) assertion_grant: Field<AssertionGrant>,
    /// Proofs of possession (RFC 9449).
    pub(super) dpop: Field<Dpop>,
    /// The gRPC services.
    pub(super) grpc: Field<Grpc>,
    /// Where traces and logs go. Default: nowhere.
    pub(super) telemetry: Field<Telemetry>,
    /// Further files with rules and tests: paths relative to this file, `*` in the last part.
    pub(super) include: Texts,
    /// Who may vouch for workloads.
    pub(super) trust: List<Source>,
    /// Who may vouch for the people whom workloads act for. Their tokens are never a caller's credential.
    pub(super) subjects: List<Subjects>,
    /// What tokens are for.
    pub(super) resources: List<Resource>,
    /// Who may have a token for what. Everything else is refused.
    pub(super) rules: List<Rule>,
    /// Questions to the policy with the answers that must come out, asked at every load.
    pub(super) tests: List<Test>,
}

/// A further file, named by `include`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Included {
    /// What this file can grant at most.
    pub(super) only: Field<Only>,
    /// Who may have a token for what.
    pub(super) rules: List<Rule>,
    /// Questions to the policy with the answers that must come out.
    pub(super) tests: List<Test>,
}

/// `listen`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Listen {
    /// IP address and port. Default `127.0.0.1:8484`; without `tls` it must be a loopback address.
    pub(super) address: Text,
    /// The server's certificate. Without it the listener speaks plain HTTP.
    pub(super) tls: Field<Tls>,
}

/// `listen.tls`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| {
    s.insert("oneOf".to_owned(), json!([{ "required": ["certificate", "key"] }, { "required": ["spiffe"] }]));
    never_with(s, "spiffe", &["certificate", "key"]);
})]
pub(super) struct Tls {
    /// A file with the certificate chain in PEM, the server's own first.
    pub(super) certificate: Text,
    /// A file with the private key in PEM.
    pub(super) key: Text,
    /// Instead of files: a source by Workload API, whose agent gives this process its own X.509-SVID.
    pub(super) spiffe: Text,
}

/// `admin`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Admin {
    /// IP address and port. Default `127.0.0.1:9443`.
    pub(super) address: Text,
}

/// `signing`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| never_with(s, "files", &["directory", "rotate"]))]
pub(super) struct Signing {
    /// A folder for our own keys: they are made and rotated here. Default `./keys`.
    pub(super) directory: Text,
    /// How long a key signs before the next one takes over, between `1h` and `366d`. Default `30d`.
    pub(super) rotate: Field<Duration>,
    /// Instead of `directory`: a folder with keys that somebody else writes, such as a mounted Secret. Read again on change.
    pub(super) files: Text,
    /// A PEM file with the authorities of the certificate at the public URL, where the system does not know them: each new key is
    /// tried there before it signs. Read again each time.
    pub(super) canary_ca: Text,
}

/// `state`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct State {
    /// A folder for what is remembered. Default `./state`.
    pub(super) directory: Text,
    /// The most space for decisions that `explain` can show. Default `256MiB`.
    pub(super) decisions: Field<Size>,
}

/// `audit`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Audit {
    /// Write one JSON line for each decision to standard output. Default `true`.
    pub(super) stdout: Field<bool>,
    /// Let no answer leave before its record is durable. Default `false`.
    pub(super) required: Field<bool>,
}

/// `limits`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    /// How often one verified identity may come, such as `50/s`. Default: as often as it likes.
    pub(super) per_identity: Field<RateText>,
    /// Requests that are answered at a time. Default `512`.
    pub(super) in_flight: Field<u64>,
}

/// `assertion_grant`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AssertionGrant {
    /// Whether it is served. Who needs it is usually better served by `client_credentials` or by token exchange.
    pub(super) enabled: Field<bool>,
}

/// `dpop`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Dpop {
    /// Ask for a nonce of ours in each proof: then nobody can make proofs in advance. Default `false`.
    pub(super) nonce: Field<bool>,
}

/// `grpc`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Grpc {
    /// Let clients ask which services and messages there are (gRPC server reflection). Default `true`.
    pub(super) reflection: Field<bool>,
}

/// `telemetry`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Telemetry {
    /// The collector that takes OTLP over gRPC: `https://collector.example:4317`, or `http://`.
    pub(super) otlp: Text,
}

/// A rate: a number, and `/s` or `/m`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct RateText(#[schemars(regex(pattern = "^[1-9][0-9]{0,6}/[sm]$"))] pub(super) String);

/// A length of time: a number and one of `s`, `m`, `h`, `d`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Duration(#[schemars(regex(pattern = "^[0-9]{1,10}[smhd]$"))] pub(super) String);

/// A number of bytes: a number and one of `KiB`, `MiB`, `GiB`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Size(#[schemars(regex(pattern = "^[0-9]{1,10}(KiB|MiB|GiB)$"))] pub(super) String);

/// In a schema: these keys must be there.
fn required(schema: &mut Schema, keys: &[&str]) {
    schema.insert("required".to_owned(), json!(keys));
}

/// In a schema: exactly one of these keys must be there.
fn one_of(schema: &mut Schema, keys: &[&str]) {
    let forms: Vec<_> = keys.iter().map(|key| json!({ "required": [key] })).collect();
    schema.insert("oneOf".to_owned(), json!(forms));
}

/// In a schema: where `key` is, these keys are not.
fn never_with(schema: &mut Schema, key: &str, others: &[&str]) {
    let none: serde_json::Map<_, _> = others.iter().map(|other| ((*other).to_owned(), json!(false))).collect();
    schema.insert("dependentSchemas".to_owned(), json!({ key: { "properties": none } }));
}
