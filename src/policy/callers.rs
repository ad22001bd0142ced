//! Which identities a rule or a resource speaks of, ready to match.
//!
//! Whole values match; a missing attribute matches nothing, and nothing at all matches who names nobody.

use std::collections::{BTreeMap, BTreeSet};

use super::pattern::PathPattern;
use crate::identity::{AttributeName, SourceName, WorkloadIdentity};
use crate::reason::any_of;

/// Identities by source, path and attributes: all that is there must match.
#[derive(Debug)]
pub(super) struct Callers {
    pub(super) sources: BTreeSet<SourceName>,
    pub(super) paths: Vec<PathPattern>,
    pub(super) attributes: BTreeMap<AttributeName, Vec<String>>,
    pub(super) everyone: bool,
}

impl Callers {
    /// Whether that caller is one of them.
    pub(super) fn cover(&self, caller: &WorkloadIdentity) -> bool {
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
}

/// A field that a caller does not meet.
pub(super) enum Unmet<'a> {
    Source,
    Path,
    Attribute(&'a AttributeName, &'a [String]),
    /// Nobody is named.
    Subject,
}

/// One field in which a caller differs from what is named.
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
