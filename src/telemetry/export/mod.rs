//! Traces and logs on their way to a collector.
//!
//! Never keeps a request or the end of the process waiting: queues are bounded, and what does not fit, or is not taken, is
//! dropped and counted. Never carries an identity or token material.

#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod exporter;
mod log;
mod span;

#[cfg(feature = "otlp")]
pub use exporter::{Exporter, ExporterContext};
pub use log::{LogLayer, LogLines, log_lines};
pub use span::{ExchangeSpan, Spans};
