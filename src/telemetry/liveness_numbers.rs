//! The numbers of questions to API servers: how they ended, and how long they took.
//!
//! Nothing about whom.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::clock::Lifetime;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    source: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

/// Buckets in seconds: an API server near by answers within ten milliseconds; after two nobody waits any more.
const SECONDS: [f64; 8] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.0];

#[derive(Clone, Debug)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

/// The numbers of liveness questions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LivenessNumbers {
    questions: Family<Labels, Counter>,
    seconds: Family<SourceLabel, Histogram, Seconds>,
}

impl Default for LivenessNumbers {
    /// Numbers that nobody reads.
    fn default() -> Self {
        Self { questions: Family::default(), seconds: Family::new_with_constructor(Seconds) }
    }
}

impl LivenessNumbers {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let numbers = Self::default();
        registry.register(
            "liveness_questions",
            "Questions to a cluster whether a workload still lives, by outcome",
            numbers.questions.clone(),
        );
        registry.register("liveness_seconds", "Time of one such question", numbers.seconds.clone());
        numbers
    }

    /// Counts one question, and its time if it was asked at all.
    pub fn answered(&self, source: &str, outcome: &'static str, took: Option<Lifetime>) {
        let source = source.to_owned();
        if let Some(took) = took {
            let label = SourceLabel { source: source.clone() };
            self.seconds.get_or_create(&label).observe(took.millis() as f64 / 1000.0);
        }
        self.questions.get_or_create(&Labels { source, outcome }).inc();
    }
}
