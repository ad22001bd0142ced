//! Decides which keys a trust source has.
//!
//! Must never name a form that this release cannot serve.

use schemars::{JsonSchema, Schema};
use serde::Deserialize;

use super::{Duration, Liveness, Text, Texts, one_of, required};
use crate::config::field::Field;

/// One authority whose word counts: a SPIFFE trust domain, a cluster, or another OIDC issuer such as a CI system.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| { required(s, &["name"]); one_of(s, &["spiffe", "kubernetes", "oidc"]) })]
pub(in crate::config) struct Source {
    /// Our name for it, `[a-z0-9-]{1,63}`. It is part of identities: a new name means new identities.
    #[schemars(regex(pattern = "^[a-z0-9-]{1,63}$"))]
    pub(in crate::config) name: Text,
    /// Groups that rules may name instead of the source.
    pub(in crate::config) groups: Texts,
    /// A SPIFFE trust domain.
    pub(in crate::config) spiffe: Field<Spiffe>,
    /// A Kubernetes cluster.
    pub(in crate::config) kubernetes: Field<Kubernetes>,
    /// Another OIDC issuer of tokens for workloads: a CI system, a cloud. It needs `identity`.
    pub(in crate::config) oidc: Field<Oidc>,
    /// What credentials must be addressed to, instead of our issuer URL.
    pub(in crate::config) audiences: Texts,
    /// How old a credential may be. Default `24h`.
    pub(in crate::config) max_age: Field<Duration>,
    /// How long a credential may live in all. Default `24h`.
    pub(in crate::config) max_life: Field<Duration>,
    /// How long the last good keys serve while the source cannot be reached. Default `24h`.
    pub(in crate::config) max_stale: Field<Duration>,
    /// How far the clocks may differ for `nbf` and `iat`; never for `exp`. Default `30s`.
    pub(in crate::config) leeway: Field<Duration>,
    /// How often one credential may give a token: `allowed` (the default) as often as its owner likes, `once`, or `bound` to the key
    /// that was proven at its first use.
    pub(in crate::config) reuse: Field<Reuse>,
    /// Signature algorithms that are taken from this source.
    pub(in crate::config) algorithms: Texts,
    /// The SPIFFE ID of its workloads, with `{namespace}` and the like; for `oidc` made of its claims.
    pub(in crate::config) identity: Text,
    /// Sources that may make the same identities as this one.
    pub(in crate::config) shares_identities_with: Texts,
}

/// `spiffe`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| { required(s, &["trust_domain"]); one_of(s, &["workload_api", "bundle"]) })]
pub(in crate::config) struct Spiffe {
    /// The trust domain, and the only one that this source speaks for.
    pub(in crate::config) trust_domain: Text,
    /// The Workload API socket: `auto` (from `SPIFFE_ENDPOINT_SOCKET`), `unix:/path` or `tcp://IP:port`.
    pub(in crate::config) workload_api: Text,
    /// The trust bundle, where there is no Workload API.
    pub(in crate::config) bundle: Field<Bundle>,
    /// How attributes are read from paths: `/ns/{namespace}/sa/{service_account}`.
    pub(in crate::config) paths: Texts,
}

/// `spiffe.bundle`: exactly one of `file` and `url`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| one_of(s, &["file", "url"]))]
pub(in crate::config) struct Bundle {
    /// A file with the bundle, read again when it changes.
    pub(in crate::config) file: Text,
    /// The address of a SPIFFE bundle endpoint, asked again as its bundle says.
    pub(in crate::config) url: Text,
    /// With `url`: how the endpoint shows who it is.
    pub(in crate::config) profile: Field<Profile>,
    /// With `https_web`: a file with certificate authorities that may vouch for the endpoint beside the system's.
    pub(in crate::config) ca: Text,
    /// With `https_spiffe`: the SPIFFE ID that the endpoint must have.
    pub(in crate::config) server_id: Text,
    /// With `https_spiffe`: a file with a bundle of that ID's trust domain, for the first contact.
    pub(in crate::config) first: Text,
}

/// `spiffe.bundle.profile`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Profile {
    /// By a certificate for its name, from an authority of the web.
    HttpsWeb,
    /// By its X.509-SVID.
    HttpsSpiffe,
}

/// `kubernetes`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| required(s, &["issuers", "keys"]))]
pub(in crate::config) struct Kubernetes {
    /// The cluster's issuer strings: compared, never dialled.
    pub(in crate::config) issuers: Texts,
    /// Where its keys come from.
    pub(in crate::config) keys: Field<Keys>,
    /// Whether the cluster is asked if the pod still lives. Default `none`.
    pub(in crate::config) liveness: Field<Liveness>,
}

/// `oidc`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| required(s, &["issuers", "keys", "claims"]))]
pub(in crate::config) struct Oidc {
    /// The values of `iss`: compared, never dialled.
    pub(in crate::config) issuers: Texts,
    /// Where its keys come from: `file`, `url` or `discovery`.
    pub(in crate::config) keys: Field<Keys>,
    /// The claims that rules and `identity` may use.
    pub(in crate::config) claims: Texts,
}

/// One issuer of people, for whom workloads act.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| required(s, &["name", "issuers", "keys", "audiences"]))]
pub(in crate::config) struct Subjects {
    /// Our name for it, `[a-z0-9-]{1,63}`. In our tokens `sub` is `<name>|<sub>`: a new name means other people.
    #[schemars(regex(pattern = "^[a-z0-9-]{1,63}$"))]
    pub(in crate::config) name: Text,
    /// The values of `iss`: compared, never dialled, and none of a trust source.
    pub(in crate::config) issuers: Texts,
    /// Where its keys come from: `file`, `url` or `discovery`.
    pub(in crate::config) keys: Field<Keys>,
    /// What people's tokens must be addressed to.
    pub(in crate::config) audiences: Texts,
    /// How old a token may be. Default `24h`.
    pub(in crate::config) max_age: Field<Duration>,
    /// How long a token may live in all. Default `24h`.
    pub(in crate::config) max_life: Field<Duration>,
    /// How long the last good keys serve while the issuer cannot be reached. Default `24h`.
    pub(in crate::config) max_stale: Field<Duration>,
    /// How far the clocks may differ for `nbf` and `iat`; never for `exp`. Default `30s`.
    pub(in crate::config) leeway: Field<Duration>,
    /// Signature algorithms that are taken.
    pub(in crate::config) algorithms: Texts,
}

/// `keys` of an issuer: exactly one of `file`, `url`, `discovery`; a cluster may also have `api_server` or `push`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| one_of(s, &["file", "url", "discovery", "api_server", "push"]))]
pub(in crate::config) struct Keys {
    /// A file with a JWK set, read again when it changes.
    pub(in crate::config) file: Text,
    /// The address of a JWK set.
    pub(in crate::config) url: Text,
    /// The address whose `/.well-known/openid-configuration` names the JWK set.
    pub(in crate::config) discovery: Text,
    /// The cluster's API server, asked with a token of ours.
    pub(in crate::config) api_server: Field<ApiServer>,
    /// A workload of the cluster pushes them, such as `countersign feed`: for clusters that cannot be asked from outside.
    pub(in crate::config) push: Field<Push>,
    /// With `url` or `discovery`: a file with the certificate authority, instead of the system's.
    pub(in crate::config) ca: Text,
    /// With `discovery`: a file with the bearer token to ask with, read at each use.
    pub(in crate::config) token: Text,
}

/// `kubernetes.keys.api_server`; `{}` in a pod takes everything from the pod's own mount.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ApiServer {
    /// Its address. Default `https://kubernetes.default.svc`.
    pub(in crate::config) url: Text,
    /// A file with its certificate authority.
    pub(in crate::config) ca: Text,
    /// A file with the bearer token to ask with, read at each use.
    pub(in crate::config) token: Text,
}

/// `kubernetes.keys.push`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| required(s, &["first", "by"]))]
pub(in crate::config) struct Push {
    /// A file with the JWK set until something was pushed. Other content there later takes the place of what was pushed.
    pub(in crate::config) first: Text,
    /// Who alone may push.
    pub(in crate::config) by: Field<PushedBy>,
}

/// `kubernetes.keys.push.by`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = |s: &mut Schema| required(s, &["namespace", "service_account"]))]
pub(in crate::config) struct PushedBy {
    /// Its namespace.
    pub(in crate::config) namespace: Text,
    /// Its service account.
    pub(in crate::config) service_account: Text,
}

/// `reuse`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Reuse {
    /// A credential may be shown as often as its owner likes, until it ends.
    Allowed,
    /// A credential gives one token. Only for sources whose workloads get a fresh credential for each request.
    Once,
    /// A credential stays with the key that was proven when it first gave a token; every token is bound.
    Bound,
}
