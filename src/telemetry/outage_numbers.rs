//! The numbers of what happens when a source stays away: how long nobody notices, what an operator added, whose clock differs.
//!
//! Reads what it is given. Measures nothing.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::SourceNumbers;
use super::metrics::SourceLabel;
use crate::clock::Lifetime;

/// Gauges by source, set at each scrape.
pub(super) struct OutageNumbers {
    budget: Family<SourceLabel, Gauge>,
    extension: Family<SourceLabel, Gauge>,
    skew: Family<SourceLabel, Gauge>,
}

impl OutageNumbers {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let numbers = Self { budget: Family::default(), extension: Family::default(), skew: Family::default() };
        registry.register(
            "outage_budget_seconds",
            "Time until the first caller of a source is refused, if the source stays away from now on; 0 while callers are refused",
            numbers.budget.clone(),
        );
        registry.register(
            "key_extension_seconds",
            "Time until an operator's order ends that the keys of a source serve longer; 0 without one",
            numbers.extension.clone(),
        );
        registry.register(
            "clock_skew_seconds",
            "How far the clock of a source is ahead of ours, by the Date of its last answer; behind is negative",
            numbers.skew.clone(),
        );
        numbers
    }

    /// Of these sources and no others.
    pub(super) fn set(&self, sources: &[SourceNumbers]) {
        for family in [&self.budget, &self.extension, &self.skew] {
            family.clear();
        }
        for numbers in sources {
            let label = SourceLabel { source: numbers.source.clone() };
            self.budget.get_or_create(&label).set(numbers.budget.seconds());
            self.extension.get_or_create(&label).set(numbers.extended.map_or(0, Lifetime::seconds));
            if let Some(skew) = numbers.skew {
                self.skew.get_or_create(&label).set(skew);
            }
        }
    }
}
