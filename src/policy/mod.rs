//! May they: rules over identities, and the grant that comes out.
//!
//! Pure: no clock, no network, no token text. Denies by default; what is not granted is not there.

mod ask;
mod behalf;
mod callers;
mod compile;
mod evaluate;
mod grant;
mod pattern;
mod rule;
mod settings;
mod test_cases;

pub use ask::Ask;
pub use compile::{LONGEST_LIFETIME, PolicyInput};
pub use evaluate::PolicyTrace;
pub use grant::Grant;
pub use pattern::{PathPattern, PatternError};
pub use settings::{
    Expectation, FromSettings, Mode, OnBehalfOf, Require, ResourceSettings, RuleSettings, TestCaller, TestSettings,
    TokenType,
};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::{Audience, SourceName, WorkloadIdentity};
use rule::{Resource, Rule};

/// Resources and rules of one generation.
#[derive(Debug)]
pub struct Policy {
    resources: Vec<Arc<Resource>>,
    rules: Vec<Arc<Rule>>,
    /// The same rules, under each source that they speak of.
    by_source: BTreeMap<SourceName, Vec<Arc<Rule>>>,
}

impl Policy {
    /// The settings of every resource, in the order of the configuration.
    pub fn resources(&self) -> impl Iterator<Item = &ResourceSettings> {
        self.resources.iter().map(|resource| &resource.settings)
    }

    /// Whether that workload serves the resource with that audience: its tokens are addressed to it (TX-12, INT-04).
    pub fn serves(&self, caller: &WorkloadIdentity, audience: &Audience) -> bool {
        let found = self.resources.iter().find(|resource| resource.settings.audience == *audience);
        found.and_then(|resource| resource.served_by.as_ref()).is_some_and(|callers| callers.cover(caller))
    }
}

#[cfg(test)]
mod tests;
