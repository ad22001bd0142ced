//! What this process remembers: the store, opened before anything is served and kept small, and the records of decisions.
//!
//! Decides nothing about what is in them.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::Records;
use crate::clock::{Clock, Lifetime};
use crate::config::Configuration;
use crate::exchange::{RecordOutputs, Recorder};
use crate::store::{Journal, Store, StoreLimits};
use crate::telemetry::Metrics;

/// How often what is over leaves the store. It does not count from its moment on.
const FORGET: Lifetime = Lifetime::from_minutes(1);

/// Without the store nobody knows what is revoked, so nothing is served then.
pub(super) async fn open(
    configuration: &Configuration,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> anyhow::Result<Store> {
    let (directory, clock, metrics) = (configuration.state.directory.clone(), Arc::clone(clock), metrics.clone());
    let opened =
        tokio::task::spawn_blocking(move || Store::open(&directory, StoreLimits::default(), clock, metrics)).await;
    opened.context("opening the store")?.context("state")
}

/// Forgets what is over, now and then.
pub(super) async fn forget(store: Store, clock: Arc<dyn Clock>, background: CancellationToken) {
    loop {
        let next = clock.now().plus(FORGET);
        tokio::select! {
            () = background.cancelled() => return,
            () = clock.sleep_until(next) => {}
        }
        // A failing store says so itself.
        let _ = store.forget().await;
    }
}

/// Decision records go to their lines, and to the journal that `explain` reads.
pub(super) async fn recorder(
    records: Records,
    configuration: &Configuration,
    metrics: &Metrics,
) -> anyhow::Result<Recorder> {
    let lines: Option<Box<dyn Write + Send>> = match records {
        Records::Writer(writer) => Some(writer),
        Records::Stdout => configuration.audit.stdout.then(|| -> Box<dyn Write + Send> { Box::new(std::io::stdout()) }),
    };
    let (directory, limit) = (configuration.state.directory.join("decisions"), configuration.state.decisions);
    let opened =
        tokio::task::spawn_blocking(move || Journal::open(&directory, limit)).await.context("opening the journal")?;
    let required = configuration.audit.required;
    let journal = match opened {
        Ok(journal) => Some(journal),
        Err(error) if required => return Err(error).context("audit: required needs the journal of decisions"),
        Err(error) => {
            tracing::warn!("decisions are not kept, explain will not find them: {error}");
            None
        }
    };
    let outputs = RecordOutputs { lines, journal, required };
    Recorder::start(outputs, metrics.clone()).context("starting the writer of decision records")
}
