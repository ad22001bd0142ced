//! Tells open streams that something in the world has changed.
//!
//! Never carries the change itself: who hears of one looks at the whole truth again.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;

/// A count of changes that can be waited for.
pub(super) type Pulse = Arc<watch::Sender<u64>>;

/// Counts one more change.
pub(super) fn beat(pulse: &watch::Sender<u64>) {
    pulse.send_modify(|count| *count = count.wrapping_add(1));
}

/// Those who want to hear of one thing's changes.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<Vec<Weak<watch::Sender<u64>>>>);

impl Listeners {
    /// `pulse` beats at every change from now on, for as long as its owner lives.
    pub(super) fn add(&self, pulse: &Pulse) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = listeners.iter().any(|listener| Weak::as_ptr(listener) == Arc::as_ptr(pulse));
        if !known {
            listeners.push(Arc::downgrade(pulse));
        }
    }

    /// Something has changed.
    pub(super) fn tell(&self) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| {
            listener.upgrade().is_some_and(|pulse| {
                beat(&pulse);
                true
            })
        });
    }
}
