//! Decides whether the settings fit each other: it asks the modules that own them, and gives their problems lines and columns.
//!
//! Must never report what follows from a problem that is reported already.

use super::build::Built;
use super::ledger::{Ledger, Said};
use super::load::{Opened, Parts};
use super::place::{Place, PlaceId, nearest};
use crate::identity::{IssuerUrl, TrustDomain};
use crate::policy::{Policy, PolicyInput};
use crate::problem::{Problem, Step};
use crate::reason::quoted;
use crate::trust::{self, SourceKind, SourceSettings, SpiffeKeys};

/// Stand in where our own name is bad and reported: nothing is equal to them, so nothing is said because of them.
const NO_ISSUER: &str = "https://issuer.invalid";
const NO_DOMAIN: &str = "identity-domain.invalid";

/// Runs every check that looks at more than one value, over whatever could be built.
pub(super) fn run(parts: &Parts, opened: &Opened, ledger: &Ledger) {
    let issuer = parts.names.issuer.clone().or_else(|| IssuerUrl::parse(NO_ISSUER).ok());
    let domain = parts.names.identity_domain.clone().or_else(|| TrustDomain::parse(NO_DOMAIN).ok());
    let (Some(issuer), Some(domain)) = (issuer, domain) else { return };
    if parts.resources.whole {
        only_names_resources(parts, ledger);
    }
    if parts.sources.whole {
        only_agents_give_svids(parts, ledger);
    }
    let (sources, subjects, resources) = (parts.sources.values(), parts.subjects.values(), parts.resources.values());
    let (rules, tests) = (parts.rules.values(), parts.tests.values());
    // Tests of a policy that is not whole would fail for reasons that are reported already.
    let whole = ledger.problems() == 0;
    let input = PolicyInput {
        issuer: &issuer,
        identity_domain: &domain,
        sources: &sources,
        subjects: &subjects,
        resources: &resources,
        rules: &rules,
        tests: if whole { &tests } else { &[] },
    };
    let mut problems = trust::check(&sources, &subjects, &issuer, &domain);
    problems.extend(trust::check_key_files("trust", &sources));
    problems.extend(trust::check_key_files("subjects", &subjects));
    problems.extend(Policy::compile(&input).1);
    for problem in problems.into_iter().filter(|problem| !follows(problem, parts)) {
        tell(problem, parts, opened, ledger);
    }
}

/// Does the problem come of a source or resource that is there, but was bad and could not be built?
fn follows(problem: &Problem, parts: &Parts) -> bool {
    let Some(Step::Key(last)) = problem.place.steps().iter().rfind(|step| matches!(step, Step::Key(_))) else {
        return false;
    };
    match last.as_str() {
        "source" | "group" | "shares_identities_with" => !parts.sources.whole,
        "resource" => !parts.resources.whole,
        _ => false,
    }
}

/// `listen.tls.spiffe` names a source that has a Workload API.
fn only_agents_give_svids(parts: &Parts, ledger: &Ledger) {
    let Some((name, at)) = &parts.names.svid_of else { return };
    let has_agent = |source: &SourceSettings| {
        source.name == *name && matches!(source.kind, SourceKind::Spiffe { keys: SpiffeKeys::WorkloadApi(_), .. })
    };
    if !parts.sources.made.iter().any(|(source, _)| has_agent(source)) {
        let said = Said::new(format!("there is no source {name} with a `workload_api`"));
        ledger.problem(*at, said.hint("name the trust domain whose agent gives this process its X.509-SVID"));
    }
}

fn only_names_resources(parts: &Parts, ledger: &Ledger) {
    for (name, at) in &parts.only {
        if !parts.resources.made.iter().any(|(resource, _)| resource.name.as_str() == name) {
            ledger.problem(*at, Said::new(format!("there is no resource {}", quoted(name))));
        }
    }
}

/// Writes a module's problem down at its line: lists are counted over all files, and each element knows where it came from.
fn tell(problem: Problem, parts: &Parts, opened: &Opened, ledger: &Ledger) {
    let steps = problem.place.steps();
    let (element, rest) = match steps {
        [Step::Key(section), Step::Index(index), rest @ ..] => (element(parts, section, *index), rest),
        _ => (None, steps),
    };
    let mut place = element.map_or_else(|| Place::file(0), |at| ledger.get(at));
    place.path.extend(rest.iter().cloned());
    if let Some(tree) = opened.tree(place.file) {
        place.span = nearest(tree, &place.path);
    }
    let hint = Some(problem.hint).filter(|hint| !hint.is_empty());
    ledger.say(problem.severity, place, Said::new(problem.message).maybe_hint(hint));
}

fn element(parts: &Parts, section: &str, index: usize) -> Option<PlaceId> {
    fn at<T>(built: &Built<T>, index: usize) -> Option<PlaceId> {
        built.made.get(index).map(|(_, at)| *at)
    }
    match section {
        "trust" => at(&parts.sources, index),
        "subjects" => at(&parts.subjects, index),
        "resources" => at(&parts.resources, index),
        "rules" => at(&parts.rules, index),
        "tests" => at(&parts.tests, index),
        _ => None,
    }
}
