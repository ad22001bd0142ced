//! Remarks on rules about CI jobs that name who it is by what changes hands, or that a pull request fulfils as well.
//!
//! Refuses nothing: whether a repository takes pull requests from strangers is not known here.

use super::compile::PolicyInput;
use super::rule::Rule;
use crate::problem::{Place, Problem};
use crate::trust::{Platform, SourceSettings};

/// What is worth a look in a rule.
pub(super) fn lint(rule: &Rule, place: &Place, input: &PolicyInput<'_>) -> Vec<Problem> {
    let sources = input.sources.iter().filter(|source| rule.callers.sources.contains(&source.name));
    sources
        .filter_map(|source| Platform::of(source).map(|platform| (source, platform)))
        .flat_map(|(source, platform)| [whose_job(rule, source, platform, place), which_run(rule, platform, place)])
        .flatten()
        .collect()
}

/// A CI system signs for everybody who uses it: the rule says for good whose job it is, or a path does.
fn whose_job(rule: &Rule, source: &SourceSettings, platform: &Platform, place: &Place) -> Option<Problem> {
    let has_id = rule.callers.attributes.keys().any(|name| platform.is_id(name));
    let path_has_id = source.identity.iter().flat_map(|template| template.names()).any(|name| platform.is_id(name));
    if has_id || (path_has_id && !rule.callers.paths.is_empty()) {
        return None;
    }
    let named = rule.callers.attributes.keys().find_map(|name| platform.lasting(name).map(|lasting| (name, lasting)));
    Some(match named {
        Some((name, lasting)) => Problem::lint(
            place.key("from").key(name.as_str()),
            format!("{name} of {platform} can change hands: somebody else may have it tomorrow"),
            format!("compare {lasting}, which is given once"),
        ),
        None => Problem::lint(
            place.key("from"),
            format!("this rule is for jobs of everybody who uses {platform}"),
            format!("compare {}", platform.ids()),
        ),
    })
}

/// A pull request runs what its author wrote, under the same repository.
fn which_run(rule: &Rule, platform: &Platform, place: &Place) -> Option<Problem> {
    if rule.callers.attributes.iter().any(|(name, values)| platform.keeps_pull_requests_out(name, values)) {
        return None;
    }
    Some(Problem::lint(
        place.key("from"),
        format!("a pull request of {platform} may fulfil this rule: it runs what its author wrote"),
        format!("compare what only merged code has: {}", platform.guards()),
    ))
}
