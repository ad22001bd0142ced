//! From settings to a policy: every mistake at once, and nothing that widens trust by accident.
//!
//! Never takes a rule that it does not understand: one problem refuses the whole policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Policy;
use super::callers::Callers;
use super::rule::{Delegation, Resource, Rule};
use super::settings::{ResourceSettings, RuleSettings, TestSettings, TokenType};
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
    /// The issuers of people, for whom rules let workloads act.
    pub subjects: &'a [SourceSettings],
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
        check_resources(input, &mut problems);
        let resources = compile_resources(input, &mut problems);
        let mut rules = Vec::new();
        let mut by_source: BTreeMap<SourceName, Vec<Arc<Rule>>> = BTreeMap::new();
        for (index, settings) in input.rules.iter().enumerate() {
            let place = Place::element("rules", index);
            check_unique(input.rules, index, &place, &mut problems);
            let Some(rule) = compile_rule(settings, &place, input, &resources, &mut problems) else { continue };
            problems.extend(super::forgeable::lint(&rule, &place, input));
            let rule = Arc::new(rule);
            for source in &rule.callers.sources {
                by_source.entry(source.clone()).or_default().push(Arc::clone(&rule));
            }
            rules.push(rule);
        }
        let policy = Self { resources, rules, by_source, issuer: input.issuer.clone() };
        if refuses(&problems) {
            return (None, problems);
        }
        super::test_cases::run(&policy, input, &mut problems);
        if refuses(&problems) { (None, problems) } else { (Some(policy), problems) }
    }
}

fn compile_resources(input: &PolicyInput<'_>, problems: &mut Vec<Problem>) -> Vec<Arc<Resource>> {
    let resources = input.resources.iter().enumerate().map(|(index, settings)| {
        let place = Place::element("resources", index).key("served_by");
        let served_by = settings.served_by.as_ref().map(|from| Callers::compile(from, &place, input, problems));
        Arc::new(Resource { settings: settings.clone(), served_by })
    });
    resources.collect()
}

fn refuses(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == crate::problem::Severity::Problem)
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
    let callers = Callers::compile(&settings.from, &place.key("from"), input, problems);
    let on_behalf_of = settings
        .on_behalf_of
        .as_ref()
        .map(|settings| Delegation::compile(settings, &place.key("on_behalf_of"), input, problems));
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
    (problems.len() == before).then(|| Rule {
        name: Arc::from(settings.name.as_str()),
        callers,
        on_behalf_of,
        resource: Arc::clone(resource),
        scopes: settings.scopes.clone(),
        mode: settings.mode,
        alias: settings.alias.clone(),
        default: settings.default,
        lifetime: settings.lifetime,
        require: settings.require,
    })
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
