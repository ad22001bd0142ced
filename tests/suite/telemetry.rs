//! Traces and logs by OTLP: a collector built of the published messages gets them, and one that is away costs nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::clock::Lifetime;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::evidence;
use crate::faults::served::Town;
use crate::stage::{API, Stage, standard_config};

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Collected>>);

#[derive(Default)]
struct Collected {
    spans: Vec<Span>,
    lines: Vec<LogRecord>,
    /// Of resources.
    attributes: Vec<KeyValue>,
    /// Spans of each call that it refuses.
    refuses: i64,
}

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let collector = Self::default();
        let (traces, logs) = (TraceServiceServer::new(collector.clone()), LogsServiceServer::new(collector.clone()));
        let server = tonic::transport::Server::builder().add_service(traces).add_service(logs);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        (collector, address)
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap().spans.clone()
    }

    fn span(&self, attribute: &str, value: &str) -> Option<Span> {
        self.spans().into_iter().find(|span| text_of(&span.attributes, attribute) == value)
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        evidence::keep("telemetry.txt", &format!("{request:?}"));
        let mut collected = self.0.lock().unwrap();
        for resource in request.resource_spans {
            collected.attributes = resource.resource.unwrap().attributes;
            collected.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        let rejected_spans = collected.refuses;
        let partial_success = (rejected_spans > 0)
            .then(|| ExportTracePartialSuccess { rejected_spans, error_message: "no room".to_owned() });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let request = request.into_inner();
        evidence::keep("telemetry.txt", &format!("{request:?}"));
        let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        self.0.lock().unwrap().lines.extend(scopes.flat_map(|scope| scope.log_records));
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

fn text(value: &Option<AnyValue>) -> String {
    match value.as_ref().and_then(|value| value.value.clone()) {
        Some(any_value::Value::StringValue(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}

fn text_of(attributes: &[KeyValue], key: &str) -> String {
    attributes.iter().find(|attribute| attribute.key == key).map_or_else(String::new, |found| text(&found.value))
}

/// The standard stage that sends to that address.
async fn sending_to(address: SocketAddr) -> Stage {
    Stage::with(|world, issuer| {
        format!("{}telemetry: {{ otlp: \"http://{address}\" }}\n", standard_config(world, issuer))
    })
    .await
}

/// Moves the clock, for the exporter gathers, until something holds.
async fn until(stage: &Stage, what: &str, condition: impl AsyncFn() -> bool) {
    for _ in 0..1000 {
        if condition().await {
            return;
        }
        stage.advance(Lifetime::from_millis(10)).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen that {what}");
}

async fn lost(stage: &Stage) -> u64 {
    let text = stage.admin("/metrics").await.text;
    let line = "countersign_telemetry_lost_total{signal=\"traces\"} ";
    text.lines().find_map(|found| found.strip_prefix(line)?.parse().ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_exchange_is_a_span_with_its_reference() {
    let (collector, address) = Collector::start().await;
    let stage = sending_to(address).await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    let refused = stage.exchange_svid("a.b.c").await;
    let reference = refused.body["error_ref"].as_str().unwrap();
    until(&stage, "both arrive", async || collector.spans().len() == 2).await;

    let span = collector.span("countersign.ref", reference).unwrap();
    assert_eq!((span.name.as_str(), span.kind, span.trace_id.len(), span.span_id.len()), ("exchange", 2, 16, 8));
    assert_eq!(text_of(&span.attributes, "countersign.reason"), "credential_malformed");
    let granted = collector.span("countersign.outcome", "allow").unwrap();
    let told: Vec<_> =
        granted.attributes.iter().map(|attribute| (attribute.key.as_str(), text(&attribute.value))).collect();
    let record = stage.written().into_iter().find(|record| record["outcome"] == "allow").unwrap();
    let of = |name: &str| record[name].as_str().unwrap().to_owned();
    assert_eq!(
        told,
        [
            ("countersign.ref", of("ref")),
            ("countersign.outcome", "allow".to_owned()),
            ("countersign.reason", "none".to_owned()),
            ("countersign.transport", "http".to_owned()),
            ("countersign.grant", "client_credentials".to_owned()),
            ("countersign.source", "prod".to_owned()),
            ("countersign.resource", "orders".to_owned()),
            ("countersign.generation", of("generation")),
        ]
    );
    assert!(granted.end_time_unix_nano >= granted.start_time_unix_nano && granted.start_time_unix_nano > 1 << 60);
    let everything = format!("{:?}", collector.spans());
    assert!(!everything.contains(API) && !everything.contains("shop"), "no identities: {everything}");
    let resource = collector.0.lock().unwrap().attributes.clone();
    assert_eq!(text_of(&resource, "service.name"), "countersign");
    assert_eq!(text_of(&resource, "service.instance.id"), reference[..2]);
    assert_eq!(lost(&stage).await, 0);

    // What the collector refuses is counted.
    collector.0.lock().unwrap().refuses = 1;
    let _ = stage.exchange_svid("a.b.c").await;
    until(&stage, "the loss is counted", async || lost(&stage).await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_nothing() {
    // Nobody listens on one, and the other takes connections and never says a word.
    let closed = crate::stage::free_address();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [closed, silent.local_addr().unwrap()] {
        let stage = sending_to(address).await;
        for _ in 0..50 {
            assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
        }
        if address == closed {
            until(&stage, "the loss is counted", async || lost(&stage).await == 50).await;
        }
        let stopped = tokio::time::timeout(Duration::from_secs(6), stage.app.stop()).await;
        assert!(stopped.is_ok(), "the end waits two seconds at most");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_sends_its_log_and_what_is_left_at_its_end() {
    let (collector, address) = Collector::start().await;
    let town = Town::new().await;
    let admin = crate::stage::free_address().to_string();
    let listen = town.issuer.trim_start_matches("http://");
    let config = town.config("one", listen, &admin);
    let written = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{written}telemetry: {{ otlp: \"http://{address}\" }}\n")).unwrap();
    let mut one = crate::faults::served::Process::new("one", config, listen, &admin);
    one.start();
    one.ready().await;
    town.grants(&one).await;
    one.signal("TERM");
    assert_eq!(one.ended(30).await.code(), Some(0));
    assert_eq!(collector.spans().len(), 3, "none is left behind");
    let lines = collector.0.lock().unwrap().lines.clone();
    let serving = lines.iter().find(|line| text(&line.body) == "serving").unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!((serving.severity_text.as_str(), serving.severity_number), ("INFO", 9));
    assert_eq!(text_of(&serving.attributes, "public"), listen);
    assert!(lines.iter().any(|line| text(&line.body) == "starting"), "those of the start too: {lines:?}");
}
