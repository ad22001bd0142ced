//! Which claims of the well-known CI systems say who it is for good, which only look so, and which tell a pull request from the rest.
//!
//! Remarks alone come of it: a platform that is not in the table is taken as it is configured.

use std::fmt;

use super::{SourceKind, SourceSettings};
use crate::identity::{AttributeName, IdentityTemplate};
use crate::problem::{Place, Problem};

/// What is known of a CI system's claims.
#[derive(Debug)]
pub struct Platform {
    name: &'static str,
    /// Its public issuer; others begin or end so.
    issuer: Issuer,
    /// Claims that no other platform of the table has: installations of one's own have issuers that nobody can list.
    telling: &'static [&'static str],
    /// Claims that are given once and never to anybody else.
    ids: &'static [&'static str],
    /// Claims with names that can be changed and taken over, and what says the same for good.
    names: &'static [(&'static str, &'static str)],
    /// Claims that say which run it is, and whose author may choose them.
    chosen: &'static [&'static str],
    /// Claims that differ between what is merged or released and what a pull request runs.
    guards: &'static [&'static str],
    /// How the values of guards begin that pull requests have.
    of_pull_requests: &'static [&'static str],
}

#[derive(Debug)]
enum Issuer {
    Begins(&'static str),
    BeginsOrEnds(&'static str, &'static str),
}

const PLATFORMS: [Platform; 3] = [
    // docs.github.com, "OpenID Connect reference".
    Platform {
        name: "GitHub Actions",
        issuer: Issuer::BeginsOrEnds("https://token.actions.githubusercontent.com", "/_services/token"),
        telling: &["repository_id", "repository", "job_workflow_ref", "repository_owner"],
        ids: &["repository_id", "repository_owner_id", "enterprise_id"],
        names: &[
            ("sub", "repository_id"),
            ("repository", "repository_id"),
            ("repository_owner", "repository_owner_id"),
            ("enterprise", "enterprise_id"),
            ("actor", "repository_id"),
            ("actor_id", "repository_id"),
        ],
        chosen: &["ref", "head_ref", "base_ref", "workflow", "workflow_ref", "job_workflow_ref", "event_name", "sha"],
        guards: &[
            "environment",
            "ref",
            "ref_protected",
            "event_name",
            "job_workflow_ref",
            "workflow_ref",
            "job_workflow_sha",
        ],
        of_pull_requests: &["refs/pull/", "pull_request", "false"],
    },
    // docs.gitlab.com, "OpenID Connect (OIDC) Authentication Using ID Tokens".
    Platform {
        name: "GitLab CI/CD",
        issuer: Issuer::Begins("https://gitlab.com"),
        telling: &["project_id", "project_path", "namespace_id", "namespace_path", "ci_config_ref_uri"],
        ids: &["project_id", "namespace_id"],
        names: &[
            ("sub", "project_id"),
            ("project_path", "project_id"),
            ("namespace_path", "namespace_id"),
            ("user_id", "project_id"),
            ("user_login", "project_id"),
            ("user_email", "project_id"),
        ],
        chosen: &["ref", "ref_path", "pipeline_source", "ci_config_ref_uri", "sha"],
        // A branch of a fork may have any name: that it is protected is what a merge request cannot bring about.
        guards: &["ref_protected", "environment_protected", "environment"],
        of_pull_requests: &["false"],
    },
    // buildkite.com/docs, "OIDC with Buildkite"; the ids come with `--claim organization_id,pipeline_id`.
    Platform {
        name: "Buildkite",
        issuer: Issuer::Begins("https://agent.buildkite.com"),
        telling: &["organization_slug", "pipeline_slug", "build_branch", "build_source"],
        ids: &["pipeline_id", "organization_id"],
        names: &[("sub", "pipeline_id"), ("organization_slug", "organization_id"), ("pipeline_slug", "pipeline_id")],
        chosen: &["build_branch", "build_tag", "build_source", "build_commit", "step_key"],
        guards: &["build_branch", "build_tag"],
        of_pull_requests: &[],
    },
];

impl Platform {
    /// The platform of a source, by its issuers, else by the claims that it lists.
    pub fn of(source: &SourceSettings) -> Option<&'static Self> {
        let SourceKind::Oidc { issuers, claims, .. } = &source.kind else { return None };
        let by_issuer = |platform: &&Self| issuers.iter().any(|issuer| platform.issuer.fits(issuer));
        let by_claim = |platform: &&Self| claims.iter().any(|claim| platform.telling.contains(&claim.as_str()));
        PLATFORMS.iter().find(by_issuer).or_else(|| PLATFORMS.iter().find(by_claim))
    }

    /// What says the same as a name that can be changed and taken over.
    pub fn lasting(&self, claim: &AttributeName) -> Option<&'static str> {
        self.names.iter().find(|(name, _)| *name == claim.as_str()).map(|(_, instead)| *instead)
    }

    /// Whether whoever wrote what runs may choose the claim.
    fn is_chosen(&self, claim: &AttributeName) -> bool {
        self.chosen.contains(&claim.as_str())
    }

    /// Whether a claim says who it is, and for good.
    pub fn is_id(&self, claim: &AttributeName) -> bool {
        self.ids.contains(&claim.as_str())
    }

    /// Whether these values of a claim are none that a pull request has.
    pub fn keeps_pull_requests_out(&self, claim: &AttributeName, values: &[String]) -> bool {
        let is_of_pull_request = |value: &String| self.of_pull_requests.iter().any(|begin| value.starts_with(begin));
        self.guards.contains(&claim.as_str()) && !values.iter().any(is_of_pull_request)
    }

    /// The claims that say who it is, for a hint.
    pub fn ids(&self) -> String {
        self.ids.join(" or ")
    }

    /// The claims that keep pull requests out, for a hint.
    pub fn guards(&self) -> String {
        self.guards.iter().take(3).copied().collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Issuer {
    fn fits(&self, issuer: &str) -> bool {
        let begins =
            |begin: &str| issuer.strip_prefix(begin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match self {
            Self::Begins(begin) => begins(begin),
            Self::BeginsOrEnds(begin, end) => begins(begin) || issuer.ends_with(end),
        }
    }
}

/// Remarks on an identity that is made of claims which change hands, or which a pull request chooses.
pub(super) fn lint_template(source: &SourceSettings, template: &IdentityTemplate, place: &Place) -> Vec<Problem> {
    let Some(platform) = Platform::of(source) else { return Vec::new() };
    let mut problems = Vec::new();
    for name in template.names() {
        let (why, hint) = if let Some(lasting) = platform.lasting(name) {
            ("can be changed and taken over", format!("{{{lasting}}} is given once"))
        } else if platform.is_chosen(name) {
            ("may be chosen by a pull request", "compare it in the rules that need it".to_owned())
        } else {
            continue;
        };
        problems.push(Problem::lint(place.clone(), format!("{{{name}}} of {platform} {why}"), hint));
    }
    if problems.is_empty() && !template.names().any(|name| platform.is_id(name)) {
        problems.push(Problem::lint(
            place.clone(),
            format!("nothing in this template says for good whose job of {platform} it is"),
            format!("make the identity of {}", platform.ids()),
        ));
    }
    problems
}
