//! The span of one exchange.
//!
//! Labels of the decision and its reference; never who it was about.

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
            ("countersign.reason", labels.reason.as_ref()),
            ("countersign.transport", labels.transport.as_ref()),
            ("countersign.grant", labels.grant.as_ref()),
            ("countersign.source", &labels.source),
            ("countersign.resource", &labels.resource),
            ("countersign.generation", self.generation.as_deref().unwrap_or_default()),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_keeps_nobody_waiting() {
        let metrics = Metrics::new("AA");
        let (queue, _spans) = mpsc::channel(2);
        let spans = Spans { queue, metrics: metrics.clone() };
        let word = std::borrow::Cow::Borrowed("x");
        let labels = DecisionLabels {
            outcome: "deny",
            reason: word.clone(),
            transport: word.clone(),
            grant: word,
            source: String::new(),
            resource: String::new(),
        };
        let at = Timestamp::from_seconds(1_790_000_000);
        let span = ExchangeSpan { began: at, ended: at, reference: "AA".to_owned(), labels, generation: None };
        assert_eq!(span.attributes().count(), 5, "an empty one says nothing");
        (0..5).for_each(|_| spans.send(span.clone()));
        assert!(metrics.encode(&[], &[]).contains("countersign_telemetry_lost_total{signal=\"traces\"} 3\n"));
    }
}
