//! Which sources are current, and which tasks bring their keys: one for each file and URL, one for each agent.
//!
//! A reload keeps the keys and the task of every source whose key settings are the same. Nothing here waits for the network.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::authorities::Authorities;
use super::bundle_stream::Bundles;
use super::keeping::{self, Keeping};
use super::last_good::LastGood;
use super::ledger::Ledger;
use super::origin::Origin;
use super::source::{Confirmed, SourceKeys, locked};
use super::workload_api::Agent;
use super::{
    Liveness, SourceKind, SourceSettings, SourceStatus, TrustView, TrustedSource, extension, key_file, last_good, push,
    refresh,
};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::jose::KeySet;
use crate::telemetry::LivenessNumbers;

/// Fetches at one time: with answers of 1 MiB at most, this bounds what a fleet of odd upstreams costs in memory.
const MOST_FETCHES: usize = 64;

/// The keys of all configured sources. One in a process.
pub struct Trust {
    pub(super) shared: Arc<Shared>,
    cancel: CancellationToken,
    tracker: TaskTracker,
    /// Serializes reloads; no reader takes it.
    agents: Mutex<Agents>,
    pub(super) current: ArcSwap<Vec<Arc<TrustedSource>>>,
    liveness_numbers: OnceLock<LivenessNumbers>,
    begun: OnceLock<()>,
}

/// By address and by what the stream carries.
type Agents = BTreeMap<(String, Bundles), Arc<Agent>>;

/// What every task needs.
pub(super) struct Shared {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) ledger: Ledger,
    /// One place for each fetch under way.
    pub(super) fetches: Semaphore,
    /// One writer at a time: an operator's order, a push and the task that keeps files mean the same folder.
    pub(super) writing: tokio::sync::Mutex<()>,
    pub(super) keeping: Keeping,
    pub(super) directory: PathBuf,
}

impl Trust {
    /// An engine without sources. Last good keys are kept below `state_directory`; `cancel` ends every task.
    pub fn new(
        state_directory: PathBuf,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::new(Shared {
                clock,
                entropy,
                ledger: Ledger::default(),
                fetches: Semaphore::new(MOST_FETCHES),
                writing: tokio::sync::Mutex::default(),
                keeping: Keeping::default(),
                directory: state_directory,
            }),
            cancel,
            tracker: TaskTracker::new(),
            agents: Mutex::default(),
            current: ArcSwap::default(),
            liveness_numbers: OnceLock::new(),
            begun: OnceLock::new(),
        })
    }

    /// Makes these the current sources: starts what is new, keeps what is unchanged, ends what is gone.
    ///
    /// A source that is gone or re-pointed keeps serving what it held to those who still use an older view; nobody refreshes
    /// it any more. Reads local files (last good keys, key files), and never waits for the network. Call it within the runtime.
    pub fn apply(self: &Arc<Self>, sources: &[SourceSettings]) -> TrustView {
        let mut agents = locked(&self.agents);
        let old = self.current.load_full();
        if self.begun.set(()).is_ok() {
            let names = sources.iter().map(|settings| settings.name.clone()).collect();
            self.shared.keeping.forget_others(names);
            self.tracker.spawn(keeping::run(Arc::clone(&self.shared), self.cancel.clone()));
        }
        let mut fresh = Vec::new();
        let next: Vec<Arc<TrustedSource>> = sources
            .iter()
            .map(|settings| {
                let origin = Origin::of(settings);
                let same =
                    |known: &&Arc<TrustedSource>| known.settings.name == settings.name && known.keys.origin == origin;
                let keys = old.iter().find(same).map(|known| Arc::clone(&known.keys)).unwrap_or_else(|| {
                    let cancel = self.cancel.child_token();
                    let keys = Arc::new(SourceKeys::new(settings.name.clone(), origin.clone(), cancel));
                    fresh.push(Arc::clone(&keys));
                    keys
                });
                keys.may_serve_for(settings.max_stale);
                let liveness = self.liveness(settings, &old);
                let clock = Arc::clone(&self.shared.clock);
                Arc::new(TrustedSource { settings: settings.clone(), keys, clock, liveness })
            })
            .collect();
        for gone in old.iter().filter(|old| !next.iter().any(|new| Arc::ptr_eq(&new.keys, &old.keys))) {
            gone.keys.gone.store(true, Ordering::SeqCst);
            gone.keys.cancel.cancel();
            gone.keys.attempted();
            gone.keys.authorities.attempted();
            gone.keys.authorities.disconnect(self.shared.clock.now());
            if !next.iter().any(|new| new.settings.name == gone.settings.name) {
                self.shared.keeping.forget(gone.settings.name.clone());
            }
        }
        let current = next.iter().map(|source| (Arc::clone(&source.keys), source.settings.clone())).collect();
        self.shared.ledger.settle(current, self.shared.clock.now());
        // Remembered keys first, so that nobody takes a key in the moment before its holder's file is read.
        off_the_async_threads(|| {
            fresh.iter().for_each(|keys| self.shared.remember(keys));
            fresh.iter().for_each(|keys| key_file::attempt(keys, &self.shared));
            fresh.iter().for_each(|keys| push::begin(keys, &self.shared));
        });
        for keys in fresh {
            if keys.origin.is_fetched() {
                self.tracker.spawn(refresh::run(keys, Arc::clone(&self.shared)));
            } else if keys.origin.file().is_some() {
                self.tracker.spawn(key_file::run(keys, Arc::clone(&self.shared)));
            } else if keys.door.is_some() {
                self.tracker.spawn(push::run(keys, Arc::clone(&self.shared)));
            }
        }
        self.serve_agents(&mut agents, &next);
        self.current.store(Arc::new(next.clone()));
        TrustView::of(next)
    }

    /// Who answers for the workloads of a source: the same as before where nothing of the source has changed.
    fn liveness(&self, settings: &SourceSettings, old: &[Arc<TrustedSource>]) -> Option<Arc<Liveness>> {
        let SourceKind::Kubernetes { liveness: Some(endpoint), .. } = &settings.kind else { return None };
        let kept = old.iter().find(|known| known.settings == *settings).and_then(|known| known.liveness.clone());
        let numbers = || self.liveness_numbers.get().cloned().unwrap_or_default();
        let make =
            || Liveness::new(settings.name.as_str(), endpoint.clone(), Arc::clone(&self.shared.clock), numbers());
        Some(kept.unwrap_or_else(make))
    }

    /// Counts questions to API servers there, for sources that are applied from now on.
    pub fn count_liveness(&self, numbers: LivenessNumbers) {
        let _only_once = self.liveness_numbers.set(numbers);
    }

    fn serve_agents(&self, agents: &mut Agents, sources: &[Arc<TrustedSource>]) {
        let mut wanted: BTreeMap<String, Vec<Arc<SourceKeys>>> = BTreeMap::new();
        for source in sources {
            if let Origin::WorkloadApi { endpoint, .. } = &source.keys.origin {
                wanted.entry(endpoint.clone()).or_default().push(Arc::clone(&source.keys));
            }
        }
        agents.retain(|_, agent| {
            let needed = wanted.contains_key(agent.endpoint());
            if !needed {
                agent.cancel.cancel();
            }
            needed
        });
        for ((endpoint, sources), bundles) in wanted.iter().flat_map(|of| Bundles::ALL.map(|bundles| (of, bundles))) {
            match agents.entry((endpoint.clone(), bundles)) {
                Entry::Occupied(agent) => agent.get().serve(sources.clone()),
                Entry::Vacant(place) => {
                    let (shared, cancel) = (Arc::clone(&self.shared), self.cancel.child_token());
                    let agent = place.insert(Agent::new(endpoint.clone(), bundles, shared, cancel));
                    // Before its first attempt, which is then an attempt of theirs.
                    agent.serve(sources.clone());
                    self.tracker.spawn(Arc::clone(agent).run());
                }
            }
        }
    }

    /// Completes when every current source's first attempt has ended, well or not.
    pub async fn first_attempts(&self) {
        for source in self.current.load_full().iter() {
            source.keys.first_attempt().await;
            source.keys.authorities.first_attempt().await;
        }
    }

    /// The state of every current source.
    pub fn status(&self) -> Vec<SourceStatus> {
        let now = self.shared.clock.now();
        self.current.load().iter().map(|source| source.status(now)).collect()
    }

    /// Completes when, after cancellation, every task is gone.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "trust in {:?}", self.current.load())
    }
}

impl Shared {
    /// Takes over the last good keys of an earlier run.
    fn remember(&self, keys: &Arc<SourceKeys>) {
        if self.keeping.forgets(&keys.name) {
            return;
        }
        match last_good::read(&self.directory, &keys.name, &keys.digest, self.clock.now()) {
            Ok(None) => {}
            Ok(Some(LastGood { keys: held, authorities, lineage })) => {
                if let Some(kept) = held {
                    self.ledger.publish(keys, KeySet::clone(&kept.set), Confirmed::At(kept.confirmed_at));
                    kept.ends.into_iter().for_each(|ends| self.ledger.end_at(keys, ends));
                }
                if let Some(kept) = authorities {
                    keys.authorities.publish(
                        keys.name.as_str(),
                        Authorities::clone(&kept.set),
                        Confirmed::At(kept.confirmed_at),
                    );
                    kept.ends.into_iter().for_each(|ends| keys.authorities.end_at(ends));
                }
                *locked(&keys.lineage) = lineage;
            }
            Err(why) => tracing::warn!(source = %keys.name, "the last good keys of {} are not used: {why}", keys.name),
        }
        match extension::read(&self.directory, &keys.name, &keys.digest, self.clock.now()) {
            Ok(extension) => keys.remember(extension, self.clock.now()),
            Err(why) => tracing::warn!(source = %keys.name, "the extension of {} does not count: {why}", keys.name),
        }
    }
}

/// Runs what blocks for a moment; on a runtime with several threads the others take this one's tasks meanwhile.
fn off_the_async_threads(blocking: impl FnOnce()) {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(blocking),
        _ => blocking(),
    }
}
