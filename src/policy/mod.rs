//! May they: rules over identities, and the grant that comes out.
//!
//! Pure: no clock, no network, no token text. Denies by default; what is not granted is not there.

mod ask;
mod compile;
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
pub use grant::Grant;
pub use pattern::{PathPattern, PatternError};
pub use settings::{
    Expectation, FromSettings, Mode, OnBehalfOf, Require, ResourceSettings, RuleSettings, TestCaller, TestSettings,
    TokenType,
};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::SourceName;
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
}

#[cfg(test)]
mod tests;
