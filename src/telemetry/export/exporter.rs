//! The tasks that gather and send.
//!
//! Never try the same thing twice: what a collector does not take is dropped and counted, and the next one is tried.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::collector::{Collector, Taken};
use super::log::LogLines;
use super::span::Spans;
use crate::clock::{Clock, Lifetime};
use crate::entropy::Entropy;
use crate::telemetry::Metrics;

/// Spans that may wait, about 300 bytes each.
const WAITING: usize = 4096;
/// What is sent in one call.
const TOGETHER: usize = 512;
/// How long things gather once there is one. While more than one call's worth waits, nothing does.
const GATHER: Lifetime = Lifetime::from_millis(200);
/// How long the end of the process waits for a collector.
const FINISH: Duration = Duration::from_secs(2);

/// What an exporter needs.
#[derive(Clone, Debug)]
pub struct ExporterContext {
    /// When things have gathered for long enough.
    pub clock: Arc<dyn Clock>,
    /// Ids of traces.
    pub entropy: Arc<dyn Entropy>,
    /// Where losses are counted.
    pub metrics: Metrics,
    /// The letters that name this process.
    pub replica: String,
}

/// Sends to one collector. Owns its tasks.
#[derive(Debug)]
pub struct Exporter {
    collector: Collector,
    context: ExporterContext,
    stop: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
}

impl Exporter {
    /// Begins to take spans. Nothing is dialled before there is something to send, and nobody waits for it.
    ///
    /// # Errors
    /// The URL is none that can be dialled.
    pub fn start(url: &str, context: ExporterContext) -> Result<(Self, Spans), String> {
        let collector = Collector::new(url, &context.replica, Arc::clone(&context.entropy))?;
        let (queue, spans) = mpsc::channel(WAITING);
        let stop = CancellationToken::new();
        let turns = Turns { context: context.clone(), stop: stop.clone(), signal: "traces" };
        let sending = collector.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(turns.run(spans, move |batch| sending.clone().spans(batch)));
        let handle = Spans::new(queue, context.metrics.clone());
        Ok((Self { collector, context, stop, tasks: Mutex::new(tasks) }, handle))
    }

    /// Sends log lines too.
    pub async fn logs(&self, lines: LogLines) {
        let LogLines { lines, lost } = lines;
        let turns = Turns { context: self.context.clone(), stop: self.stop.clone(), signal: "logs" };
        let (collector, metrics) = (self.collector.clone(), self.context.metrics.clone());
        self.tasks.lock().await.spawn(turns.run(lines, move |batch| {
            metrics.telemetry_lost("logs", lost.swap(0, Ordering::Relaxed));
            collector.clone().lines(batch)
        }));
    }

    /// Sends what waits, for at most two seconds.
    pub async fn end(&self) {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock().await);
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH, all).await.is_err() {
            tracing::warn!("the telemetry collector did not take the last of it in time");
        }
    }
}

/// One loop from a queue to the collector.
struct Turns {
    context: ExporterContext,
    stop: CancellationToken,
    signal: &'static str,
}

impl Turns {
    async fn run<T, F>(self, mut queue: mpsc::Receiver<T>, send: impl Fn(Vec<T>) -> F)
    where
        F: Future<Output = Taken>,
    {
        let mut is_failing = false;
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                count = queue.recv_many(&mut batch, TOGETHER) => if count == 0 { return },
                () = self.stop.cancelled() => {}
            }
            if batch.len() < TOGETHER {
                tokio::select! {
                    () = self.context.clock.sleep_until(self.context.clock.now().plus(GATHER)) => {}
                    () = self.stop.cancelled() => queue.close(),
                }
                while batch.len() < TOGETHER
                    && let Ok(next) = queue.try_recv()
                {
                    batch.push(next);
                }
            }
            if batch.is_empty() && self.stop.is_cancelled() {
                return;
            }
            let count = batch.len() as u64;
            let Taken { refused, failed } = send(batch).await;
            self.context.metrics.telemetry_lost(self.signal, if failed.is_some() { count } else { refused });
            self.tell(&mut is_failing, failed);
        }
    }

    /// Once when it begins to fail, and once when it works again.
    fn tell(&self, is_failing: &mut bool, failed: Option<String>) {
        match (*is_failing, &failed) {
            (false, Some(why)) => {
                tracing::warn!(
                    signal = self.signal,
                    why,
                    "the telemetry collector takes nothing; it is dropped and counted"
                );
            }
            (true, None) => tracing::info!(signal = self.signal, "the telemetry collector is back"),
            _ => {}
        }
        *is_failing = failed.is_some();
    }
}
