//! Compiled resources and rules.
//!
//! A rule matches whole values; a missing attribute matches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pattern::PathPattern;
use super::settings::{Mode, ResourceSettings};
use crate::clock::Lifetime;
use crate::identity::{AttributeName, ScopeSet, SourceName, WorkloadIdentity};

/// A resource with the place it has in the policy.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) settings: ResourceSettings,
}

/// A rule, ready to match.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) sources: BTreeSet<SourceName>,
    pub(super) paths: Vec<PathPattern>,
    pub(super) attributes: BTreeMap<AttributeName, Vec<String>>,
    pub(super) everyone: bool,
    pub(super) resource: Arc<Resource>,
    pub(super) scopes: ScopeSet,
    pub(super) mode: Mode,
    pub(super) alias: Option<String>,
    pub(super) default: bool,
    pub(super) lifetime: Option<Lifetime>,
}

impl Rule {
    /// Whether the rule speaks of that caller. The source is compared first; the index has done so already.
    pub(super) fn covers(&self, caller: &WorkloadIdentity) -> bool {
        self.differences(caller).next().is_none()
    }

    /// What of the rule the caller does not meet, for the operator: never shown to the caller.
    pub(super) fn differences<'a>(&'a self, caller: &'a WorkloadIdentity) -> impl Iterator<Item = Difference> + 'a {
        let source = (!self.sources.contains(&caller.source)).then(|| {
            let sources: Vec<&str> = self.sources.iter().map(SourceName::as_str).collect();
            Difference::of("source", caller.source.as_str(), sources.join(" or "))
        });
        let path =
            (!self.paths.is_empty() && !self.paths.iter().any(|pattern| pattern.matches(&caller.id))).then(|| {
                let patterns: Vec<String> = self.paths.iter().map(PathPattern::to_string).collect();
                Difference::of("path", caller.id.path(), patterns.join(" or "))
            });
        let attributes = self.attributes.iter().filter_map(|(name, wanted)| {
            let found = caller.attributes.get(name);
            let meets = found.is_some_and(|found| wanted.iter().any(|value| value == found));
            (!meets).then(|| Difference::of(name.as_str(), found.unwrap_or("(none)"), wanted.join(" or ")))
        });
        let nobody = (!self.everyone && self.paths.is_empty() && self.attributes.is_empty())
            .then(|| Difference::of("subject", caller.id.as_str(), "nobody".to_owned()));
        source.into_iter().chain(path).chain(attributes).chain(nobody)
    }
}

/// One field in which a caller differs from a rule.
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
