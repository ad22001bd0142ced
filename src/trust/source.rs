//! One source: its settings of one generation, and its keys, which outlive generations.
//!
//! A reader takes a snapshot and never waits. Keys that nobody has confirmed within `max_stale` are never handed out.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::authorities::{Authorities, Shelf};
use super::bundle_endpoint::Lineage;
use super::last_good::Written;
use super::look_again::Gate;
use super::origin::Origin;
use super::push::Door;
use super::status::{Collision, SourceStatus, Tally};
use super::{Extension, Liveness, LookAgain, SourceSettings};
use crate::clock::{Clock, Lifetime, Timestamp};
use crate::identity::{KeyId, SourceName};
use crate::jose::KeySet;

/// How far ahead of our clock a time that we wrote may be: a clock is corrected a little now and then. From further ahead
/// it says nothing about how old keys are.
pub(super) const CLOCK_DIFFERENCE: Lifetime = Lifetime::from_minutes(5);

/// A configured source, as one generation sees it.
pub struct TrustedSource {
    /// How it is configured.
    pub settings: SourceSettings,
    pub(super) keys: Arc<SourceKeys>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) liveness: Option<Arc<Liveness>>,
}

/// Keys that may be used.
#[derive(Clone, Debug)]
pub struct KeysNow {
    /// The keys; none at all when everything by this source is withdrawn.
    pub set: Arc<KeySet>,
    /// When the source last said that these are its keys.
    pub confirmed_at: Timestamp,
}

impl KeysNow {
    /// Whether they were confirmed in the future: the clock was set back since.
    pub(super) fn is_from_ahead(&self, at: Timestamp) -> bool {
        self.confirmed_at > at.plus(CLOCK_DIFFERENCE)
    }
}

/// Why no keys may be used. Never the caller's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysUnusable {
    /// There never were any.
    Unreachable {
        /// A sentence for the operator.
        why: String,
    },
    /// Nobody has confirmed them for longer than `max_stale`, or nobody knows for how long: the clock was set back since.
    Stale {
        /// When they were last confirmed.
        confirmed_at: Timestamp,
        /// A sentence for the operator.
        why: String,
    },
}

impl TrustedSource {
    /// The keys as they may be used at `at`, without waiting.
    ///
    /// # Errors
    /// [`KeysUnusable`] when there never were any, they are older than `max_stale` and no order extends them, or the clock
    /// was set back by more than five minutes since they were confirmed. Then a source that can be asked is asked at once, at most once in 30 s.
    pub fn keys_at(&self, at: Timestamp) -> Result<KeysNow, KeysUnusable> {
        let Some(held) = self.keys.held() else {
            return Err(KeysUnusable::Unreachable { why: self.keys.why() });
        };
        let now = held.at(at);
        if now.is_from_ahead(at) {
            self.keys.want(at);
            let why = format!("the clock was set back, to {at:?}, and they have not been confirmed since");
            return Err(KeysUnusable::Stale { confirmed_at: now.confirmed_at, why });
        }
        if at > self.deadline(now.confirmed_at, at) {
            // After a machine slept, the loop may not have woken yet.
            self.keys.want(at);
            let why = self.stale(self.keys.trouble.load().as_ref().map(|why| why.to_string()));
            return Err(KeysUnusable::Stale { confirmed_at: now.confirmed_at, why });
        }
        Ok(now)
    }

    /// The X.509 authorities as they may be used at `at`, without waiting; none at all when every X.509-SVID is withdrawn.
    ///
    /// # Errors
    /// As [`keys_at`](Self::keys_at). A source that is no trust domain never has any.
    pub fn authorities_at(&self, at: Timestamp) -> Result<Arc<Authorities>, KeysUnusable> {
        let why = || self.keys.authorities.trouble().unwrap_or_else(|| "the source has not answered yet".to_owned());
        let Some((set, confirmed_at)) = self.keys.authorities.at(at) else {
            return Err(KeysUnusable::Unreachable { why: why() });
        };
        if confirmed_at > at.plus(CLOCK_DIFFERENCE) {
            self.keys.want(at);
            let why = format!("the clock was set back, to {at:?}, and they have not been confirmed since");
            return Err(KeysUnusable::Stale { confirmed_at, why });
        }
        if at > self.deadline(confirmed_at, at) {
            self.keys.want(at);
            return Err(KeysUnusable::Stale { confirmed_at, why: self.stale(self.keys.authorities.trouble()) });
        }
        Ok(set)
    }

    fn stale(&self, trouble: Option<String>) -> String {
        let trouble = trouble.unwrap_or_else(|| "the source has not answered since".to_owned());
        format!("{trouble} (more time: countersign keys extend {} 4h)", self.settings.name)
    }

    /// Asks the source once more for a key id that nobody knows (design §9.4, JWK-13).
    ///
    /// At most one attempt in 30 s for all callers together, counted from the last attempt of any kind; at most 64 wait, for at most 1 s.
    pub async fn look_again(&self, key_id: &KeyId, at: Timestamp) -> LookAgain {
        match &self.keys.gate {
            None => LookAgain::CannotBeAsked,
            Some(gate) => {
                let knows = || self.keys.held().is_some_and(|held| held.set.knows(key_id));
                gate.look_again(knows, at, &*self.clock).await
            }
        }
    }

    /// How many seconds its clock was ahead of ours at its last answer.
    pub fn skew_seconds(&self) -> Option<i64> {
        locked(&self.keys.tally).skew_seconds
    }

    /// Who is asked whether its workloads still live, if anybody is.
    pub const fn liveness(&self) -> Option<&Arc<Liveness>> {
        self.liveness.as_ref()
    }

    /// The state of this source at `at`.
    pub fn status(&self, at: Timestamp) -> SourceStatus {
        let held = self.keys.held();
        let now = held.as_ref().map(|held| held.at(at));
        let tally = *locked(&self.keys.tally);
        SourceStatus {
            name: self.settings.name.clone(),
            kind: self.settings.kind.word(),
            keys: now.as_ref().map_or(0, |now| now.set.keys().len()),
            skipped: held.as_ref().map_or(0, |held| held.skipped),
            authorities: self.keys.authorities.at(at).map_or(0, |(set, _)| set.all().len()),
            authorities_error: self.keys.authorities.trouble(),
            collisions: held.as_ref().map(|held| held.collisions.clone()).unwrap_or_default(),
            usable_until: now.as_ref().map(|now| match now.is_from_ahead(at) {
                true => at,
                false => self.deadline(now.confirmed_at, at),
            }),
            confirmed_at: now.map(|now| now.confirmed_at),
            extension: self.keys.extension_at(at),
            budget: self.budget(at),
            skew_seconds: tally.skew_seconds,
            last_push: self.keys.door.as_ref().and_then(Door::last),
            leeway: self.settings.leeway,
            last_attempt: tally.last_attempt,
            last_error: self.keys.trouble.load().as_ref().map(|why| why.as_ref().clone()),
            next_attempt: tally.next_attempt,
            refreshes_ok: tally.ok,
            refreshes_failed: tally.failed,
            outbound_attempts: tally.outbound,
            liveness: self.liveness.as_ref().map(|liveness| liveness.status()),
        }
    }
}

impl fmt::Debug for TrustedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "source {}", self.settings.name)
    }
}

/// What a source holds at this moment. Replaced whole, by the ledger alone.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) set: Arc<KeySet>,
    pub(super) skipped: usize,
    pub(super) collisions: Vec<Collision>,
    pub(super) confirmed: Confirmed,
    /// From then on everything counts as withdrawn (WAP-09).
    pub(super) ends: Option<Timestamp>,
}

/// How fresh keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// The source said so then.
    At(Timestamp),
    /// An open stream says so all the time.
    WhileOpen,
}

impl Held {
    pub(super) fn at(&self, at: Timestamp) -> KeysNow {
        match (self.ends, self.confirmed) {
            (Some(ends), _) if ends <= at => KeysNow { set: Arc::default(), confirmed_at: ends },
            (_, Confirmed::At(confirmed_at)) => KeysNow { set: Arc::clone(&self.set), confirmed_at },
            (_, Confirmed::WhileOpen) => KeysNow { set: Arc::clone(&self.set), confirmed_at: at },
        }
    }
}

/// The keys of one source, shared by the generations that configure them alike.
pub(super) struct SourceKeys {
    pub(super) name: SourceName,
    pub(super) origin: Origin,
    pub(super) digest: String,
    pub(super) cancel: CancellationToken,
    /// Taken out or re-pointed: nothing of it is written any more.
    pub(super) gone: AtomicBool,
    /// Only where the source can be asked.
    pub(super) gate: Option<Gate>,
    /// Only where keys are pushed.
    pub(super) door: Option<Door>,
    pub(super) tally: Mutex<Tally>,
    pub(super) written: Mutex<Written>,
    pub(super) authorities: Shelf,
    /// An operator's order, ended or not.
    pub(super) extension: ArcSwapOption<Extension>,
    /// Only of bundle endpoints.
    pub(super) lineage: Mutex<Lineage>,
    /// As the newest generation has it.
    pub(super) max_stale: Mutex<Lifetime>,
    trouble: ArcSwapOption<String>,
    held: ArcSwapOption<Held>,
    first_attempt: watch::Sender<bool>,
}

impl SourceKeys {
    pub(super) fn new(name: SourceName, origin: Origin, cancel: CancellationToken) -> Self {
        Self {
            name,
            digest: origin.digest(),
            gate: origin.is_fetched().then(Gate::new),
            door: matches!(origin, Origin::Push { .. }).then(Door::new),
            authorities: Shelf::new(origin.is_trust_domain()),
            origin,
            cancel,
            gone: AtomicBool::new(false),
            tally: Mutex::default(),
            written: Mutex::default(),
            extension: ArcSwapOption::empty(),
            lineage: Mutex::default(),
            max_stale: Mutex::new(Lifetime::ZERO),
            trouble: ArcSwapOption::empty(),
            held: ArcSwapOption::empty(),
            first_attempt: watch::Sender::new(false),
        }
    }

    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.held.load_full()
    }

    /// For the ledger alone, which decides whose keys are whose.
    pub(super) fn replace(&self, held: Held) {
        self.held.store(Some(Arc::new(held)));
    }

    /// The source says that these certificates vouch for its X.509-SVIDs. Nothing happens when the source no longer counts.
    pub(super) fn vouches_by(&self, set: Authorities, confirmed: Confirmed) {
        if !self.cancel.is_cancelled() {
            self.authorities.publish(self.name.as_str(), set, confirmed);
            self.authorities.note(self.name.as_str(), None);
        }
    }

    /// Every X.509-SVID is withdrawn.
    pub(super) fn vouches_no_more(&self, now: Timestamp) {
        if !self.cancel.is_cancelled() {
            self.authorities.publish(self.name.as_str(), Authorities::default(), Confirmed::At(now));
        }
    }

    /// Notes a failure, or that all is well. Logged when the sentence changes, not at every attempt.
    pub(super) fn note(&self, trouble: Option<String>) {
        let before = self.trouble.load_full();
        if before.as_deref() == trouble.as_ref() {
            return;
        }
        match &trouble {
            Some(why) => tracing::warn!(source = %self.name, "keys of {}: {why}", self.name),
            None => tracing::info!(source = %self.name, "keys of {}: all is well again", self.name),
        }
        self.trouble.store(trouble.map(Arc::new));
    }

    pub(super) fn began(&self, now: Timestamp, outbound: bool) {
        let mut tally = locked(&self.tally);
        tally.last_attempt = Some(now);
        tally.next_attempt = None;
        tally.outbound += u64::from(outbound);
    }

    pub(super) fn succeeded(&self) {
        locked(&self.tally).ok += 1;
        self.note(None);
        self.first_attempt.send_replace(true);
    }

    pub(super) fn failed(&self, why: String) {
        locked(&self.tally).failed += 1;
        self.note(Some(why));
        self.first_attempt.send_replace(true);
    }

    pub(super) fn plan(&self, next: Option<Timestamp>) {
        locked(&self.tally).next_attempt = next;
    }

    /// Nobody need wait for this source any more.
    pub(super) fn attempted(&self) {
        self.first_attempt.send_replace(true);
    }

    pub(super) async fn first_attempt(&self) {
        // The sender lives in `self`: waiting ends only when an attempt has.
        let _ = self.first_attempt.subscribe().wait_for(|ended| *ended).await;
    }

    fn why(&self) -> String {
        let trouble = self.trouble.load();
        trouble.as_ref().map_or_else(|| "the source has not answered yet".to_owned(), |why| why.as_ref().clone())
    }
}

/// Takes a lock that is held for a few instructions. A thread that died with it left nothing half done.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            locked(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_failure_is_logged_when_its_sentence_changes() {
        let origin = Origin::File { path: "keys.json".into(), trust_domain: None };
        let keys = SourceKeys::new(SourceName::parse("eu1").unwrap(), origin, CancellationToken::new());
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            keys.succeeded();
            for why in ["gone", "gone", "gone", "torn", "torn"] {
                keys.failed(why.to_owned());
            }
            keys.succeeded();
            keys.succeeded();
        });
        let text = String::from_utf8(locked(&lines.0).clone()).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(locked(&keys.tally).failed, 5);
    }
}
