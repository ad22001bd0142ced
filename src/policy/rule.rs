//! Compiled resources and rules.
//!
//! A rule speaks either of those who act for themselves or of those who act for others, and never of both.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::callers::Callers;
use super::settings::{Mode, Require, ResourceSettings};
use crate::clock::Lifetime;
use crate::identity::{ScopeSet, SourceName};
use crate::verify::Subject;

/// A resource with the place it has in the policy.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) settings: ResourceSettings,
    /// The workload that serves it.
    pub(super) served_by: Option<Callers>,
}

/// A rule, ready to match.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) callers: Callers,
    pub(super) on_behalf_of: Option<Delegation>,
    pub(super) resource: Arc<Resource>,
    pub(super) scopes: ScopeSet,
    pub(super) mode: Mode,
    pub(super) alias: Option<String>,
    pub(super) default: bool,
    pub(super) lifetime: Option<Lifetime>,
    pub(super) require: Require,
}

/// For whom the callers of a rule may act.
#[derive(Debug)]
pub(super) struct Delegation {
    /// The sources whose subjects these are: trust sources, and issuers of people.
    pub(super) subjects: BTreeSet<SourceName>,
    /// The longest chain of actors, the caller included.
    pub(super) depth: usize,
    /// A narrower bound for the scopes.
    pub(super) scopes: Option<ScopeSet>,
    pub(super) impersonate: bool,
}

/// Whether a rule speaks of acting for a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Yes,
    /// It would, were the chain of actors not longer than it allows.
    TooDeep,
    No,
}

impl Rule {
    /// Whether it speaks of those who act for `subject`, or for themselves.
    pub(super) fn speaks_of(&self, subject: Option<&Subject>) -> Speaks {
        match (&self.on_behalf_of, subject) {
            (None, None) => Speaks::Yes,
            (Some(delegation), Some(subject)) if delegation.subjects.contains(subject.who.source()) => {
                match subject.acted_by.len() < delegation.depth {
                    true => Speaks::Yes,
                    false => Speaks::TooDeep,
                }
            }
            _ => Speaks::No,
        }
    }

    /// The scopes that it grants.
    pub(super) fn granted(&self) -> ScopeSet {
        match self.on_behalf_of.as_ref().and_then(|delegation| delegation.scopes.as_ref()) {
            Some(bound) => self.scopes.intersection(bound),
            None => self.scopes.clone(),
        }
    }
}
