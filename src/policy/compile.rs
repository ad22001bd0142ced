//! From settings to a policy: every mistake at once, and nothing that widens trust by accident.
//!
//! Never takes a rule that it does not understand: one problem refuses the whole policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Policy;
use super::behalf;
use super::callers::Callers;
use super::pattern::{PathPattern, PatternError};
use super::rule::{Resource, Rule};
use super::settings::{FromSettings, ResourceSettings, RuleSettings, TestSettings, TokenType};
use crate::clock::Lifetime;
use crate::identity::{IssuerUrl, SourceName, TrustDomain};
use crate::problem::{Place, Problem};
use crate::trust::SourceSettings;

/// The longest life that a resource may give its tokens. They are self-contained: whoever verifies them offline cannot be told earlier.
pub const LONGEST_LIFETIME: Lifetime = Lifetime::from_hours(24);

/// From here on a lifetime is worth a remark.
const LONG_LIFETIME: Lifetime = Lifetime::from_hours(1);

/// Everything that a policy is made of.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInput<'a> {
    /// Our issuer, which no resource may have as audience.
    pub issuer: &'a IssuerUrl,
    /// The trust domain in which we name callers.
    pub identity_domain: &'a TrustDomain,
    /// The sources that rules speak of.
    pub sources: &'a [SourceSettings],
    /// The resources.
    pub resources: &'a [ResourceSettings],
    /// The rules of all files, in order.
    pub rules: &'a [RuleSettings],
    /// The tests of all files, in order.
    pub tests: &'a [TestSettings],
}

impl Policy {
    /// Compiles and runs the tests. There is a policy exactly when no problem refuses it; lints come either way.
    pub fn compile(input: &PolicyInput<'_>) -> (Option<Self>, Vec<Problem>) {
        let mut problems = Vec::new();
        let resources = compile_resources(input, &mut problems);
        check_resources(input, &mut problems);
        let mut rules = Vec::new();
        let mut by_source: BTreeMap<SourceName, Vec<Arc<Rule>>> = BTreeMap::new();
        for (index, settings) in input.rules.iter().enumerate() {
            let place = Place::element("rules", index);
            check_unique(input.rules, index, &place, &mut problems);
            let Some(rule) = compile_rule(settings, &place, input, &resources, &mut problems) else { continue };
            let rule = Arc::new(rule);
            for source in &rule.from.sources {
                by_source.entry(source.clone()).or_default().push(Arc::clone(&rule));
            }
            rules.push(rule);
        }
        let policy = Self { resources, rules, by_source };
        if refuses(&problems) {
            return (None, problems);
        }
        super::test_cases::run(&policy, input, &mut problems);
        if refuses(&problems) { (None, problems) } else { (Some(policy), problems) }
    }
}

fn refuses(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == crate::problem::Severity::Problem)
}

fn compile_resources(input: &PolicyInput<'_>, problems: &mut Vec<Problem>) -> Vec<Arc<Resource>> {
    let resource = |(index, settings): (usize, &ResourceSettings)| {
        let place = Place::element("resources", index).key("served_by");
        let served_by = settings.served_by.as_ref().map(|from| compile_callers(from, &place, input, problems));
        Arc::new(Resource { settings: settings.clone(), served_by })
    };
    input.resources.iter().enumerate().map(resource).collect()
}

/// Whom `from` or `served_by` speaks of.
fn compile_callers(
    from: &FromSettings,
    place: &Place,
    input: &PolicyInput<'_>,
    problems: &mut Vec<Problem>,
) -> Callers {
    let sources = compile_sources(from, place, input, problems);
    let paths = compile_paths(from, place, problems);
    check_attributes(from, place, input, &sources, problems);
    check_subject(from, place, problems);
    Callers { sources, paths, attributes: from.attributes.clone(), everyone: from.everyone }
}

fn check_resources(input: &PolicyInput<'_>, problems: &mut Vec<Problem>) {
    for (index, resource) in input.resources.iter().enumerate() {
        let place = Place::element("resources", index);
        let earlier = || input.resources.iter().take(index);
        if earlier().any(|other| other.name == resource.name) {
            problems.push(Problem::new(
                place.key("name"),
                format!("there are two resources {}", resource.name),
                "give it a name of its own",
            ));
        }
        if earlier().any(|other| other.audience == resource.audience) {
            problems.push(Problem::new(
                place.key("audience"),
                format!("two resources have the audience {}", resource.audience),
                "one audience is one resource",
            ));
        }
        let accepted = input.sources.iter().filter_map(|source| source.audiences.as_ref()).flatten();
        if resource.audience.as_str() == input.issuer.as_str()
            || accepted.into_iter().any(|own| own == resource.audience.as_str())
        {
            problems.push(Problem::new(
                place.key("audience"),
                "a resource's audience is never our issuer, nor one that a source takes: its tokens would be credentials here",
                "use the URL of the resource",
            ));
        }
        if resource.lifetime > LONGEST_LIFETIME || resource.lifetime < Lifetime::from_seconds(30) {
            problems.push(Problem::new(
                place.key("lifetime"),
                format!("a lifetime is between 30s and {LONGEST_LIFETIME}"),
                "5m is usual",
            ));
        } else if resource.lifetime > LONG_LIFETIME {
            problems.push(Problem::lint(
                place.key("lifetime"),
                format!("tokens that live {} outlive every change of the rules by that much", resource.lifetime),
                "minutes are enough: clients come back by themselves",
            ));
        }
        if resource.typ == TokenType::Jwt {
            problems.push(Problem::lint(
                place.key("typ"),
                "typ: JWT makes its tokens look like any other JWT (RFC 9068 §2.1)",
                "use at+jwt where the verifier takes it",
            ));
        }
    }
}

fn check_unique(rules: &[RuleSettings], index: usize, place: &Place, problems: &mut Vec<Problem>) {
    let Some(rule) = rules.get(index) else { return };
    let mut earlier = rules.iter().take(index);
    if earlier.clone().any(|other| other.name == rule.name) {
        problems.push(Problem::new(
            place.key("name"),
            format!("there are two rules {:?}", rule.name),
            "the name is the sentence; say what is different",
        ));
    }
    // One alias may stand in several rules only if they speak of the same identities (AT-10).
    let Some(alias) = &rule.alias else { return };
    if earlier.any(|other| other.alias.as_ref() == Some(alias) && other.from != rule.from) {
        problems.push(Problem::new(
            place.key("alias"),
            format!("alias {alias:?} belongs to a rule with another from"),
            "one alias is one set of identities: use another alias, or the same from",
        ));
    }
}

fn compile_rule(
    settings: &RuleSettings,
    place: &Place,
    input: &PolicyInput<'_>,
    resources: &[Arc<Resource>],
    problems: &mut Vec<Problem>,
) -> Option<Rule> {
    let before = problems.len();
    let from = compile_callers(&settings.from, &place.key("from"), input, problems);
    check_alias(settings, place, problems);
    let resource = resources.iter().find(|resource| resource.settings.name.as_str() == settings.resource);
    let Some(resource) = resource else {
        problems.push(Problem::new(
            place.key("to").key("resource"),
            format!("there is no resource {:?}", settings.resource),
            "name one of resources",
        ));
        return None;
    };
    let unknown: Vec<String> =
        settings.scopes.missing_from(&resource.settings.scopes).map(|scope| format!("{:?}", scope.as_str())).collect();
    if !unknown.is_empty() {
        problems.push(Problem::new(
            place.key("to").key("scopes"),
            format!("resource {} has no scope {}", resource.settings.name, unknown.join(", ")),
            format!("it has: {}", resource.settings.scopes),
        ));
    }
    if settings.scopes.is_empty() && !resource.settings.scopes.is_empty() {
        problems.push(Problem::new(
            place.key("to").key("scopes"),
            "a rule that grants no scope grants nothing",
            format!("it has: {}", resource.settings.scopes),
        ));
    }
    if let Some(lifetime) = settings.lifetime
        && lifetime < Lifetime::from_seconds(30)
    {
        problems.push(Problem::new(
            place.key("lifetime"),
            "a lifetime is at least 30s",
            "leave it out to use the resource's",
        ));
    }
    let behalf = |behalf| behalf::compile(settings, behalf, &place.key("on_behalf_of"), input, problems);
    let on_behalf_of = settings.on_behalf_of.as_ref().map(behalf);
    (problems.len() == before).then(|| Rule {
        name: Arc::from(settings.name.as_str()),
        from,
        resource: Arc::clone(resource),
        scopes: settings.scopes.clone(),
        mode: settings.mode,
        alias: settings.alias.clone(),
        default: settings.default,
        lifetime: settings.lifetime,
        require: settings.require,
        on_behalf_of,
    })
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

fn check_alias(settings: &RuleSettings, place: &Place, problems: &mut Vec<Problem>) {
    let Some(alias) = &settings.alias else { return };
    let printable = (1..=128).contains(&alias.len()) && alias.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if !printable || alias.to_ascii_lowercase().starts_with("spiffe:") {
        problems.push(Problem::new(
            place.key("alias"),
            "an alias has 1 to 128 printable ASCII characters and never starts with spiffe:",
            "it is the client_id that the workload used before",
        ));
    }
}
