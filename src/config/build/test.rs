//! Decides what one test asks, and what answer it wants.
//!
//! Must never answer it: that is `policy`'s.

use std::collections::BTreeMap;

use super::words::{attribute, attribute_value, scopes, words};
use super::{Built, Desk, parsed};
use crate::config::field::Field;
use crate::config::ledger::Said;
use crate::config::place::PlaceId;
use crate::config::raw::{AsWho, List, Test};
use crate::config::similar;
use crate::identity::{SourceName, SpiffeId};
use crate::policy::{Expectation, TestCaller, TestSettings};
use crate::reason::{Reason, quoted};

/// Builds the tests of one file.
pub(in crate::config) fn tests(desk: Desk<'_>, list: &List<Test>) -> Built<TestSettings> {
    Built::each(list, |raw, at| test(desk, raw, at))
}

fn test(desk: Desk<'_>, raw: &Test, at: PlaceId) -> Option<TestSettings> {
    let ledger = desk.ledger;
    let caller = raw.who.and_then(|raw, at| caller(desk, raw, at)).needed(ledger, at, "as");
    let via = raw.via.try_map(ledger, parsed("a source name", SourceName::parse)).optional();
    let resource = raw.resource.try_map(ledger, |text| words("a resource", text)).needed(ledger, at, "for");
    let scopes = scopes(desk, &raw.scopes).optional();
    let expect = raw.expect.try_map(ledger, |text| expectation(text)).needed(ledger, at, "expect");
    Some(TestSettings { caller: caller?, via: via?, resource: resource?, scopes: scopes?, expect: expect? })
}

fn caller(desk: Desk<'_>, raw: &AsWho, at: PlaceId) -> Option<TestCaller> {
    match raw {
        AsWho::Attributes(entries) => who(desk, entries, at),
        AsWho::Id(text) => parsed("a SPIFFE ID", SpiffeId::parse)(text)
            .map_err(|said| desk.ledger.problem(at, said))
            .ok()
            .map(TestCaller::Id),
    }
}

fn who(desk: Desk<'_>, entries: &[(String, Field<String>)], at: PlaceId) -> Option<TestCaller> {
    let ledger = desk.ledger;
    let (mut source, mut path, mut attributes, mut whole) = (None, None, BTreeMap::new(), true);
    for (key, field) in entries {
        let good = match (key.as_str(), field.given()) {
            (_, None) => false,
            ("source", _) => {
                source = field.try_map(ledger, parsed("a source name", SourceName::parse)).optional().flatten();
                source.is_some()
            }
            ("path", Some((text, _))) => {
                path = Some(text.clone());
                true
            }
            (key, Some((_, at))) => {
                let value = field.try_map(ledger, |text| attribute_value(text)).optional().flatten();
                let entry = attribute(desk, key, at).zip(value);
                let good = entry.is_some();
                attributes.extend(entry);
                good
            }
        };
        whole &= good;
    }
    if !entries.iter().any(|(key, _)| key == "source") {
        ledger.problem(at, Said::new("`source` is missing").hint("or write the SPIFFE ID: as: spiffe://…"));
    }
    whole.then_some(TestCaller::Attributes { source: source?, path, attributes })
}

fn expectation(text: &str) -> Result<Expectation, Said> {
    if text == "allow" {
        return Ok(Expectation::Allow);
    }
    Reason::from_code(text).map(Expectation::Refuse).ok_or_else(|| {
        let codes = Reason::ALL.iter().map(|reason| reason.code());
        let meant = similar::nearest(text, std::iter::once("allow").chain(codes));
        let hint = meant.map_or_else(
            || "`allow`, or the reason code of a refusal such as not_granted".to_owned(),
            |meant| format!("did you mean `{meant}`?"),
        );
        Said::new(format!("{} is not an answer", quoted(text))).hint(hint)
    })
}
