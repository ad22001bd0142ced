//! The store as everybody asks it.
//!
//! What is revoked is read without waiting. A claim or a change is answered when it is durable, or not at all: who gets a
//! [`StoreFault`] has been promised nothing.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::claims::{Claim, Claimed};
use super::revocations::{Revocation, RevocationKind, Snapshot};
use super::writer::{Ask, Done, Message, Writer};
use super::{StoreFault, StoreLimits, StoreUnopened};
use crate::clock::{Clock, Lifetime};
use crate::telemetry::Metrics;

/// Calls that may wait for the disk: a second's worth of a fast one.
const WAITING: usize = 4096;

/// How long a caller waits: a disk that hangs must not hold requests for ever.
const PATIENCE: Lifetime = Lifetime::from_seconds(5);

/// The file inside a state folder.
const FILE: &str = "store.redb";

/// What is remembered: claims and revocations. One for each process.
#[derive(Clone)]
pub struct Store {
    waiting: SyncSender<Message>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    works: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens or makes the store of a state folder, and starts its writer. Blocks.
    ///
    /// # Errors
    /// [`StoreUnopened`]. Without it nobody knows what is revoked: nothing may be served then.
    pub fn open(
        directory: &Path,
        limits: StoreLimits,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, StoreUnopened> {
        let path = directory.join(FILE);
        let writer = Writer::open(&path, limits, Arc::clone(&clock), metrics)?;
        let (snapshot, works) = (writer.snapshot(), writer.works());
        let (waiting, receiver) = sync_channel(WAITING);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(|error| StoreUnopened::Unreadable { path, why: error.to_string() })?;
        Ok(Self { waiting, snapshot, works, clock })
    }

    /// What is revoked now. Never waits.
    pub fn revocations(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Whether it did the last thing that it was asked for. It is asked once a minute at least.
    pub fn works(&self) -> bool {
        self.works.load(Ordering::Relaxed)
    }

    /// Makes all of these claims or none, durably.
    ///
    /// # Errors
    /// [`StoreFault`]; full is one, as a claim that cannot be kept cannot be made.
    pub async fn claim(&self, claims: Vec<Claim>) -> Result<Claimed, StoreFault> {
        match self.ask(Ask::Claim(claims, self.clock.now())).await? {
            Done::Claimed(claimed) => Ok(claimed),
            Done::Revised(_) | Done::Forgot(_) => Err(StoreFault::Closed),
        }
    }

    /// Changes one revocation durably: `revise` sees what is there, and `None` leaves it so. What is there afterwards.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub async fn revise(
        &self,
        kind: RevocationKind,
        name: &str,
        revise: impl FnOnce(Option<&Revocation>) -> Option<Revocation> + Send + 'static,
    ) -> Result<Option<Revocation>, StoreFault> {
        match self.ask(Ask::Revise(kind, name.to_owned(), Box::new(revise))).await? {
            Done::Revised(revocation) => Ok(revocation),
            Done::Claimed(_) | Done::Forgot(_) => Err(StoreFault::Closed),
        }
    }

    /// Forgets what is over.
    ///
    /// # Errors
    /// [`StoreFault`]; what is over does not count, whether it is forgotten or not.
    pub async fn forget(&self) -> Result<(), StoreFault> {
        while let Done::Forgot(true) = self.ask(Ask::Forget(self.clock.now())).await? {}
        Ok(())
    }

    /// Closes the file once everything that waits has been done. Blocks. What is revoked can still be read.
    pub fn close(&self) {
        let (closed, done) = sync_channel(1);
        if self.waiting.send(Message::Close(closed)).is_ok() {
            let _ = done.recv();
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Done, StoreFault> {
        let (answer, done) = oneshot::channel();
        self.waiting.try_send(Message::Ask(ask, answer)).map_err(|error| match error {
            TrySendError::Full(_) => StoreFault::Busy,
            TrySendError::Disconnected(_) => StoreFault::Closed,
        })?;
        tokio::select! {
            done = done => done.unwrap_or(Err(StoreFault::Closed)),
            () = self.clock.sleep_until(self.clock.now().plus(PATIENCE)) => Err(StoreFault::Slow(PATIENCE.seconds())),
        }
    }
}
