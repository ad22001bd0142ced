//! `grpc.health.v1.Health`: serving while the process is ready, and not any more once the drain has begun.
//!
//! Looks at nothing but readiness: a source that is down is shown elsewhere.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

use super::LONGEST_NAME;
use crate::lifecycle::{Drain, Readiness};

/// The process as a whole, and our service.
const SERVICES: [&str; 2] = ["", "countersign.v1.TokenService"];

pub(super) fn service(readiness: Readiness, drain: Drain) -> HealthServer<impl Health> {
    let (reporter, service) = health_reporter();
    tokio::spawn(follow(reporter, readiness, drain));
    service.max_decoding_message_size(LONGEST_NAME)
}

async fn follow(mut reporter: HealthReporter, readiness: Readiness, drain: Drain) {
    report(&reporter, if readiness.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
    tokio::select! {
        () = drain.begun() => {}
        () = readiness.ready() => {
            report(&reporter, ServingStatus::Serving).await;
            drain.begun().await;
        }
    }
    report(&reporter, ServingStatus::NotServing).await;
    // Who watches hears it, and then the stream ends: it must not hold up the drain.
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
