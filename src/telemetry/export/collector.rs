//! An OTLP collector over gRPC: spans and log lines become its messages.
//!
//! The only place that names the protocol. Decides nothing about what is sent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use messages::collector::logs::v1::logs_service_client::LogsServiceClient;
use messages::collector::logs::v1::{ExportLogsServiceRequest, LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use messages::collector::trace::v1::trace_service_client::TraceServiceClient;
use messages::collector::trace::v1::{
    ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span, SpanKind, Status, StatusCode,
};
use messages::common::v1::{AnyValue, InstrumentationScope, KeyValue, Resource, any_value};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tracing::Level;

use super::log::LogLine;
use super::span::ExchangeSpan;
use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::reason::Reason;

/// Messages and clients of `proto/otlp_*.proto`.
mod messages {
    #![expect(unreachable_pub, clippy::allow_attributes_without_reason, reason = "made by the build script")]
    mod all {
        include!(concat!(env!("OUT_DIR"), "/otlp.rs"));
    }
    pub(super) use all::opentelemetry::proto::{collector, common};
}

/// How long a connection may take, and how long a call.
const CONNECT: Duration = Duration::from_secs(2);
const CALL: Duration = Duration::from_secs(5);

/// A collector that was configured. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub(super) struct Collector {
    channel: Channel,
    resource: Resource,
    entropy: Arc<dyn Entropy>,
}

/// What became of a batch.
pub(super) struct Taken {
    /// How many of it the collector refused.
    pub(super) refused: u64,
    /// Why none of it was taken.
    pub(super) failed: Option<String>,
}

impl Collector {
    /// Of that URL. Dials when there is something to send.
    pub(super) fn new(url: &str, replica: &str, entropy: Arc<dyn Entropy>) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
        let mut endpoint = endpoint.connect_timeout(CONNECT).timeout(CALL);
        if url.starts_with("https://") {
            let tls = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint.tls_config(tls).map_err(|error| error.to_string())?;
        }
        let attributes = [
            ("service.name", "countersign"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", replica),
        ];
        let attributes = attributes.into_iter().map(|(key, value)| attribute(key, value)).collect();
        Ok(Self { channel: endpoint.connect_lazy(), resource: Resource { attributes }, entropy })
    }

    pub(super) async fn spans(self, batch: Vec<ExchangeSpan>) -> Taken {
        let spans = batch.iter().map(|span| self.span(span)).collect();
        let scope_spans = vec![ScopeSpans { scope: scope(), spans }];
        let all = ResourceSpans { resource: Some(self.resource), scope_spans };
        let request = ExportTraceServiceRequest { resource_spans: vec![all] };
        let answer = TraceServiceClient::new(self.channel).export(request).await;
        Taken::of(answer.map(|answer| answer.into_inner().partial_success.map_or(0, |partial| partial.rejected_spans)))
    }

    pub(super) async fn lines(self, batch: Vec<LogLine>) -> Taken {
        let log_records = batch.into_iter().map(record).collect();
        let scope_logs = vec![ScopeLogs { scope: scope(), log_records }];
        let all = ResourceLogs { resource: Some(self.resource), scope_logs };
        let request = ExportLogsServiceRequest { resource_logs: vec![all] };
        let answer = LogsServiceClient::new(self.channel).export(request).await;
        let refused = answer.map(|answer| answer.into_inner().partial_success.map_or(0, |it| it.rejected_log_records));
        Taken::of(refused)
    }

    fn span(&self, of: &ExchangeSpan) -> Span {
        let (mut trace_id, mut span_id) = (vec![0; 16], vec![0; 8]);
        // Ids are names: without random bytes the collector refuses the span, and that is counted.
        let _ = self.entropy.fill(&mut trace_id);
        let _ = self.entropy.fill(&mut span_id);
        let is_ours = Reason::from_code(&of.labels.reason)
            .is_some_and(|reason| matches!(reason, Reason::Unavailable(_) | Reason::Internal));
        let code = if is_ours { StatusCode::Error } else { StatusCode::Unset };
        Span {
            trace_id,
            span_id,
            name: "exchange".to_owned(),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: nanos(of.began),
            end_time_unix_nano: nanos(of.ended),
            attributes: of.attributes().map(|(key, value)| attribute(key, value)).collect(),
            status: Some(Status { code: code.into() }),
        }
    }
}

impl Taken {
    fn of(answer: Result<i64, tonic::Status>) -> Self {
        match answer {
            Ok(refused) => Self { refused: refused.unsigned_abs(), failed: None },
            Err(status) => {
                let why = crate::reason::quoted(status.message());
                Self { refused: 0, failed: Some(format!("{}: {why}", status.code())) }
            }
        }
    }
}

fn record(line: LogLine) -> LogRecord {
    let severity = match line.level {
        Level::ERROR => SeverityNumber::Error,
        Level::WARN => SeverityNumber::Warn,
        Level::INFO => SeverityNumber::Info,
        Level::DEBUG => SeverityNumber::Debug,
        Level::TRACE => SeverityNumber::Trace,
    };
    let mut attributes = vec![attribute("code.namespace", line.target)];
    attributes.extend(line.fields.iter().map(|(key, value)| attribute(key, value)));
    LogRecord {
        time_unix_nano: nanos(line.at),
        observed_time_unix_nano: nanos(line.at),
        severity_number: severity.into(),
        severity_text: line.level.to_string(),
        body: Some(text(&line.message)),
        attributes,
    }
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "countersign".to_owned(), ..InstrumentationScope::default() })
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(text(value)) }
}

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }
}

fn nanos(at: Timestamp) -> u64 {
    at.millis().unsigned_abs().saturating_mul(1_000_000)
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_collector_is_not_dialled_before_there_is_something_to_send() {
        for url in ["http://127.0.0.1:1", "https://collector.example:4317"] {
            assert!(Collector::new(url, "AA", Arc::new(crate::entropy::SystemEntropy)).is_ok(), "{url}");
        }
        assert!(Collector::new("no url", "AA", Arc::new(crate::entropy::SystemEntropy)).is_err());
    }
}
