//! Compiled resources and rules.
//!
//! A rule either grants to those who act for themselves, or to those who act for others, and never both.

use std::sync::Arc;

use super::behalf::Behalf;
use super::callers::Callers;
use super::settings::{Mode, Require, ResourceSettings};
use crate::clock::Lifetime;
use crate::identity::{ScopeSet, WorkloadIdentity};

/// A resource with the place it has in the policy.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) settings: ResourceSettings,
    /// The workloads that serve it.
    pub(super) served_by: Option<Callers>,
}

/// A rule, ready to match.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) from: Callers,
    pub(super) resource: Arc<Resource>,
    pub(super) scopes: ScopeSet,
    pub(super) mode: Mode,
    pub(super) alias: Option<String>,
    pub(super) default: bool,
    pub(super) lifetime: Option<Lifetime>,
    pub(super) require: Require,
    /// Whom its callers act for; without it they act for themselves.
    pub(super) on_behalf_of: Option<Behalf>,
}

impl Rule {
    /// Whether the rule speaks of that caller. The source is compared first; the index has done so already.
    pub(super) fn covers(&self, caller: &WorkloadIdentity) -> bool {
        self.from.cover(caller)
    }
}
