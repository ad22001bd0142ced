//! Decides who may vouch for the people whom workloads act for.
//!
//! Must never make a source of callers: a person is none (design §3).

use std::collections::BTreeSet;

use super::keys::keys;
use super::source::{DAY, LEEWAY, algorithm, compared, leeway, set};
use super::{Built, Desk, parsed};
use crate::config::place::PlaceId;
use crate::config::raw::{List, Subjects};
use crate::identity::SourceName;
use crate::jose::Algorithm;
use crate::trust::{Reuse, SourceKind, SourceSettings};

/// Builds every issuer of people.
pub(in crate::config) fn subjects(desk: Desk<'_>, list: &List<Subjects>) -> Built<SourceSettings> {
    Built::each(list, |raw, at| issuer(desk, raw, at))
}

fn issuer(desk: Desk<'_>, raw: &Subjects, at: PlaceId) -> Option<SourceSettings> {
    let ledger = desk.ledger;
    let name = raw.name.try_map(ledger, parsed("a name", SourceName::parse)).needed(ledger, at, "name");
    let issuers = set(desk, "issuer", &raw.issuers, |text| compared("an issuer", text)).needed(ledger, at, "issuers");
    let keys = keys(desk, &raw.keys, false, at);
    let audiences = set(desk, "audience", &raw.audiences, |text| compared("an audience", text));
    let audiences = audiences.needed(ledger, at, "audiences");
    let max_age = desk.lifetime(&raw.max_age).or(DAY);
    let max_life = desk.lifetime(&raw.max_life).or(DAY);
    let max_stale = desk.lifetime(&raw.max_stale).or(DAY);
    let leeway = raw.leeway.try_map(ledger, leeway).or(LEEWAY);
    let algorithms =
        set(desk, "algorithm", &raw.algorithms, |text| algorithm(text)).or(Algorithm::ALL.into_iter().collect());
    Some(SourceSettings {
        name: name?,
        groups: BTreeSet::new(),
        kind: SourceKind::People { issuers: issuers?, keys: keys? },
        audiences: Some(audiences?),
        max_age: max_age?,
        max_life: max_life?,
        max_stale: max_stale?,
        leeway: leeway?,
        reuse: Reuse::Allowed,
        algorithms: algorithms?,
        identity: None,
        shares_identities_with: BTreeSet::new(),
    })
}
