//! The span of one exchange.
//!
//! Labels of the decision and its reference; never who it was about.

use std::borrow::Cow;

use tokio::sync::mpsc;

use crate::clock::Timestamp;
use crate::telemetry::{DecisionLabels, Metrics};

/// One exchange as a trace shows it.
#[derive(Clone, Debug)]
pub struct ExchangeSpan {
    /// When the request arrived.
    pub began: Timestamp,
    /// When its outcome was known.
    pub ended: Timestamp,
    /// The reference by which `countersign explain` finds it.
    pub reference: String,
    /// What it is counted under.
    pub labels: DecisionLabels,
    /// The configuration that decided.
    pub generation: Option<String>,
}

impl ExchangeSpan {
    /// Names and values, without the empty ones.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let labels = &self.labels;
        [
            ("countersign.ref", self.reference.as_str()),
            ("countersign.outcome", labels.outcome),
            ("countersign.reason", word(&labels.reason)),
            ("countersign.transport", word(&labels.transport)),
            ("countersign.grant", word(&labels.grant)),
            ("countersign.source", &labels.source),
            ("countersign.resource", &labels.resource),
            ("countersign.generation", self.generation.as_deref().unwrap_or_default()),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
    }
}

fn word<'a>(word: &'a Cow<'static, str>) -> &'a str {
    word
}

/// Takes spans for a collector.
#[derive(Clone, Debug)]
pub struct Spans {
    queue: mpsc::Sender<ExchangeSpan>,
    metrics: Metrics,
}

impl Spans {
    #[cfg(feature = "otlp")]
    pub(super) const fn new(queue: mpsc::Sender<ExchangeSpan>, metrics: Metrics) -> Self {
        Self { queue, metrics }
    }

    /// Hands a span over. One that does not fit is counted.
    pub fn send(&self, span: ExchangeSpan) {
        if self.queue.try_send(span).is_err() {
            self.metrics.telemetry_lost("traces", 1);
        }
    }
}
