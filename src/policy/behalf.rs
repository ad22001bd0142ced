//! Delegation: whom the callers of a rule act for, and what is left of a subject's token in the one that they get (RFC 8693 §4).
//!
//! Looks at the subject, the caller and the number of actors, and at no earlier actor's name (TX-15). Never widens scopes.

use std::collections::BTreeSet;

use super::compile::PolicyInput;
use super::settings::{OnBehalfOf, RuleSettings};
use crate::identity::{GroupName, ScopeSet, SourceName, SpiffeId, WorkloadIdentity};
use crate::problem::{Place, Problem};
use crate::verify::{MOST_ACTORS, Subject};

/// `on_behalf_of` of a rule, ready to match.
#[derive(Debug)]
pub(super) struct Behalf {
    pub(super) subjects: BTreeSet<SourceName>,
    pub(super) depth: usize,
    pub(super) scopes: ScopeSet,
    pub(super) impersonate: bool,
}

impl Behalf {
    /// Whether it speaks of subjects of that source.
    pub(super) fn speaks_of(&self, subject: &Subject) -> bool {
        self.subjects.contains(subject.who.source())
    }

    /// Whether the new chain of actors is short enough. Impersonation has none, so it takes no subject who has one: it would be lost (TX-14).
    pub(super) fn has_room_for(&self, subject: &Subject) -> bool {
        match self.impersonate {
            true => subject.acted_by.is_empty(),
            false => subject.acted_by.len() < self.depth.min(MOST_ACTORS),
        }
    }
}

/// The subject, if the caller acts for somebody else. Who shows a token of its own acts for itself, unless somebody else acted in between.
pub(super) fn other<'a>(caller: &WorkloadIdentity, subject: Option<&'a Subject>) -> Option<&'a Subject> {
    let is_caller = |subject: &&Subject| {
        let workload = subject.who.workload();
        subject.acted_by.is_empty()
            && workload.is_some_and(|workload| workload.id == caller.id && workload.source == caller.source)
    };
    subject.filter(|subject| !is_caller(subject))
}

/// `act` of the new token, newest first: the caller, then who acted before (TX-14).
pub(super) fn actors(caller: &WorkloadIdentity, subject: &Subject) -> Vec<SpiffeId> {
    std::iter::once(&caller.id).chain(&subject.acted_by).cloned().collect()
}

/// Reads `on_behalf_of` of a rule.
pub(super) fn compile(
    rule: &RuleSettings,
    settings: &OnBehalfOf,
    place: &Place,
    input: &PolicyInput<'_>,
    problems: &mut Vec<Problem>,
) -> Behalf {
    let mut subjects = BTreeSet::new();
    for name in &settings.subjects {
        let found = sources_of(name, input);
        if found.is_empty() {
            problems.push(Problem::new(
                place.key("subjects"),
                format!("there is no source or group {name:?}"),
                "name one of trust, or a group of them",
            ));
        }
        subjects.extend(found);
    }
    if settings.subjects.is_empty() {
        problems.push(Problem::new(place.key("subjects"), "an empty list matches nobody", "name at least one source"));
    }
    if !(1..=MOST_ACTORS).contains(&settings.depth) {
        problems.push(Problem::new(
            place.key("depth"),
            format!("a chain has 1 to {MOST_ACTORS} actors, the caller included"),
            "leave it out for 1",
        ));
    }
    let scopes = settings.scopes.as_ref().unwrap_or(&rule.scopes);
    let beyond: Vec<String> = scopes.missing_from(&rule.scopes).map(|scope| format!("{:?}", scope.as_str())).collect();
    if !beyond.is_empty() {
        problems.push(Problem::new(
            place.key("scopes"),
            format!("the rule itself does not grant {}", beyond.join(", ")),
            format!("it grants: {}", rule.scopes),
        ));
    }
    if settings.impersonate && settings.depth > 1 {
        problems.push(Problem::new(
            place.key("depth"),
            "a token that names no actor has no chain of them",
            "leave depth or impersonate out",
        ));
    }
    Behalf { subjects, depth: settings.depth, scopes: scopes.clone(), impersonate: settings.impersonate }
}

/// The sources that a name means: itself, or the members of a group.
fn sources_of(name: &str, input: &PolicyInput<'_>) -> Vec<SourceName> {
    let group = GroupName::parse(name).ok();
    let means = |source: &SourceName, groups: &BTreeSet<GroupName>| {
        source.as_str() == name || group.as_ref().is_some_and(|group| groups.contains(group))
    };
    let sources = input.sources.iter().filter(|source| means(&source.name, &source.groups));
    sources.map(|source| source.name.clone()).collect()
}
