//! Decides what a resource is.
//!
//! Must never let an operator's claim stand for one of ours.

use std::collections::BTreeMap;

use serde_json::Value;

use super::words::{scopes, words};
use super::{Built, Desk, duration, parsed, rule};
use crate::clock::Lifetime;
use crate::config::field::Field;
use crate::config::ledger::Said;
use crate::config::place::PlaceId;
use crate::config::raw::{self, List, Resource, Signature};
use crate::identity::{Audience, ResourceName};
use crate::jose::Algorithm;
use crate::policy::{Require, ResourceSettings, TokenType};
use crate::reason::quoted;

/// The life of a resource's tokens, unless set.
const LIFETIME: Lifetime = Lifetime::from_minutes(5);
/// Further claims of one resource.
const MAX_CLAIMS: usize = 32;
/// Bytes of them, as JSON: access tokens travel in every request.
const MAX_CLAIMS_BYTES: usize = 2048;
/// Bytes of a claim's name.
const MAX_CLAIM_NAME: usize = 128;
/// Claims that we make ourselves, and registered ones whose meaning is not the operator's to give
/// (RFC 7519 §4.1, RFC 7800 §3.1, RFC 8693 §4, RFC 9068 §2.2, RFC 9396 §9, OIDC Core §2).
const RESERVED: [&str; 32] = [
    "rests_on",
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "client_id",
    "scope",
    "scp",
    "cnf",
    "act",
    "may_act",
    "source",
    "kind",
    "trust_domain",
    "cluster",
    "namespace",
    "service_account",
    "service_account_uid",
    "pod",
    "pod_uid",
    "node",
    "auth_time",
    "acr",
    "amr",
    "nonce",
    "sid",
    "events",
    "authorization_details",
    "token_introspection",
];

/// Builds every resource.
pub(in crate::config) fn resources(desk: Desk<'_>, list: &List<Resource>, top: PlaceId) -> Built<ResourceSettings> {
    match list {
        Field::Absent => {
            desk.ledger.problem(
                top,
                Said::new("`resources` is missing").hint("without a resource there is nothing to give a token for"),
            );
        }
        Field::Given { value, at } if value.is_empty() => {
            desk.ledger.problem(*at, Said::new("at least one resource is needed here"));
        }
        Field::Bad | Field::Given { .. } => {}
    }
    Built::each(list, |raw, at| resource(desk, raw, at))
}

fn resource(desk: Desk<'_>, raw: &Resource, at: PlaceId) -> Option<ResourceSettings> {
    let ledger = desk.ledger;
    let name = raw.name.try_map(ledger, parsed("a resource name", ResourceName::parse)).needed(ledger, at, "name");
    let audience = raw.audience.try_map(ledger, parsed("an audience", Audience::parse)).needed(ledger, at, "audience");
    let scopes = scopes(desk, &raw.scopes).needed(ledger, at, "scopes");
    let lifetime = raw.lifetime.try_map(ledger, duration).or(LIFETIME);
    let owner = raw.owner.try_map(ledger, |text| words("an owner", text)).optional();
    let algorithm = raw.algorithm.try_map(ledger, |name| Ok(signature(*name))).or(Algorithm::ES256);
    let typ = raw.typ.try_map(ledger, |typ| Ok(token_type(*typ))).or(TokenType::AccessToken);
    let claims = claims(desk, raw);
    let require = require(desk, &raw.require);
    let served_by = raw.served_by.and_then(|raw, at| rule::from(desk, raw, at)).optional();
    Some(ResourceSettings {
        name: name?,
        audience: audience?,
        scopes: scopes?,
        lifetime: lifetime?,
        owner: owner?,
        algorithm: algorithm?,
        typ: typ?,
        claims: claims?,
        require: require?,
        served_by: served_by?,
    })
}

/// What the key says on a resource and on a rule.
pub(super) fn require(desk: Desk<'_>, raw: &Field<raw::Require>) -> Option<Require> {
    raw.try_map(desk.ledger, |raw::Require::Bound| Ok(Require::Bound)).or(Require::Nothing)
}

const fn signature(name: Signature) -> Algorithm {
    match name {
        Signature::Es256 => Algorithm::ES256,
        Signature::Rs256 => Algorithm::RS256,
    }
}

const fn token_type(typ: raw::TokenType) -> TokenType {
    match typ {
        raw::TokenType::AtJwt => TokenType::AccessToken,
        raw::TokenType::Jwt => TokenType::Jwt,
    }
}

fn claims(desk: Desk<'_>, raw: &Resource) -> Option<BTreeMap<String, Value>> {
    let (named, at) = match &raw.claims {
        Field::Absent => return Some(BTreeMap::new()),
        Field::Bad => return None,
        Field::Given { value, at } => (&value.0, *at),
    };
    let claims: Option<BTreeMap<String, Value>> = named
        .iter()
        .map(|(name, field)| field.try_map(desk.ledger, |value| claim(name, value)).optional().flatten())
        .collect::<Vec<_>>()
        .into_iter()
        .collect();
    let claims = claims?;
    let bytes = serde_json::to_string(&claims).map_or(usize::MAX, |text| text.len());
    if claims.len() > MAX_CLAIMS || bytes > MAX_CLAIMS_BYTES {
        let said = Said::new(format!("{} claims of {bytes} bytes are too many", claims.len()));
        desk.ledger.problem(at, said.hint(format!("{MAX_CLAIMS} claims and {MAX_CLAIMS_BYTES} bytes at most")));
        return None;
    }
    Some(claims)
}

fn claim(name: &str, value: &Value) -> Result<(String, Value), Said> {
    if RESERVED.contains(&name) {
        return Err(Said::new(format!("the claim `{name}` is made by countersign or registered for another use"))
            .hint("give it another name"));
    }
    if name.is_empty() || name.len() > MAX_CLAIM_NAME || name.chars().any(char::is_control) {
        return Err(Said::new(format!("{} is not the name of a claim", quoted(name))));
    }
    Ok((name.to_owned(), value.clone()))
}
