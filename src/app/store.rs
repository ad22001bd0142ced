//! The store of this process: opened before anything is served, and kept small.
//!
//! Decides nothing about what is in it.

use std::sync::Arc;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Lifetime};
use crate::config::Configuration;
use crate::store::{Store, StoreLimits};
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
