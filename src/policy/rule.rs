//! Compiled resources and rules.
//!
//! A rule matches whole values; a missing attribute matches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pattern::PathPattern;
use super::settings::{Mode, Require, ResourceSettings};
use crate::clock::Lifetime;
use crate::identity::{AttributeName, ScopeSet, SourceName, WorkloadIdentity};
use crate::reason::any_of;

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
    pub(super) require: Require,
}

impl Rule {
    /// Whether the rule speaks of that caller. The source is compared first; the index has done so already.
    pub(super) fn covers(&self, caller: &WorkloadIdentity) -> bool {
        self.unmet(caller).next().is_none()
    }

    /// The fields of the rule that the caller does not meet. Builds no text: a refusal asks every rule of a resource.
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
}

/// A field of a rule that a caller does not meet.
pub(super) enum Unmet<'a> {
    Source,
    Path,
    Attribute(&'a AttributeName, &'a [String]),
    /// The rule names nobody.
    Subject,
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
