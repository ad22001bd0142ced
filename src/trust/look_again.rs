//! Whether an unknown key id may cause one more attempt, and what became of it.
//!
//! Strangers choose key ids: they can never cause more than one attempt an interval, whatever they send and however it ends (JWK-13).

use std::sync::Mutex;

use tokio::sync::{Notify, Semaphore, watch};

use super::source::locked;
use crate::clock::{Clock, Lifetime, Timestamp};

/// One attempt for all unknown key ids of a source together. The same as the cooldown of common JWT libraries.
const INTERVAL: Lifetime = Lifetime::from_seconds(30);
/// Requests of one source that may wait: more would let a slow source fill the server.
const MOST_WAITERS: usize = 64;
/// A caller with a new key had rather come again than hang.
const LONGEST_WAIT: Lifetime = Lifetime::from_seconds(1);

/// What became of one more look for a key id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookAgain {
    /// The source has that key now.
    Found,
    /// The source was asked and has no such key.
    NotThere,
    /// The source was asked and gave no keys.
    Failed {
        /// A sentence for the operator.
        why: String,
    },
    /// Not asked, or not answered yet: the key may be genuine and new.
    Refreshing {
        /// When to come back.
        retry_after: Lifetime,
    },
    /// Files and streams bring their keys by themselves.
    CannotBeAsked,
}

/// Admits attempts one at a time and tells waiters how they ended.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    wanted: Notify,
    ended: watch::Sender<Ended>,
    waiters: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    number: u64,
    running: bool,
    wanted: bool,
    began: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Ended {
    number: u64,
    began: Timestamp,
    failed: Option<String>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            wanted: Notify::new(),
            ended: watch::Sender::new(Ended { number: 0, began: Timestamp::from_millis(0), failed: None }),
            waiters: Semaphore::new(MOST_WAITERS),
        }
    }

    /// Completes when somebody wants an attempt now: not when the wish was fulfilled by an attempt that was due anyway.
    pub(super) async fn wanted(&self) {
        loop {
            self.wanted.notified().await;
            if locked(&self.state).wanted {
                return;
            }
        }
    }

    /// The loop begins an attempt.
    pub(super) fn begin(&self, now: Timestamp) {
        let mut state = locked(&self.state);
        state.number += 1;
        state.running = true;
        state.wanted = false;
        state.began = Some(now);
    }

    /// The attempt has ended; its keys, if any, are in place already.
    pub(super) fn end(&self, failed: Option<String>) {
        let mut state = locked(&self.state);
        state.running = false;
        let began = state.began.unwrap_or(Timestamp::from_millis(0));
        self.ended.send_replace(Ended { number: state.number, began, failed });
    }

    /// Asks for one more attempt, within the interval, and does not wait for it.
    pub(super) fn want(&self, at: Timestamp) {
        let _number = self.join(at);
    }

    /// Asks for one more attempt whenever the last one was: an operator's word, which no stranger can give.
    pub(super) fn demand(&self) {
        locked(&self.state).wanted = true;
        self.wanted.notify_one();
    }

    pub(super) async fn look_again(&self, knows: impl Fn() -> bool, at: Timestamp, clock: &dyn Clock) -> LookAgain {
        if knows() {
            return LookAgain::Found;
        }
        let Ok(_place) = self.waiters.try_acquire() else { return self.refreshing(at) };
        let Some(number) = self.join(at) else { return self.refreshing(at) };
        let mut ended = self.ended.subscribe();
        let outcome = tokio::select! {
            outcome = ended.wait_for(|ended| ended.number >= number) => outcome.ok().map(|ended| ended.clone()),
            () = clock.sleep_until(clock.now().plus(LONGEST_WAIT)) => None,
        };
        match outcome {
            _ if knows() => LookAgain::Found,
            Some(Ended { failed: Some(why), .. }) => LookAgain::Failed { why },
            // An answer that was asked for before this request came says nothing about a key that was published since.
            Some(Ended { began, .. }) if began >= at => LookAgain::NotThere,
            Some(_) | None => self.refreshing(at),
        }
    }

    /// Completes when an attempt has ended that began at `since` or later, whatever came of it. Wants one where there was none.
    ///
    /// # Errors
    /// There was none within 1 s: when to come back.
    pub(super) async fn asked_since(&self, since: Timestamp, clock: &dyn Clock) -> Result<(), Lifetime> {
        let now = clock.now();
        let mut ended = self.ended.subscribe();
        // One that is ahead of now is from before the clock was set back.
        let is_since = |ended: &Ended| since <= ended.began && ended.began <= clock.now();
        if is_since(&ended.borrow()) {
            return Ok(());
        }
        let rest = || locked(&self.state).rest(now).max(Lifetime::from_seconds(1));
        let Some(number) = self.join(now) else { return Err(rest()) };
        // One that was under way already may have begun too early, and there is no other within the interval.
        let is_over = |ended: &Ended| is_since(ended) || ended.number >= number;
        tokio::select! {
            asked = ended.wait_for(is_over) => match asked {
                Ok(ended) if is_since(&ended) => Ok(()),
                _ => Err(rest()),
            },
            () = clock.sleep_until(now.plus(LONGEST_WAIT)) => Err(rest()),
        }
    }

    /// The number of the attempt to wait for: the running one, or one that is now wanted. `None` inside the interval.
    fn join(&self, at: Timestamp) -> Option<u64> {
        let mut state = locked(&self.state);
        if state.running {
            return Some(state.number);
        }
        if !state.wanted {
            if state.rest(at) > Lifetime::ZERO {
                return None;
            }
            // Claimed before the attempt, so that its outcome cannot matter.
            state.wanted = true;
            state.began = Some(at);
            self.wanted.notify_one();
        }
        Some(state.number + 1)
    }

    #[cfg(all(test, feature = "world"))]
    pub(super) fn waiting(&self) -> usize {
        MOST_WAITERS - self.waiters.available_permits()
    }

    fn refreshing(&self, at: Timestamp) -> LookAgain {
        LookAgain::Refreshing { retry_after: locked(&self.state).rest(at).max(Lifetime::from_seconds(1)) }
    }
}

impl State {
    /// What is left of the interval.
    fn rest(&self, at: Timestamp) -> Lifetime {
        match self.began {
            // The clock was set back: the interval of the old time means nothing.
            Some(began) if began > at.plus(INTERVAL) => Lifetime::ZERO,
            Some(began) => began.plus(INTERVAL).since(at).min(INTERVAL),
            None => Lifetime::ZERO,
        }
    }
}
