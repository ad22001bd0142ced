//! The metrics, with the prefix `countersign_`.
//!
//! Counting never fails and never waits.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::{CounterWithExemplar, HistogramWithExemplars};
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::outage_numbers::OutageNumbers;
use super::{LivenessNumbers, StoreNumbers};
use crate::clock::{Lifetime, Timestamp};

/// What a decision is counted under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabels {
    /// `allow`, `deny` or `dropped`.
    pub outcome: &'static str,
    /// The reason's code, or `none`.
    pub reason: Cow<'static, str>,
    /// The door.
    pub transport: Cow<'static, str>,
    /// The grant type, or `none`.
    pub grant: Cow<'static, str>,
    /// The configured source whose key verified, or empty.
    pub source: String,
    /// The configured resource, or empty.
    pub resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabel {
    signal: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SourceLabel {
    pub(super) source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefreshLabels {
    source: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SigningLabels {
    algorithm: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    version: &'static str,
    replica: String,
}

/// The exemplar of a series: the last decision that was counted there, for `countersign explain`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefLabel {
    r#ref: String,
}

/// Buckets in seconds: an exchange takes a fraction of a millisecond, and at most the second of a shared refresh more.
const SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5];

#[derive(Clone)]
struct Seconds;

impl MetricConstructor<HistogramWithExemplars<RefLabel>> for Seconds {
    fn new_metric(&self) -> HistogramWithExemplars<RefLabel> {
        HistogramWithExemplars::new(SECONDS.into_iter())
    }
}

/// The numbers of one source at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct SourceNumbers {
    /// Its configured name.
    pub source: String,
    /// Usable keys.
    pub keys: usize,
    /// Keys that were passed over, copies that belong to another source among them.
    pub keys_skipped: usize,
    /// Time since the keys were last confirmed; `None` if never.
    pub age: Option<Lifetime>,
    /// Time until they may no longer be used; `None` if there are none.
    pub left: Option<Lifetime>,
    /// Time until the first caller is refused, if the source stays away from now on.
    pub budget: Lifetime,
    /// Time until an operator's extension ends; `None` without one.
    pub extended: Option<Lifetime>,
    /// How many seconds its clock is ahead of ours, if that was measured.
    pub skew: Option<i64>,
    /// Attempts that ended well.
    pub refreshed: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// How many signing keys of an algorithm are in a state.
#[derive(Clone, Copy, Debug)]
pub struct SigningKeyCount {
    /// The algorithm.
    pub algorithm: &'static str,
    /// The state.
    pub state: &'static str,
}

/// All metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    decisions: Family<DecisionLabels, CounterWithExemplar<RefLabel>>,
    seconds: Family<OutcomeLabel, HistogramWithExemplars<RefLabel>, Seconds>,
    records_lost: Counter,
    telemetry_lost: Family<SignalLabel, Counter>,
    reloads: Family<OutcomeLabel, Counter>,
    reload_failed: Gauge,
    keys: Family<SourceLabel, Gauge>,
    keys_skipped: Family<SourceLabel, Gauge>,
    key_age: Family<SourceLabel, Gauge>,
    key_deadline: Family<SourceLabel, Gauge>,
    outage: OutageNumbers,
    key_last_verified: Family<SourceLabel, Gauge>,
    refreshes: Family<RefreshLabels, Counter>,
    signing_keys: Family<SigningLabels, Gauge>,
    canaries: Family<OutcomeLabel, Counter>,
    postponed: Family<CauseLabel, Counter>,
    store: StoreNumbers,
    liveness: LivenessNumbers,
}

impl Metrics {
    /// A fresh registry; `replica` is the first two letters of this process's references.
    pub fn new(replica: &str) -> Self {
        let mut registry = Registry::with_prefix("countersign");
        let info: Family<InfoLabels, Gauge> = Family::default();
        info.get_or_create(&InfoLabels { version: env!("CARGO_PKG_VERSION"), replica: replica.to_owned() }).set(1);
        registry.register("build", "Version of this process and the letters that its references start with", info);
        let decisions = Family::default();
        registry.register("decisions", "Requests for a token by outcome and reason", decisions.clone());
        let seconds = Family::new_with_constructor(Seconds);
        registry.register("decision_seconds", "Time from a request's arrival to its outcome", seconds.clone());
        let records_lost = Counter::default();
        registry.register("records_lost", "Decision records that could not be written", records_lost.clone());
        let telemetry_lost: Family<SignalLabel, Counter> = Family::default();
        for signal in ["traces", "logs"] {
            drop(telemetry_lost.get_or_create(&SignalLabel { signal }));
        }
        registry.register(
            "telemetry_lost",
            "Spans and log lines that no collector took, by signal",
            telemetry_lost.clone(),
        );
        let reloads: Family<OutcomeLabel, Counter> = Family::default();
        // Both from the start: an alert on their rate sees the first one too.
        for outcome in ["taken", "refused"] {
            drop(reloads.get_or_create(&OutcomeLabel { outcome }));
        }
        registry.register("config_reloads", "Configurations read after the start, by outcome", reloads.clone());
        let reload_failed = Gauge::default();
        registry.register(
            "config_reload_failed",
            "1 while the newest configuration on disk is refused",
            reload_failed.clone(),
        );
        let keys = Family::default();
        registry.register("keys", "Usable keys of a source", keys.clone());
        let keys_skipped = Family::default();
        registry.register("keys_skipped", "Keys of a source that are passed over", keys_skipped.clone());
        let key_age = Family::default();
        registry.register("key_age_seconds", "Time since the keys of a source were last confirmed", key_age.clone());
        let key_deadline = Family::default();
        registry.register(
            "keys_stale_deadline_seconds",
            "Time until the keys of a source may no longer be used",
            key_deadline.clone(),
        );
        let outage = OutageNumbers::register(&mut registry);
        let key_last_verified = Family::default();
        registry.register(
            "key_last_verified_seconds",
            "When a key of a source last verified a signature, in seconds since the Unix epoch",
            key_last_verified.clone(),
        );
        let refreshes = Family::default();
        registry.register("key_refresh", "Attempts to read the keys of a source, by result", refreshes.clone());
        let signing_keys = Family::default();
        registry.register("signing_keys", "Our own keys by algorithm and state", signing_keys.clone());
        let canaries: Family<OutcomeLabel, Counter> = Family::default();
        for outcome in ["passed", "failed"] {
            drop(canaries.get_or_create(&OutcomeLabel { outcome }));
        }
        registry.register(
            "signing_canaries",
            "Trials of waiting signing keys through the public URL, by outcome",
            canaries.clone(),
        );
        let postponed: Family<CauseLabel, Counter> = Family::default();
        for cause in ["slow_verifier", "canary", "given_up"] {
            drop(postponed.get_or_create(&CauseLabel { cause }));
        }
        registry.register(
            "signing_activations_postponed",
            "Activations of signing keys that wait longer than planned, by cause; given_up: activated untried",
            postponed.clone(),
        );
        let store = StoreNumbers::register(&mut registry);
        let liveness = LivenessNumbers::register(&mut registry);
        Self(Arc::new(Inner {
            registry,
            decisions,
            seconds,
            records_lost,
            telemetry_lost,
            reloads,
            reload_failed,
            keys,
            keys_skipped,
            key_age,
            key_deadline,
            outage,
            key_last_verified,
            refreshes,
            signing_keys,
            canaries,
            postponed,
            store,
            liveness,
        }))
    }

    /// Counts one decision that ended `at` and its time. Its reference becomes the exemplar of what it is counted under; of
    /// what was granted in the time alone, where a slow one may be looked at.
    pub fn decided(&self, labels: DecisionLabels, reference: &str, at: Timestamp, took: Lifetime) {
        let outcome = labels.outcome;
        let exemplar = RefLabel { r#ref: reference.to_owned() };
        let refused = (outcome != "allow").then(|| exemplar.clone());
        self.0.decisions.get_or_create(&labels).inc_by(1, refused, None);
        let seconds = took.millis() as f64 / 1000.0;
        self.0.seconds.get_or_create(&OutcomeLabel { outcome }).observe(seconds, Some(exemplar), None);
        if !labels.source.is_empty() {
            self.0.key_last_verified.get_or_create(&SourceLabel { source: labels.source }).set(at.seconds());
        }
    }

    /// The numbers of the store.
    pub fn store(&self) -> &StoreNumbers {
        &self.0.store
    }

    /// The numbers of questions to API servers.
    pub fn liveness(&self) -> &LivenessNumbers {
        &self.0.liveness
    }

    /// Counts a record that was lost.
    pub fn record_lost(&self) {
        self.0.records_lost.inc();
    }

    /// Counts spans or log lines that the collector did not take.
    pub fn telemetry_lost(&self, signal: &'static str, count: u64) {
        self.0.telemetry_lost.get_or_create(&SignalLabel { signal }).inc_by(count);
    }

    /// Counts a trial of a waiting signing key through the public URL.
    pub fn canary_tried(&self, passed: bool) {
        let outcome = if passed { "passed" } else { "failed" };
        self.0.canaries.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts a signing key that waits longer than planned, or that signs untried in the end.
    pub fn activation_postponed(&self, cause: &'static str) {
        self.0.postponed.get_or_create(&CauseLabel { cause }).inc();
    }

    /// Counts a reload.
    pub fn reloaded(&self, taken: bool) {
        let outcome = if taken { "taken" } else { "refused" };
        self.0.reloads.get_or_create(&OutcomeLabel { outcome }).inc();
        self.0.reload_failed.set(i64::from(!taken));
    }

    /// The configuration on disk is the one in use: nothing was reloaded, and nothing is refused any more.
    pub fn reload_settled(&self) {
        self.0.reload_failed.set(0);
    }

    /// Decisions with that outcome and reason so far.
    pub fn count(&self, outcome: &str, reason: &str) -> u64 {
        let wanted = format!("outcome=\"{outcome}\",reason=\"{reason}\"");
        let text = self.encode(&[], &[]);
        text.lines()
            .filter(|line| line.starts_with("countersign_decisions_total") && line.contains(&wanted))
            .filter_map(|line| line.split(" # ").next()?.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// Everything in the OpenMetrics text format, with the present numbers of sources and signing keys.
    pub fn encode(&self, sources: &[SourceNumbers], signing: &[SigningKeyCount]) -> String {
        let inner = &self.0;
        for family in [&inner.keys, &inner.keys_skipped, &inner.key_age, &inner.key_deadline] {
            family.clear();
        }
        inner.outage.set(sources);
        for numbers in sources {
            let label = SourceLabel { source: numbers.source.clone() };
            inner.keys.get_or_create(&label).set(clamp(numbers.keys));
            inner.keys_skipped.get_or_create(&label).set(clamp(numbers.keys_skipped));
            if let Some(age) = numbers.age {
                inner.key_age.get_or_create(&label).set(age.seconds());
            }
            if let Some(left) = numbers.left {
                inner.key_deadline.get_or_create(&label).set(left.seconds());
            }
            for (result, count) in [("ok", numbers.refreshed), ("failed", numbers.failed)] {
                let labels = RefreshLabels { source: numbers.source.clone(), result };
                inner.refreshes.get_or_create(&labels).inner().store(count, Ordering::Relaxed);
            }
        }
        inner.signing_keys.clear();
        for SigningKeyCount { algorithm, state } in signing.iter().copied() {
            inner.signing_keys.get_or_create(&SigningLabels { algorithm, state }).inc();
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &inner.registry);
        text
    }
}

pub(super) fn clamp(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
