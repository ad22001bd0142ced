//! The outage budget: until when nobody is refused, if a source stays away from now on.
//!
//! Looks at what is held now. A key that the source makes meanwhile is unknown here, and whoever shows it is refused sooner.

use super::status::SourceStatus;
use super::{Extension, TrustedSource};
use crate::clock::Timestamp;
use crate::identity::SourceName;

/// The moment of the first refusal, and what makes it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutageBudget {
    /// Until then nobody whose keys are known is refused. Now, or before, when callers are refused already.
    pub until: Timestamp,
    /// What ends then.
    pub ends: BudgetEnd,
}

/// What ends an outage budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetEnd {
    /// There are no keys: none were ever brought, or all are withdrawn.
    NoKeys,
    /// `max_stale` since the last confirmation.
    MaxStale,
    /// An operator's extension.
    Extension,
    /// The time that an agent's keys serve after it said PERMISSION_DENIED (WAP-09).
    AgentDenied,
    /// The last X.509 authority's own validity.
    Authority,
}

impl BudgetEnd {
    /// The word in answers for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoKeys => "no_keys",
            Self::MaxStale => "max_stale",
            Self::Extension => "extension",
            Self::AgentDenied => "agent_denied",
            Self::Authority => "x509_authority",
        }
    }
}

/// The earliest of all budgets, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstFailure {
    /// When; not after now, when callers are refused already.
    pub at: Timestamp,
    /// The sources that run out then, in the order of the configuration; all that have run out, when there are any.
    pub sources: Vec<SourceName>,
}

impl FirstFailure {
    /// Of all sources; `None` without any.
    pub fn of(sources: &[SourceStatus], now: Timestamp) -> Option<Self> {
        let at = sources.iter().map(|source| source.budget.until).min()?;
        let fails = |source: &&SourceStatus| source.budget.until <= at.max(now);
        Some(Self { at, sources: sources.iter().filter(fails).map(|source| source.name.clone()).collect() })
    }
}

impl TrustedSource {
    /// Until when keys serve that were confirmed at `confirmed_at`.
    pub(super) fn deadline(&self, confirmed_at: Timestamp, at: Timestamp) -> Timestamp {
        let extension = self.keys.extension.load();
        Extension::deadline(extension.as_deref(), confirmed_at, self.settings.max_stale, at)
    }

    /// The moment at which the first caller is refused when the source stays away from `at` on.
    pub(super) fn budget(&self, at: Timestamp) -> OutageBudget {
        let ends = [self.jwt_budget(at), self.x509_budget(at)];
        let none = OutageBudget { until: at, ends: BudgetEnd::NoKeys };
        ends.into_iter().flatten().min_by_key(|budget| budget.until).unwrap_or(none)
    }

    fn jwt_budget(&self, at: Timestamp) -> Option<OutageBudget> {
        let held = self.keys.held()?;
        let now = held.at(at);
        if now.set.keys().is_empty() {
            return None;
        }
        let confirmed = self.confirmed(now.confirmed_at, at);
        let denied = held.ends.map(|until| OutageBudget { until, ends: BudgetEnd::AgentDenied });
        denied.into_iter().chain([confirmed]).min_by_key(|budget| budget.until)
    }

    fn x509_budget(&self, at: Timestamp) -> Option<OutageBudget> {
        let (set, confirmed_at) = self.keys.authorities.at(at)?;
        let last = set.all().iter().map(super::Authority::until).max()?;
        let denied = self.keys.authorities.ends().map(|until| OutageBudget { until, ends: BudgetEnd::AgentDenied });
        let own = OutageBudget { until: last, ends: BudgetEnd::Authority };
        let confirmed = self.confirmed(confirmed_at, at);
        denied.into_iter().chain([own, confirmed]).min_by_key(|budget| budget.until)
    }

    /// What the age of the keys allows. From ahead of our clock it says nothing, and nothing is served.
    fn confirmed(&self, confirmed_at: Timestamp, at: Timestamp) -> OutageBudget {
        let own = confirmed_at.plus(self.settings.max_stale);
        let until = match confirmed_at > at.plus(super::source::CLOCK_DIFFERENCE) {
            true => at,
            false => self.deadline(confirmed_at, at),
        };
        OutageBudget { until, ends: if until > own { BudgetEnd::Extension } else { BudgetEnd::MaxStale } }
    }
}
