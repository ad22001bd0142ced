//! Our own log lines on their way to a collector.
//!
//! Never those of other crates: what sends telemetry logs too, and would feed itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock::{Clock, Timestamp};

/// Lines that may wait, those of the start among them.
const WAITING: usize = 2048;

/// A line of the log.
#[derive(Debug)]
#[cfg_attr(not(any(feature = "otlp", test)), expect(dead_code, reason = "without a collector nobody reads them"))]
pub(super) struct LogLine {
    /// When.
    pub(super) at: Timestamp,
    /// How bad.
    pub(super) level: Level,
    /// The module.
    pub(super) target: &'static str,
    /// The sentence.
    pub(super) message: String,
    /// What stands beside it.
    pub(super) fields: Vec<(&'static str, String)>,
}

/// Collects lines for a collector that is configured later, or never: then they are dropped.
#[derive(Debug)]
pub struct LogLayer {
    queue: mpsc::Sender<LogLine>,
    lost: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

/// The lines that a [`LogLayer`] collects.
#[derive(Debug)]
pub struct LogLines {
    #[cfg_attr(not(any(feature = "otlp", test)), expect(dead_code, reason = "without a collector nobody reads them"))]
    pub(super) lines: mpsc::Receiver<LogLine>,
    /// Lines that did not fit.
    #[cfg_attr(not(any(feature = "otlp", test)), expect(dead_code, reason = "without a collector nobody reads them"))]
    pub(super) lost: Arc<AtomicU64>,
}

/// A layer for the subscriber of logs, and where its lines come out. Dropping the lines ends the layer's work.
pub fn log_lines(clock: Arc<dyn Clock>) -> (LogLayer, LogLines) {
    let (queue, lines) = mpsc::channel(WAITING);
    let lost = Arc::<AtomicU64>::default();
    (LogLayer { queue, lost: Arc::clone(&lost), clock }, LogLines { lines, lost })
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let is_ours = metadata.target().starts_with("countersign") && !metadata.target().contains("telemetry");
        if !is_ours || self.queue.is_closed() {
            return;
        }
        let mut told = Told::default();
        event.record(&mut told);
        let line = LogLine {
            at: self.clock.now(),
            level: *metadata.level(),
            target: metadata.target(),
            message: told.message,
            fields: told.fields,
        };
        if self.queue.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Default)]
struct Told {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Told {
    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn it_takes_our_own_lines_and_no_more_than_fit() {
        let at = Timestamp::from_seconds(1_790_000_000);
        let (layer, mut lines) = log_lines(Arc::new(ManualClock::starting_at(at)));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "h2::codec", "of another crate");
            tracing::warn!(target: "countersign::telemetry::export", "of the exporter");
            tracing::warn!(target: "countersign::trust", source = "eu1", tries = 3, "keys cannot be fetched");
            (0..WAITING).for_each(|_| tracing::info!(target: "countersign", "more"));
        });
        let line = lines.lines.try_recv().unwrap();
        assert_eq!((line.at, line.level, line.target), (at, Level::WARN, "countersign::trust"));
        assert_eq!(line.message, "keys cannot be fetched");
        assert_eq!(line.fields, [("source", "eu1".to_owned()), ("tries", "3".to_owned())]);
        assert_eq!(lines.lost.load(Ordering::Relaxed), 1);
    }
}
