//! Traces and logs of a running service: sent where the configuration says, if this build can.
//!
//! Decides nothing; without the feature `otlp` the configuration has refused the key already.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Configuration;
use crate::entropy::Entropy;
#[cfg(feature = "otlp")]
use crate::telemetry::{Exporter, ExporterContext};
use crate::telemetry::{LogLines, Metrics, Spans};

/// The exporter, where there is one.
pub(super) struct Telemetry {
    #[cfg(feature = "otlp")]
    exporter: Option<Exporter>,
}

#[cfg(feature = "otlp")]
impl Telemetry {
    pub(super) fn start(
        configuration: &Configuration,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
        metrics: &Metrics,
        replica: &str,
    ) -> anyhow::Result<(Self, Option<Spans>)> {
        let Some(url) = &configuration.telemetry.otlp else { return Ok((Self { exporter: None }, None)) };
        let context = ExporterContext {
            clock: Arc::clone(clock),
            entropy: Arc::clone(entropy),
            metrics: metrics.clone(),
            replica: replica.to_owned(),
        };
        let (exporter, spans) =
            Exporter::start(url, context).map_err(|why| anyhow::anyhow!("telemetry.otlp {url}: {why}"))?;
        Ok((Self { exporter: Some(exporter) }, Some(spans)))
    }

    pub(super) async fn logs(&self, lines: LogLines) {
        if let Some(exporter) = &self.exporter {
            exporter.logs(lines).await;
        }
    }

    pub(super) async fn end(&self) {
        if let Some(exporter) = &self.exporter {
            exporter.end().await;
        }
    }
}

#[cfg(not(feature = "otlp"))]
impl Telemetry {
    pub(super) fn start(
        _configuration: &Configuration,
        _clock: &Arc<dyn Clock>,
        _entropy: &Arc<dyn Entropy>,
        _metrics: &Metrics,
        _replica: &str,
    ) -> anyhow::Result<(Self, Option<Spans>)> {
        Ok((Self {}, None))
    }

    pub(super) async fn logs(&self, lines: LogLines) {
        drop(lines);
    }

    pub(super) async fn end(&self) {}
}
