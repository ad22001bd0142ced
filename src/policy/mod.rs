//! May they: rules over identities, and the grant that comes out.
//!
//! Pure: no clock, no network, no token text. Denies by default; what is not granted is not there.

mod ask;
mod callers;
mod compile;
mod delegation;
mod evaluate;
mod forgeable;
mod grant;
mod pattern;
mod rule;
mod settings;
mod test_cases;

pub use ask::Ask;
pub use compile::{LONGEST_LIFETIME, PolicyInput};
pub use evaluate::PolicyTrace;
pub use grant::{Grant, GrantSubject};
pub use pattern::{PathPattern, PatternError};
pub use settings::{
    Expectation, FromSettings, Mode, OnBehalfOf, Require, ResourceSettings, RuleSettings, TestCaller, TestSettings,
    TokenType,
};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::{IssuerUrl, SourceName, WorkloadIdentity};
use rule::{Resource, Rule};

/// Resources and rules of one generation.
#[derive(Debug)]
pub struct Policy {
    resources: Vec<Arc<Resource>>,
    rules: Vec<Arc<Rule>>,
    issuer: IssuerUrl,
    /// The same rules, under each source that they speak of.
    by_source: BTreeMap<SourceName, Vec<Arc<Rule>>>,
}

impl Policy {
    /// The settings of every resource, in the order of the configuration.
    pub fn resources(&self) -> impl Iterator<Item = &ResourceSettings> {
        self.resources.iter().map(|resource| &resource.settings)
    }

    /// Whether a caller is the workload that serves the resource with that audience: who may introspect its tokens (INT-04).
    pub fn serves(&self, caller: &WorkloadIdentity, audience: &str) -> bool {
        self.resources.iter().any(|resource| resource.is_served_by(audience, caller))
    }
}

#[cfg(test)]
mod tests;
