//! The one writer of the store: what waits is gathered into one transaction, and answered when that is durable.
//!
//! Never answers before the disk has, and never half does what one caller asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::claims::{Claim, Claimed};
use super::database::{self, Changes, StoreFile};
use super::revocations::{Revocation, RevocationKind, Snapshot};
use super::{StoreFault, StoreLimits, StoreUnopened};
use crate::clock::{Clock, Lifetime, Timestamp};
use crate::telemetry::Metrics;

/// What one transaction takes at most: more would keep the first of them waiting.
const AT_ONCE: usize = 256;

/// How long a file that failed is left alone before it is opened again.
const TRY_AGAIN: Lifetime = Lifetime::from_seconds(1);

/// What becomes of a revocation, by what it is now. `None`: it stays as it is.
pub(super) type Revise = Box<dyn FnOnce(Option<&Revocation>) -> Option<Revocation> + Send>;

/// What the writer is told.
pub(super) enum Message {
    Ask(Ask, oneshot::Sender<Result<Done, StoreFault>>),
    /// Answered once the file is closed.
    Close(SyncSender<()>),
}

/// What is to be done.
pub(super) enum Ask {
    Claim(Vec<Claim>, Timestamp),
    Revise(RevocationKind, String, Revise),
    Forget(Timestamp),
}

/// What was done.
pub(super) enum Done {
    Claimed(Claimed),
    Revised(Option<Revocation>),
    /// Whether there may be more to forget.
    Forgot(bool),
}

/// The writing end. One owner, one thread.
pub(super) struct Writer {
    path: PathBuf,
    file: Option<StoreFile>,
    works: Arc<AtomicBool>,
    opened_again: Timestamp,
    claims: u64,
    limits: StoreLimits,
    snapshot: Arc<ArcSwap<Snapshot>>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

impl Writer {
    /// Opens the file, and forgets what ended while nobody was there. One that can be read and not written is no fault: it is
    /// opened again when there is something to write.
    pub(super) fn open(
        path: &Path,
        limits: StoreLimits,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, StoreUnopened> {
        let (file, (claims, read)) = match StoreFile::open(path) {
            Ok(file) => {
                let read = file.read()?;
                (Some(file), read)
            }
            Err(fault @ StoreUnopened::Unreadable { .. }) => {
                let Some(read) = database::read_only(path) else { return Err(fault) };
                tracing::error!(%fault, "nothing can be revoked or used once until the disk works again");
                (None, read)
            }
            Err(fault) => return Err(fault),
        };
        let (path, at) = (path.to_owned(), clock.now());
        let works = Arc::new(AtomicBool::new(file.is_some()));
        let snapshot = Arc::new(ArcSwap::from_pointee(read));
        let mut writer = Self { path, file, works, opened_again: at, claims, limits, snapshot, clock, metrics };
        while let Ok(done) = writer.transact(vec![Ask::Forget(at)])
            && matches!(done.as_slice(), [Ok(Done::Forgot(true))])
        {}
        Ok(writer)
    }

    /// Whether the last thing that it was asked for was done.
    pub(super) fn works(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.works)
    }

    pub(super) fn snapshot(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.snapshot)
    }

    /// Works until it is closed, or nobody is left to ask.
    pub(super) fn run(mut self, waiting: &Receiver<Message>) {
        while let Ok(first) = waiting.recv() {
            let (mut asks, mut answers, mut closed) = (Vec::new(), Vec::new(), None);
            for message in std::iter::once(first).chain(waiting.try_iter().take(AT_ONCE - 1)) {
                match message {
                    // For who has given up nothing is done.
                    Message::Ask(_, answer) if answer.is_closed() => {}
                    Message::Ask(ask, answer) => {
                        asks.push(ask);
                        answers.push(answer);
                    }
                    Message::Close(done) => {
                        closed = Some(done);
                        break;
                    }
                }
            }
            match self.transact(asks) {
                Ok(done) => answers.into_iter().zip(done).for_each(|(answer, done)| drop(answer.send(done))),
                Err(fault) => answers.into_iter().for_each(|answer| drop(answer.send(Err(fault.clone())))),
            }
            if let Some(closed) = closed {
                self.file = None;
                let _ = closed.send(());
                return;
            }
        }
    }

    /// Does all of it in one transaction. An error: none of it has been promised.
    fn transact(&mut self, asks: Vec<Ask>) -> Result<Vec<Result<Done, StoreFault>>, StoreFault> {
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        let began = self.clock.now();
        let done = self.open_again(began).and_then(|()| self.change(asks));
        match &done {
            Ok(_) => {}
            Err(fault) => {
                tracing::error!(file = %self.path.display(), %fault, "the store failed; what needs it is refused");
                self.metrics.store().failed();
                // After a failed write the file is not to be trusted until it was opened anew.
                if self.file.take().is_some() {
                    self.opened_again = began;
                }
            }
        }
        self.works.store(done.is_ok(), Ordering::Relaxed);
        let (kept, claims) = (self.snapshot.load(), self.claims);
        self.metrics.store().holds(claims, RevocationKind::ALL.map(|kind| (kind.as_str(), kept.count(kind))));
        done
    }

    fn change(&mut self, asks: Vec<Ask>) -> Result<Vec<Result<Done, StoreFault>>, StoreFault> {
        let began = self.clock.now();
        let file = self.file.as_ref().ok_or(StoreFault::Closed)?;
        let changed = file.change(Snapshot::clone(&self.snapshot.load()), self.limits, asks)?;
        let Changes { done, claims, snapshot } = changed;
        if let Some(claims) = claims {
            self.claims = claims;
        }
        if let Some(snapshot) = snapshot {
            self.snapshot.store(Arc::new(snapshot));
        }
        self.metrics.store().committed(self.clock.now().since(began));
        Ok(done)
    }

    /// The file, opened anew after it failed, and everything in it read again.
    fn open_again(&mut self, at: Timestamp) -> Result<(), StoreFault> {
        if self.file.is_some() {
            return Ok(());
        }
        if at >= self.opened_again && at.since(self.opened_again) < TRY_AGAIN {
            return Err(StoreFault::Failed("it failed a moment ago".to_owned()));
        }
        self.opened_again = at;
        let failed = |why: StoreUnopened| StoreFault::Failed(why.to_string());
        let file = StoreFile::open(&self.path).map_err(failed)?;
        let (claims, snapshot) = file.read().map_err(failed)?;
        self.claims = claims;
        self.snapshot.store(Arc::new(snapshot));
        self.file = Some(file);
        tracing::info!(file = %self.path.display(), "the store works again");
        Ok(())
    }
}
