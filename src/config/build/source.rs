//! Decides what a trust source is: its kind, where its keys come from, and what its credentials may be.
//!
//! Must never widen trust by a default, and never read the files that it names.

use std::collections::BTreeSet;

use super::bundle::bundle;
use super::keys::keys;
use super::liveness::liveness;
use super::{Built, Desk, parsed};
use crate::clock::Lifetime;
use crate::config::field::{Field, values};
use crate::config::ledger::Said;
use crate::config::net;
use crate::config::place::PlaceId;
use crate::config::raw::{Kubernetes, List, Oidc, Reuse, Source, Spiffe, Texts};
use crate::identity::{AttributeName, GroupName, IdentityTemplate, PathTemplate, SourceName, TrustDomain};
use crate::jose::Algorithm;
use crate::reason::quoted;
use crate::trust::{self, SourceKind, SourceSettings, SpiffeKeys};

/// `max_age`, `max_life` and `max_stale`, unless set.
pub(super) const DAY: Lifetime = Lifetime::from_hours(24);
/// `leeway`, unless set.
pub(super) const LEEWAY: Lifetime = Lifetime::from_seconds(30);
/// The largest `leeway`: clocks that differ by more are a fault to be found, not to be allowed for.
const MAX_LEEWAY: Lifetime = Lifetime::from_minutes(5);
/// Sources of one configuration.
const MAX_SOURCES: usize = 1000;
/// Names that no placeholder of a path and no claim may have: attributes that we give, and keys of `from`.
const TAKEN_NAMES: [&str; 8] = ["trust_domain", "cluster", "source", "kind", "group", "path", "everyone", "subject"];
/// Claims that no rule needs: what they say is checked, or is another one at each token.
const CHECKED_CLAIMS: [&str; 6] = ["iss", "aud", "exp", "nbf", "iat", "jti"];
/// Bytes of an issuer or audience of a credential.
const MAX_COMPARED: usize = 2048;
/// Builds every source.
pub(in crate::config) fn sources(desk: Desk<'_>, trust: &List<Source>, top: PlaceId) -> Built<SourceSettings> {
    match trust {
        Field::Absent => {
            let said = Said::new("`trust` is missing").hint("without a source nobody can show who they are");
            desk.ledger.problem(top, said);
        }
        Field::Given { value, at } if value.is_empty() => {
            desk.ledger.problem(*at, Said::new("at least one source is needed here"));
        }
        Field::Given { value, at } if value.len() > MAX_SOURCES => {
            desk.ledger.problem(*at, Said::new(format!("more than {MAX_SOURCES} sources")));
        }
        Field::Bad | Field::Given { .. } => {}
    }
    Built::each(trust, |raw, at| source(desk, raw, at))
}

fn source(desk: Desk<'_>, raw: &Source, at: PlaceId) -> Option<SourceSettings> {
    let ledger = desk.ledger;
    let name = raw.name.try_map(ledger, parsed("a source name", SourceName::parse)).needed(ledger, at, "name");
    let groups = set(desk, "group", &raw.groups, parsed("a group name", GroupName::parse)).or(BTreeSet::new());
    let kind = kind(desk, raw, at);
    let audiences = set(desk, "audience", &raw.audiences, |text| compared("an audience", text)).optional();
    let max_age = desk.lifetime(&raw.max_age).or(DAY);
    let max_life = desk.lifetime(&raw.max_life).or(DAY);
    let max_stale = desk.lifetime(&raw.max_stale).or(DAY);
    let leeway = raw.leeway.try_map(ledger, leeway).or(LEEWAY);
    let reuse = raw.reuse.try_map(ledger, |raw| Ok(reuse(*raw))).or(trust::Reuse::Allowed);
    let algorithms =
        set(desk, "algorithm", &raw.algorithms, |text| algorithm(text)).or(Algorithm::ALL.into_iter().collect());
    let identity = raw.identity.try_map(ledger, parsed("an identity template", IdentityTemplate::parse)).optional();
    let shares = set(desk, "source", &raw.shares_identities_with, parsed("a source name", SourceName::parse));
    let shares_identities_with = shares.or(BTreeSet::new());
    Some(SourceSettings {
        name: name?,
        groups: groups?,
        kind: kind?,
        audiences: audiences?,
        max_age: max_age?,
        max_life: max_life?,
        max_stale: max_stale?,
        leeway: leeway?,
        reuse: reuse?,
        algorithms: algorithms?,
        identity: identity?,
        shares_identities_with: shares_identities_with?,
    })
}

const fn reuse(raw: Reuse) -> trust::Reuse {
    match raw {
        Reuse::Allowed => trust::Reuse::Allowed,
        Reuse::Once => trust::Reuse::Once,
        Reuse::Bound => trust::Reuse::Bound,
    }
}

/// A list of different values, at least one.
pub(super) fn set<T: Ord>(
    desk: Desk<'_>,
    of: &str,
    list: &Texts,
    make: impl Fn(&String) -> Result<T, Said>,
) -> Field<BTreeSet<T>> {
    let made = desk.not_empty(list.try_each(desk.ledger, make), of);
    match made {
        Field::Absent => Field::Absent,
        Field::Bad => Field::Bad,
        Field::Given { value, at } => Field::Given { value: values(value).into_iter().collect(), at },
    }
}

/// Text that is compared byte for byte with what a credential says.
pub(super) fn compared(kind: &str, text: &str) -> Result<String, Said> {
    if text.is_empty() || text.len() > MAX_COMPARED || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let said = Said::new(format!("{} is not {kind}", quoted(text)));
        return Err(said.hint(format!("1 to {MAX_COMPARED} bytes without white space; it is compared byte for byte")));
    }
    Ok(text.to_owned())
}

pub(super) fn leeway(text: &crate::config::raw::Duration) -> Result<Lifetime, Said> {
    super::duration(text).and_then(|leeway| match leeway <= MAX_LEEWAY {
        true => Ok(leeway),
        false => Err(Said::new(format!("a leeway over {MAX_LEEWAY} is not taken")).hint("set the clocks right")),
    })
}

pub(super) fn algorithm(text: &str) -> Result<Algorithm, Said> {
    Algorithm::from_name(text).ok_or_else(|| {
        let known: Vec<&str> = Algorithm::ALL.into_iter().map(Algorithm::name).collect();
        Said::new(format!("{} is not an algorithm that is taken", quoted(text)))
            .hint(format!("known: {}", known.join(", ")))
    })
}

fn kind(desk: Desk<'_>, raw: &Source, at: PlaceId) -> Option<SourceKind> {
    let keys = [
        ("spiffe", raw.spiffe.is_written()),
        ("kubernetes", raw.kubernetes.is_written()),
        ("oidc", raw.oidc.is_written()),
    ];
    desk.exactly_one(at, &keys);
    // Where several are given, all are read: their problems are worth knowing too.
    let spiffe = raw.spiffe.given().map(|(raw, at)| spiffe(desk, raw, at));
    let kubernetes = raw.kubernetes.given().map(|(raw, at)| kubernetes(desk, raw, at));
    let oidc = raw.oidc.given().map(|(raw, at)| oidc(desk, raw, at));
    match (spiffe, kubernetes, oidc) {
        (Some(kind), None, None) | (None, Some(kind), None) | (None, None, Some(kind)) => kind,
        _ => None,
    }
}

fn spiffe(desk: Desk<'_>, raw: &Spiffe, at: PlaceId) -> Option<SourceKind> {
    let ledger = desk.ledger;
    let domain = raw.trust_domain.try_map(ledger, parsed("a trust domain", TrustDomain::parse));
    let trust_domain = domain.needed(ledger, at, "trust_domain");
    let given = [("workload_api", raw.workload_api.is_written()), ("bundle", raw.bundle.is_written())];
    let one = desk.exactly_one(at, &given);
    let api = raw.workload_api.try_map(ledger, |text| workload_api(desk, text)).optional().flatten();
    let bundle = raw.bundle.given().and_then(|(raw, at)| bundle(desk, raw, at));
    let paths = raw.paths.try_each(ledger, path_template).or(Vec::new());
    one?;
    Some(SourceKind::Spiffe {
        trust_domain: trust_domain?,
        keys: api.map(SpiffeKeys::WorkloadApi).or(bundle)?,
        paths: values(paths?),
    })
}

/// A template of paths, whose placeholders take no name that means something else in a rule or a token.
fn path_template(text: &String) -> Result<PathTemplate, Said> {
    let template = parsed("a path template", PathTemplate::parse)(text)?;
    let taken = template.names().find(|name| TAKEN_NAMES.contains(&name.as_str())).cloned();
    match taken {
        None => Ok(template),
        Some(name) => Err(Said::new(format!("{{{name}}} cannot be read from a path: the name is ours"))
            .hint(format!("another name; taken are {}", TAKEN_NAMES.join(", ")))),
    }
}

/// The socket's address (WAP-02, WAP-03).
fn workload_api(desk: Desk<'_>, text: &str) -> Result<String, Said> {
    if text != "auto" {
        return net::workload_api(text);
    }
    let Some(variable) = &desk.environment.spiffe_endpoint_socket else {
        let said = Said::new("`auto` reads the variable SPIFFE_ENDPOINT_SOCKET, and it is not set");
        return Err(said.hint("set it, or write the socket here: unix:/path/to.sock"));
    };
    net::workload_api(variable)
        .map_err(|said| Said { message: format!("SPIFFE_ENDPOINT_SOCKET: {}", said.message), ..said })
}

fn kubernetes(desk: Desk<'_>, raw: &Kubernetes, at: PlaceId) -> Option<SourceKind> {
    let ledger = desk.ledger;
    let issuers = set(desk, "issuer", &raw.issuers, |text| compared("an issuer", text)).needed(ledger, at, "issuers");
    let keys = keys(desk, &raw.keys, true, at);
    let liveness = raw.liveness.and_then(|raw, at| liveness(desk, raw, keys.as_ref(), at)).or(None);
    Some(SourceKind::Kubernetes { issuers: issuers?, keys: keys?, liveness: liveness? })
}

fn oidc(desk: Desk<'_>, raw: &Oidc, at: PlaceId) -> Option<SourceKind> {
    let ledger = desk.ledger;
    let issuers = set(desk, "issuer", &raw.issuers, |text| compared("an issuer", text)).needed(ledger, at, "issuers");
    let keys = keys(desk, &raw.keys, false, at);
    let claims = set(desk, "claim", &raw.claims, |text| claim(text)).needed(ledger, at, "claims");
    Some(SourceKind::Oidc { issuers: issuers?, keys: keys?, claims: claims? })
}

/// A claim that becomes an attribute under its own name.
fn claim(text: &str) -> Result<AttributeName, Said> {
    let name = AttributeName::parse(text).map_err(|_no_name| {
        Said::new(format!("the claim {} cannot be used: rules and templates have no name for it", quoted(text)))
            .hint("a claim starts with a-z and has at most 32 characters of a-z 0-9 _; names with dots, slashes or capitals are not read")
    })?;
    if TAKEN_NAMES.contains(&text) {
        return Err(Said::new(format!("the claim {text} cannot be used: the name is ours"))
            .hint(format!("taken are {}", TAKEN_NAMES.join(", "))));
    }
    if CHECKED_CLAIMS.contains(&text) {
        return Err(Said::new(format!(
            "the claim {text} is checked for every token, and says nothing about who it is"
        ))
        .hint("leave it out"));
    }
    Ok(name)
}
