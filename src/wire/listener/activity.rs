//! Whether anything happens on one connection, and so how long it may stay as it is.
//!
//! Counts requests and never looks into them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

use super::limits::Limits;

/// The requests of one connection. Shared by its task and by its answers.
#[derive(Debug, Default)]
pub(super) struct Activity {
    counts: Mutex<Counts>,
    changed: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    /// A request has begun at some time.
    begun: bool,
    /// Requests whose answer has not been taken whole.
    running: usize,
    /// Those of them that have something for the client, which it does not take.
    untaken: usize,
    /// The connection's own task polls it now, and need not be woken for what changes meanwhile.
    polled: bool,
    /// Something changed meanwhile.
    changed: bool,
}

impl Activity {
    /// A request begins; it runs until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.change(|counts| {
            counts.begun = true;
            counts.running = counts.running.saturating_add(1);
        });
        Running { activity: Arc::clone(self), untaken: false }
    }

    /// Completes at the next change after the last completion that nobody saw in [`polled`](Self::polled).
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Polls the connection in its own task: what it came to, or that something changed in this very poll. Such a change wakes
    /// nobody. To wake a task that runs puts it in line once more, and has another thread look for it.
    pub(super) fn polled<T>(&self, poll: impl FnOnce() -> Poll<T>) -> Poll<Step<T>> {
        self.counts().polled = true;
        let polled = poll();
        let mut counts = self.counts();
        counts.polled = false;
        let changed = std::mem::take(&mut counts.changed);
        match polled {
            Poll::Ready(end) => Poll::Ready(Step::Ended(end)),
            Poll::Pending if changed => Poll::Ready(Step::Changed),
            Poll::Pending => Poll::Pending,
        }
    }

    /// How long the connection may stay without a change, or `None` while the delay is not the client's.
    pub(super) fn patience(&self, limits: &Limits) -> Option<Patience> {
        match *self.counts() {
            Counts { running: 0, begun: false, .. } => Some(Patience::Idle(limits.first_request)),
            Counts { running: 0, .. } => Some(Patience::Idle(limits.idle)),
            Counts { untaken: 0, .. } => None,
            Counts { .. } => Some(Patience::Untaken(limits.request)),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts();
        change(&mut counts);
        let is_seen = counts.polled;
        counts.changed |= is_seen;
        drop(counts);
        if !is_seen {
            self.changed.notify_one();
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a poll of a connection came to.
#[derive(Debug)]
pub(super) enum Step<T> {
    /// The connection ended.
    Ended(T),
    /// A request began, went on or ended.
    Changed,
}

/// What a connection waits for, and how long it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// No request runs.
    Idle(Duration),
    /// Answers are ready and the client takes nothing.
    Untaken(Duration),
}

/// A request that has begun. Ends when dropped.
#[derive(Debug)]
pub(super) struct Running {
    activity: Arc<Activity>,
    untaken: bool,
}

impl Running {
    /// Says whether it is the client that has to move next. A handler's own deadline bounds the other case until the head of
    /// the answer; a stream of answers may be silent for as long as it likes.
    fn waits_for_client(&mut self, waits: bool) {
        let before = std::mem::replace(&mut self.untaken, waits);
        if !before && !waits {
            return;
        }
        self.activity.change(|counts| {
            counts.untaken = counts.untaken.saturating_sub(usize::from(before)).saturating_add(usize::from(waits));
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.activity.change(|counts| {
            counts.running = counts.running.saturating_sub(1);
            counts.untaken = counts.untaken.saturating_sub(usize::from(self.untaken));
        });
    }
}

/// An answer's body, which keeps its request running until it has been taken whole or dropped.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: Body,
    running: Running,
}

impl AnswerBody {
    pub(super) fn new(body: Body, mut running: Running) -> Self {
        running.waits_for_client(true);
        Self { body, running }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.running.waits_for_client(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
