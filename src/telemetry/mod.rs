//! Numbers, traces and logs for whoever is on call.
//!
//! Labels come from closed lists and configured names; never an identity, a key id or anything that a caller chose.

mod export;
mod liveness_numbers;
mod metrics;
mod outage_numbers;
mod settings;
mod store_numbers;

pub use export::{ExchangeSpan, LogLayer, LogLines, Spans, log_lines};
#[cfg(feature = "otlp")]
pub use export::{Exporter, ExporterContext};
pub use liveness_numbers::LivenessNumbers;
pub use metrics::{DecisionLabels, Metrics, SigningKeyCount, SourceNumbers};
pub use settings::TelemetrySettings;
pub use store_numbers::StoreNumbers;
