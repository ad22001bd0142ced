//! Decides what one rule says, and what the rules of one file may grant.
//!
//! Must never compare rules with sources or each other: that is `policy`'s.

use super::resource::require;
use super::words::{attribute, attribute_value, scopes, words};
use super::{Built, Desk, duration, parsed};
use crate::config::field::{Field, each, values};
use crate::config::ledger::Said;
use crate::config::place::PlaceId;
use crate::config::raw::{self, From, FromValue, List, Only, Rule, To};
use crate::identity::{GroupName, ResourceName, ScopeSet, SourceName};
use crate::policy::{FromSettings, Mode, OnBehalfOf, RuleSettings};
use crate::reason::quoted;

/// Builds the rules of one file; `only` bounds what they may grant.
pub(in crate::config) fn rules(desk: Desk<'_>, list: &List<Rule>, only: Option<&[String]>) -> Built<RuleSettings> {
    Built::each(list, |raw, at| rule(desk, raw, at, only))
}

fn rule(desk: Desk<'_>, raw: &Rule, at: PlaceId, only: Option<&[String]>) -> Option<RuleSettings> {
    let ledger = desk.ledger;
    let name = raw.name.try_map(ledger, |text| words("a rule's name", text)).needed(ledger, at, "name");
    let from = raw.from.and_then(|raw, at| from(desk, raw, at)).needed(ledger, at, "from");
    let to = raw.to.and_then(|raw, at| to(desk, raw, at, only)).needed(ledger, at, "to");
    let mode = raw.mode.try_map(ledger, |mode| Ok(self::mode(*mode))).or(Mode::Enforce);
    let alias = raw.alias.try_map(ledger, |text| Ok(text.clone())).optional();
    let default = raw.default.try_map(ledger, |value| Ok(*value)).or(false);
    let lifetime = raw.lifetime.try_map(ledger, duration).optional();
    let require = require(desk, &raw.require);
    let on_behalf_of = raw.on_behalf_of.and_then(|raw, at| on_behalf_of(desk, raw, at)).optional();
    let (resource, scopes) = to?;
    Some(RuleSettings {
        name: name?,
        from: from?,
        resource,
        scopes,
        mode: mode?,
        alias: alias?,
        default: default?,
        lifetime: lifetime?,
        require: require?,
        on_behalf_of: on_behalf_of?,
    })
}

const fn mode(mode: raw::Mode) -> Mode {
    match mode {
        raw::Mode::Enforce => Mode::Enforce,
        raw::Mode::Observe => Mode::Observe,
    }
}

pub(super) fn from(desk: Desk<'_>, raw: &From, at: PlaceId) -> Option<FromSettings> {
    let ledger = desk.ledger;
    let mut settings = FromSettings::default();
    let mut whole = true;
    for (key, field) in &raw.0 {
        let taken = match (key.as_str(), field.given()) {
            (_, None) => None,
            ("everyone", Some((FromValue::Flag(true), _))) => {
                settings.everyone = true;
                Some(())
            }
            ("everyone", Some((_, at))) => {
                ledger.problem(at, Said::new("`everyone` is `true`, or is left out"));
                None
            }
            (_, Some((FromValue::Flag(flag), at))) => {
                ledger.problem(
                    at,
                    Said::new(format!("text or a list of texts is needed here, not `{flag}`"))
                        .hint("put it in quotes if it is meant as text"),
                );
                None
            }
            (_, Some((FromValue::Texts(texts), at))) if texts.is_empty() => {
                ledger.problem(
                    at,
                    Said::new("an empty list matches nobody").hint("leave the key out, or name at least one value"),
                );
                None
            }
            ("source", Some((FromValue::Texts(texts), _))) => {
                each(texts, ledger, parsed("a source name", SourceName::parse))
                    .map(|made| settings.sources = values(made))
            }
            ("group", Some((FromValue::Texts(texts), _))) => {
                each(texts, ledger, parsed("a group name", GroupName::parse)).map(|made| settings.groups = values(made))
            }
            ("path", Some((FromValue::Texts(texts), _))) => {
                each(texts, ledger, |text| Ok(text.clone())).map(|made| settings.paths = values(made))
            }
            (key, Some((FromValue::Texts(texts), at))) => {
                attribute(desk, key, at).zip(each(texts, ledger, |text| attribute_value(text))).map(|(name, made)| {
                    settings.attributes.insert(name, values(made));
                })
            }
        };
        whole &= taken.is_some();
    }
    if raw.0.is_empty() {
        ledger.problem(
            at,
            Said::new(
                "a rule names a `source` or a `group`, and at least one of `path`, attributes or `everyone: true`",
            ),
        );
    }
    (whole && !raw.0.is_empty()).then_some(settings)
}

fn on_behalf_of(desk: Desk<'_>, raw: &raw::OnBehalfOf, at: PlaceId) -> Option<OnBehalfOf> {
    let ledger = desk.ledger;
    let names = raw.subjects.and_then(|names, _| each(&names.0, ledger, |name| Ok(name.clone())).map(values));
    let names = desk.not_empty(names, "name of subjects").needed(ledger, at, "subjects");
    let depth = raw.depth.try_map(ledger, |depth| {
        usize::try_from(*depth).map_err(|_too_large| Said::new("this is not a number of workloads"))
    });
    let scopes = scopes(desk, &raw.scopes).optional();
    let impersonate = raw.impersonate.try_map(ledger, |value| Ok(*value)).or(false);
    Some(OnBehalfOf { subjects: names?, depth: depth.or(1)?, scopes: scopes?, impersonate: impersonate? })
}

fn to(desk: Desk<'_>, raw: &To, at: PlaceId, only: Option<&[String]>) -> Option<(String, ScopeSet)> {
    let ledger = desk.ledger;
    let resource = raw.resource.try_map(ledger, |name| match only {
        Some(allowed) if !allowed.contains(name) => {
            let said = Said::new(format!("this file may not grant the resource {}", quoted(name)));
            Err(said.hint(format!(
                "its `only` names: {}",
                allowed.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
            )))
        }
        _ => parsed("a resource name", ResourceName::parse)(name).map(|_| name.clone()),
    });
    let resource = resource.needed(ledger, at, "resource");
    let scopes = scopes(desk, &raw.scopes).needed(ledger, at, "scopes");
    Some((resource?, scopes?))
}

/// The resources that a file may grant; `None` without `only`, or where it is bad and reported.
pub(in crate::config) fn only(desk: Desk<'_>, raw: &Field<Only>) -> Option<Vec<(String, PlaceId)>> {
    let (only, at) = raw.given()?;
    let names = only.resources.try_each(desk.ledger, |name| Ok(name.clone()));
    desk.not_empty(names, "resource").needed(desk.ledger, at, "resources")
}
