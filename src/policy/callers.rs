//! Whom a rule speaks of, and who serves a resource: one matcher for both.
//!
//! Matches whole values; a missing attribute matches nothing, and a field that a source can never have is a mistake at load.

use std::collections::{BTreeMap, BTreeSet};

use super::compile::PolicyInput;
use super::pattern::{PathPattern, PatternError};
use super::settings::FromSettings;
use crate::identity::{AttributeName, SourceName, WorkloadIdentity};
use crate::problem::{Place, Problem};
use crate::reason::any_of;
use crate::trust::SourceSettings;

/// A set of callers, ready to match.
#[derive(Debug)]
pub(super) struct Callers {
    pub(super) sources: BTreeSet<SourceName>,
    pub(super) paths: Vec<PathPattern>,
    pub(super) attributes: BTreeMap<AttributeName, Vec<String>>,
    pub(super) everyone: bool,
}

impl Callers {
    /// Whether that caller is one of them.
    pub(super) fn covers(&self, caller: &WorkloadIdentity) -> bool {
        self.unmet(caller).next().is_none()
    }

    /// The fields that the caller does not meet. Builds no text: a refusal asks every rule of a resource.
    pub(super) fn unmet<'a>(&'a self, caller: &'a WorkloadIdentity) -> impl Iterator<Item = Unmet<'a>> {
        let source = (!self.sources.contains(&caller.source)).then_some(Unmet::Source);
        let path = !self.paths.is_empty() && !self.paths.iter().any(|pattern| pattern.matches(&caller.id));
        let attributes = self.attributes.iter().filter_map(|(name, wanted)| {
            let found = caller.attributes.get(name);
            let meets = found.is_some_and(|found| wanted.iter().any(|value| value == found));
            (!meets).then_some(Unmet::Attribute(name, wanted))
        });
        let nobody = !self.everyone && self.paths.is_empty() && self.attributes.is_empty();
        source.into_iter().chain(path.then_some(Unmet::Path)).chain(attributes).chain(nobody.then_some(Unmet::Subject))
    }

    /// The same in words, for the operator: never shown to the caller.
    pub(super) fn differences(&self, caller: &WorkloadIdentity) -> Vec<Difference> {
        let difference = |unmet: Unmet<'_>| match unmet {
            Unmet::Source => {
                Difference::of("source", caller.source.as_str(), any_of(self.sources.iter().map(SourceName::as_str)))
            }
            Unmet::Path => Difference::of("path", caller.id.path(), any_of(&self.paths)),
            Unmet::Attribute(name, wanted) => {
                Difference::of(name.as_str(), caller.attributes.get(name).unwrap_or("(none)"), any_of(wanted))
            }
            Unmet::Subject => Difference::of("subject", caller.id.as_str(), "nobody".to_owned()),
        };
        self.unmet(caller).map(difference).collect()
    }

    /// Compiles what is configured, and says everything that is wrong with it.
    pub(super) fn compile(
        from: &FromSettings,
        place: &Place,
        input: &PolicyInput<'_>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let sources = compile_sources(from, place, input, problems);
        let paths = compile_paths(from, place, problems);
        check_attributes(from, place, input, &sources, problems);
        check_subject(from, place, problems);
        Self { sources, paths, attributes: from.attributes.clone(), everyone: from.everyone }
    }
}

/// A field that a caller does not meet.
pub(super) enum Unmet<'a> {
    Source,
    Path,
    Attribute(&'a AttributeName, &'a [String]),
    /// Nobody is named.
    Subject,
}

/// One field in which a caller differs from them.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) field: String,
    pub(super) found: String,
    pub(super) wanted: String,
}

impl Difference {
    fn of(field: &str, found: &str, wanted: String) -> Self {
        Self { field: field.to_owned(), found: found.to_owned(), wanted }
    }
}

fn compile_sources(
    from: &FromSettings,
    place: &Place,
    input: &PolicyInput<'_>,
    problems: &mut Vec<Problem>,
) -> BTreeSet<SourceName> {
    let mut sources = BTreeSet::new();
    for name in &from.sources {
        if input.sources.iter().any(|source| source.name == *name) {
            sources.insert(name.clone());
        } else {
            problems.push(Problem::new(place.key("source"), format!("there is no source {name}"), "name one of trust"));
        }
    }
    for group in &from.groups {
        let members = input.sources.iter().filter(|source| source.groups.contains(group));
        let before = sources.len();
        sources.extend(members.map(|source| source.name.clone()));
        if sources.len() == before && !input.sources.iter().any(|source| source.groups.contains(group)) {
            problems.push(Problem::new(
                place.key("group"),
                format!("no source is in group {group}"),
                "add groups: […] to the sources that are",
            ));
        }
    }
    if from.sources.is_empty() && from.groups.is_empty() {
        problems.push(Problem::new(
            place.clone(),
            "a rule names a source or a group: without one, any platform could make the identity",
            "add source: or group:",
        ));
    }
    sources
}

fn compile_paths(from: &FromSettings, place: &Place, problems: &mut Vec<Problem>) -> Vec<PathPattern> {
    let mut paths = Vec::new();
    for text in &from.paths {
        match PathPattern::parse(text) {
            Ok(pattern) => paths.push(pattern),
            Err(why @ PatternError::Everyone) => {
                problems.push(Problem::new(
                    place.key("path"),
                    why.to_string(),
                    "who means every workload of the source writes everyone: true",
                ));
            }
            Err(why @ PatternError::Form) => {
                problems.push(Problem::new(place.key("path"), format!("{text:?}: {why}"), ""));
            }
        }
    }
    paths
}

/// A field that a named source can never have would make a rule that never matches: a mistake.
fn check_attributes(
    from: &FromSettings,
    place: &Place,
    input: &PolicyInput<'_>,
    sources: &BTreeSet<SourceName>,
    problems: &mut Vec<Problem>,
) {
    for (name, values) in &from.attributes {
        if values.is_empty() {
            problems.push(Problem::new(
                place.key(name.as_str()),
                format!("{name} has no value"),
                "an empty list matches nobody",
            ));
        }
        for value in values.iter().filter(|value| value.contains('*')) {
            problems.push(Problem::new(
                place.key(name.as_str()),
                format!("{name}: {value:?} is compared exactly, and nothing has a star in it"),
                "list the values; only path: takes *, as one whole segment",
            ));
        }
        let without: Vec<&SourceSettings> = input
            .sources
            .iter()
            .filter(|source| sources.contains(&source.name) && !source.attribute_names().contains(name))
            .collect();
        if let Some(source) = without.first() {
            let has: Vec<String> = source.attribute_names().iter().map(ToString::to_string).collect();
            problems.push(Problem::new(
                place.key(name.as_str()),
                format!("callers of source {} never have {name}", source.name),
                format!("they have: path, {}", has.join(", ")),
            ));
        }
    }
}

fn check_subject(from: &FromSettings, place: &Place, problems: &mut Vec<Problem>) {
    let narrowed = !from.paths.is_empty() || !from.attributes.is_empty();
    if from.everyone && narrowed {
        problems.push(Problem::new(
            place.key("everyone"),
            "everyone: true and a narrower field contradict each other",
            "keep one of them",
        ));
    }
    if !from.everyone && !narrowed {
        problems.push(Problem::new(
            place.clone(),
            "a rule names at least one field of the caller",
            "for example namespace: shop; who means every workload of the source writes everyone: true",
        ));
    }
}
