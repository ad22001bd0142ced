//! When the process may be sent traffic, and how it ends: readiness guards and the drain.
//!
//! Nothing here looks at a request, and nothing outlives its drain: work that was spawned on one ends with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::clock::{Clock, Timestamp};

/// How long `Drain::wait` gives cut work to be dropped. Dropping takes one turn of the scheduler; a task that blocks its
/// thread would need longer, and must not keep the process.
const AFTER_CUT: Duration = Duration::from_secs(1);

/// What has to happen before the process is ready. Ready means: no guard is held.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<watch::Sender<Waiting>>);

/// The names of what is waited for, by the order in which the guards were made.
#[derive(Debug, Default)]
struct Waiting {
    made: u64,
    names: BTreeMap<u64, Cow<'static, str>>,
}

impl Readiness {
    /// Ready at once, until a guard is made.
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds readiness back until the guard is released or dropped. Make all guards before serving the answer.
    /// `name` is what operators read in `waiting_for`; several guards may share one.
    pub fn guard(&self, name: impl Into<Cow<'static, str>>) -> ReadinessGuard {
        let mut id = 0;
        self.0.send_modify(|waiting| {
            id = waiting.made;
            waiting.made = waiting.made.wrapping_add(1);
            waiting.names.insert(id, name.into());
        });
        ReadinessGuard { id, readiness: self.clone() }
    }

    /// Whether nothing is waited for any more.
    pub fn is_ready(&self) -> bool {
        self.0.borrow().names.is_empty()
    }

    /// The names of the guards that are still held, oldest first.
    pub fn waiting_for(&self) -> Vec<String> {
        self.0.borrow().names.values().map(|name| name.clone().into_owned()).collect()
    }

    /// Completes once nothing is waited for.
    pub async fn ready(&self) {
        // The sender lives in `self`, so waiting ends only when the last guard is gone.
        let _ = self.0.subscribe().wait_for(|waiting| waiting.names.is_empty()).await;
    }
}

/// Holds readiness back while it lives. A task that ends, however it ends, no longer holds anything back.
#[derive(Debug)]
#[must_use = "a dropped guard holds nothing back"]
pub struct ReadinessGuard {
    id: u64,
    readiness: Readiness,
}

impl ReadinessGuard {
    /// What this guard waits for has happened. The same as dropping it, said aloud.
    pub fn release(self) {}
}

impl Drop for ReadinessGuard {
    fn drop(&mut self) {
        self.readiness.0.send_modify(|waiting| {
            waiting.names.remove(&self.id);
        });
    }
}

/// The end of the process: work that must finish is spawned here or holds a `Hold`; `begin` asks it to end, and what has
/// not ended at the deadline of `wait` is cut. Clones are the same drain.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    begun: CancellationToken,
    cut: CancellationToken,
    work: TaskTracker,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All work had ended by itself.
    Whole,
    /// The deadline came first; so many pieces of work were cut.
    Cut {
        /// How many were still running. Connections and their running requests count separately.
        left: usize,
    },
}

impl Drain {
    /// A drain that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all work to end. May be called more than once.
    pub fn begin(&self) {
        self.begun.cancel();
        self.work.close();
    }

    /// Whether `begin` has been called.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Completes when `begin` is called.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Runs `work` as a task which `wait` waits for, and which is dropped when the drain is cut. `None` means cut.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cut = self.cut.clone();
        self.work.spawn(async move { cut.run_until_cancelled_owned(work).await })
    }

    /// Counts as work until it is dropped. For what runs in a task of somebody else and ends by itself once `begun` has completed.
    pub fn hold(&self) -> Hold {
        Hold(self.work.token())
    }

    /// How many pieces of work are running.
    pub fn running(&self) -> usize {
        self.work.len()
    }

    /// Begins the drain if nobody has, and waits until all work has ended or `deadline` has come on `clock`; then cuts what is left.
    pub async fn wait(&self, deadline: Timestamp, clock: &dyn Clock) -> Drained {
        self.begin();
        tokio::select! {
            biased;
            () = self.work.wait() => return Drained::Whole,
            () = clock.sleep_until(deadline) => {}
        }
        let left = self.work.len();
        self.cut.cancel();
        let _ = tokio::time::timeout(AFTER_CUT, self.work.wait()).await;
        Drained::Cut { left }
    }
}

/// One piece of work that `Drain::wait` waits for.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "held for its drop")] TaskTrackerToken);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Lifetime, ManualClock};

    fn clock() -> ManualClock {
        ManualClock::starting_at(Timestamp::from_seconds(1_790_000_000))
    }

    #[tokio::test]
    async fn ready_when_the_last_guard_is_gone() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let keys = readiness.guard("signing key");
        let source = readiness.guard(format!("source {}", "prod"));
        assert_eq!(readiness.waiting_for(), ["signing key", "source prod"]);
        keys.release();
        assert_eq!(readiness.waiting_for(), ["source prod"]);
        let waiter = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        drop(source);
        waiter.await.unwrap();
        assert!(readiness.is_ready());
    }

    #[tokio::test]
    async fn work_that_ends_in_time_is_waited_for() {
        let (drain, clock) = (Drain::new(), clock());
        let hold = drain.hold();
        let task = drain.spawn({
            let drain = drain.clone();
            async move {
                drain.begun().await;
                drop(hold);
                "ended"
            }
        });
        assert!(!drain.has_begun());
        let drained = drain.wait(clock.now().plus(Lifetime::from_seconds(20)), &clock).await;
        assert_eq!(drained, Drained::Whole);
        assert_eq!(task.await.unwrap(), Some("ended"));
    }

    #[tokio::test]
    async fn work_that_does_not_end_is_cut_at_the_deadline() {
        let (drain, clock) = (Drain::new(), clock());
        let task = drain.spawn(std::future::pending::<()>());
        let deadline = clock.now().plus(Lifetime::from_seconds(20));
        let waiter = tokio::spawn({
            let (drain, clock) = (drain.clone(), clock.clone());
            async move { drain.wait(deadline, &clock).await }
        });
        drain.begun().await;
        clock.advance(Lifetime::from_seconds(19));
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        clock.advance(Lifetime::from_seconds(1));
        assert_eq!(waiter.await.unwrap(), Drained::Cut { left: 1 });
        assert_eq!(task.await.unwrap(), None);
        assert_eq!(drain.running(), 0);
    }
}
