//! Keys that a workload of a cluster pushes: which set takes the place of the one before, and the file until there is any.
//!
//! Never asks anybody, and never decides who may push: who calls has verified that. One task a source takes one push after
//! the other, so that the last one is one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use base64ct::{Base64UrlUnpadded, Encoding};
use tokio::sync::{mpsc, oneshot};

use super::engine::Shared;
use super::key_file::read_bounded;
use super::last_good::{self, LastGood};
use super::newcomers::Newcomers;
use super::origin::Origin;
use super::pushed::{self, LastPush, Pushes};
use super::source::{Confirmed, SourceKeys, locked};
use super::{IssuerKeys, ServiceAccount, SourceKind, SourceSettings, TrustedSource};
use crate::clock::{Lifetime, Timestamp};
use crate::identity::{IssuerUrl, SourceName};
use crate::jose::{KeyPurpose, KeySet, Thumbprint};

/// As for key files.
const MOST_BYTES: u64 = 1024 * 1024;
/// As for key files.
const POLL: Lifetime = Lifetime::from_seconds(5);
/// Pushes that wait for the one before to be written: from one workload there is hardly ever a second.
const MOST_WAITING: usize = 8;

/// Where a source's keys are pushed to, and the one audience of the tokens that do it.
pub fn push_endpoint(issuer: &IssuerUrl, source: &SourceName) -> String {
    issuer.endpoint(&format!("/sources/{source}/keys"))
}

/// A set of keys and the proof that it may take the place of the one before: the key that verified the push is in it.
#[derive(Debug)]
pub struct Push {
    pub(super) set: KeySet,
    verified_by: Thumbprint,
    issued_at: Timestamp,
    by: String,
}

impl Push {
    /// A push by `by`, whose token was issued at `issued_at` and verified by the key with that thumbprint. `None` when that
    /// key is not in the set.
    pub fn new(set: KeySet, verified_by: Thumbprint, issued_at: Timestamp, by: String) -> Option<Self> {
        let is_in = set.keys().iter().any(|key| *key.thumbprint() == verified_by);
        is_in.then_some(Self { set, verified_by, issued_at, by })
    }
}

/// Why a push was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Its token was issued before that of the last push that was taken.
    Stale {
        /// When that one was issued.
        last: Timestamp,
    },
    /// The key that verified it is not the source's any more.
    KeyGone,
    /// The source is not configured any more, or its keys are not pushed.
    Gone,
}

/// Where pushes come in.
pub(super) struct Door {
    sender: mpsc::Sender<Waiting>,
    receiver: Mutex<Option<mpsc::Receiver<Waiting>>>,
    pushes: Mutex<Pushes>,
    /// Something is written of pushes and cannot be read: keys may have been pushed.
    forgot: AtomicBool,
    pub(super) newcomers: Newcomers,
}

struct Waiting {
    push: Push,
    outcome: oneshot::Sender<Result<(), NotTaken>>,
}

impl Door {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            pushes: Mutex::default(),
            forgot: AtomicBool::new(false),
            newcomers: Newcomers::default(),
        }
    }

    /// The last push that was taken.
    pub(super) fn last(&self) -> Option<LastPush> {
        locked(&self.pushes).last.clone()
    }

    pub(super) async fn take(&self, push: Push) -> Result<(), NotTaken> {
        let (outcome, told) = oneshot::channel();
        self.sender.send(Waiting { push, outcome }).await.map_err(|_ended| NotTaken::Gone)?;
        told.await.unwrap_or(Err(NotTaken::Gone))
    }
}

/// Takes over what an earlier run knew of pushes, and the first keys. Blocks on the file system.
pub(super) fn begin(keys: &Arc<SourceKeys>, shared: &Shared) {
    let Some(door) = &keys.door else { return };
    let known = match shared.keeping.forgets(&keys.name) {
        true => Ok(None),
        false => pushed::read(&shared.directory, &keys.name, &keys.digest),
    };
    match known {
        Ok(known) => *locked(&door.pushes) = known.unwrap_or_default(),
        Err(why) => {
            door.forgot.store(true, Ordering::Relaxed);
            tracing::warn!(source = %keys.name, "what was pushed to {} before is not known: {why}", keys.name);
        }
    }
    look_at_first(keys, shared, door);
    keys.attempted();
}

/// Takes one push after the other, and looks at the file of first keys, until the source is gone.
pub(super) async fn run(keys: Arc<SourceKeys>, shared: Arc<Shared>) {
    let Some(door) = &keys.door else { return };
    let Some(mut pushes) = locked(&door.receiver).take() else { return };
    keep(&keys, &shared).await;
    loop {
        let next = shared.clock.now().plus(POLL);
        tokio::select! {
            biased;
            () = keys.cancel.cancelled() => return,
            waiting = pushes.recv() => {
                let Some(Waiting { push, outcome }) = waiting else { return };
                let taken = take(&keys, &shared, door, push);
                if taken.is_ok() {
                    keep(&keys, &shared).await;
                }
                // Whoever asked may be gone; what was taken stays taken.
                let _ = outcome.send(taken);
            }
            () = shared.clock.sleep_until(next) => {
                let (of, within) = (Arc::clone(&keys), Arc::clone(&shared));
                let look = move || of.door.as_ref().is_some_and(|door| look(&of, &within, door));
                if tokio::task::spawn_blocking(look).await.unwrap_or(false) {
                    keep(&keys, &shared).await;
                }
            }
        }
    }
}

fn take(keys: &Arc<SourceKeys>, shared: &Shared, door: &Door, push: Push) -> Result<(), NotTaken> {
    let Push { set, verified_by, issued_at, by } = push;
    if let Some(last) = door.last().filter(|last| issued_at < last.issued_at) {
        return Err(NotTaken::Stale { last: last.issued_at });
    }
    // Another push may have taken the key away since it verified this one.
    let held = keys.held().ok_or(NotTaken::KeyGone)?;
    if !held.set.keys().iter().any(|key| *key.thumbprint() == verified_by) {
        return Err(NotTaken::KeyGone);
    }
    let at = shared.clock.now();
    let key_ids = set.keys().iter().map(|key| match key.key_id() {
        Some(id) => id.to_string(),
        None => key.thumbprint().to_string(),
    });
    let last = LastPush { at, by, issued_at, key_ids: key_ids.collect() };
    keys.began(at, false);
    // A reload may have taken the source away, or begun it anew, since the push came.
    if !shared.ledger.publish(keys, set, Confirmed::At(at)) {
        return Err(NotTaken::Gone);
    }
    locked(&door.pushes).last = Some(last);
    keys.succeeded();
    Ok(())
}

/// What was pushed before, where it could not be read until now, or else the first keys. Says whether there are others now.
fn look(keys: &Arc<SourceKeys>, shared: &Shared, door: &Door) -> bool {
    if keys.held().is_none() {
        // The clock may have been wrong.
        let known = last_good::read(&shared.directory, &keys.name, &keys.digest, shared.clock.now());
        if let Ok(Some(LastGood { keys: Some(kept), .. })) = known {
            shared.ledger.publish(keys, KeySet::clone(&kept.set), Confirmed::At(kept.confirmed_at));
            keys.note(None);
        }
    }
    look_at_first(keys, shared, door)
}

/// Takes the first keys where nothing newer is known: nothing was pushed yet, or an operator has put other keys there since.
/// Says whether it did. Where what was pushed is lost, what was there before it does not come back.
fn look_at_first(keys: &Arc<SourceKeys>, shared: &Shared, door: &Door) -> bool {
    let Origin::Push { first: path, .. } = &keys.origin else { return false };
    let bytes = match read_bounded(path, MOST_BYTES) {
        Ok(bytes) => bytes,
        Err(why) => {
            // Once there are keys, nobody needs the file.
            if keys.held().is_none() {
                keys.failed(why);
            }
            return false;
        }
    };
    let hash = Base64UrlUnpadded::encode_string(digest::digest(&digest::SHA256, &bytes).as_ref());
    let Pushes { first: known, last } = locked(&door.pushes).clone();
    let is_other = known.as_ref().is_some_and(|known| *known != hash);
    let pushed = last.is_some() || door.forgot.load(Ordering::Relaxed);
    if keys.held().is_some() {
        if known.is_none() {
            // What is held is from an earlier run, and what it began with is not known any more.
            locked(&door.pushes).first = Some(hash);
            return true;
        }
        if !is_other {
            return false;
        }
    } else if pushed && !is_other {
        locked(&door.pushes).first = Some(hash);
        keys.failed(format!("keys were pushed since, and are lost: put the present set into {}", path.display()));
        return false;
    }
    let now = shared.clock.now();
    keys.began(now, false);
    match KeySet::parse(&bytes, KeyPurpose::JwkSet) {
        Ok(set) => {
            locked(&door.pushes).first = Some(hash);
            shared.ledger.publish(keys, set, Confirmed::At(now));
            keys.succeeded();
            true
        }
        Err(why) => {
            keys.failed(format!("{} is no key set: {why}", path.display()));
            false
        }
    }
}

/// Writes what is known of pushes, and then the keys. Where there are none, what is written already says more.
async fn keep(keys: &Arc<SourceKeys>, shared: &Arc<Shared>) {
    let Some(door) = keys.door.as_ref().filter(|_| keys.held().is_some()) else { return };
    let writing = shared.writing.lock().await;
    if keys.cancel.is_cancelled() {
        return;
    }
    let (of, within, pushes) = (Arc::clone(keys), Arc::clone(shared), locked(&door.pushes).clone());
    let write = move || pushed::write(&within.directory, &of.name, &of.digest, &pushes);
    match tokio::task::spawn_blocking(write).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(source = %keys.name, "what was pushed to {} cannot be written: {error}", keys.name);
        }
        Err(_interrupted) => return,
    }
    drop(writing);
    shared.keep(keys).await;
}

impl TrustedSource {
    /// The workload that may push this source's keys, where they are pushed.
    pub const fn pusher(&self) -> Option<&ServiceAccount> {
        match &self.settings.kind {
            SourceKind::Kubernetes { keys: IssuerKeys::Push { by, .. }, .. } => Some(by),
            _ => None,
        }
    }

    /// This source for credentials that are for that audience alone.
    #[must_use]
    pub fn addressed_to(&self, audience: String) -> Arc<Self> {
        let settings = SourceSettings { audiences: Some([audience].into()), ..self.settings.clone() };
        Arc::new(Self { settings, keys: Arc::clone(&self.keys), clock: Arc::clone(&self.clock), liveness: None })
    }

    /// Takes the keys that its pusher sent. Afterwards they are written down too; a disk that fails is logged and shown, and
    /// costs the keys at a restart.
    ///
    /// # Errors
    /// [`NotTaken`]; the keys are what they were.
    pub async fn take(&self, push: Push) -> Result<(), NotTaken> {
        match &self.keys.door {
            Some(door) => door.take(push).await,
            None => Err(NotTaken::Gone),
        }
    }

    /// Shows that what its pusher sent was refused. Only for what the pusher itself sent: nobody else is to have a say here.
    pub fn push_refused(&self, why: &str) {
        self.keys.failed(format!("a push was refused: {why}"));
    }
}
