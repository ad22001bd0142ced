//! The numbers of the store: how much it holds, how long it takes, whether it fails.
//!
//! Nothing about what is in it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::clock::Lifetime;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// Buckets in seconds: a commit takes a fraction of a millisecond on a good disk.
const SECONDS: [f64; 8] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

/// The numbers of the store.
#[derive(Debug)]
pub struct StoreNumbers {
    claims: Gauge,
    revocations: Family<KindLabel, Gauge>,
    failures: Counter,
    seconds: Histogram,
}

impl StoreNumbers {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let claims = Gauge::default();
        registry.register("claims", "Once-only credentials, proofs and ties that are remembered", claims.clone());
        let revocations = Family::default();
        registry.register("revocations", "Revocations that are kept, by kind", revocations.clone());
        let failures = Counter::default();
        registry.register(
            "store_failures",
            "Transactions of the store that failed; what needed them was refused",
            failures.clone(),
        );
        let seconds = Histogram::new(SECONDS);
        registry.register("store_commit_seconds", "Time of one durable transaction of the store", seconds.clone());
        Self { claims, revocations, failures, seconds }
    }

    /// What it holds now.
    pub fn holds<const N: usize>(&self, claims: u64, revocations: [(&'static str, usize); N]) {
        self.claims.set(i64::try_from(claims).unwrap_or(i64::MAX));
        for (kind, count) in revocations {
            self.revocations.get_or_create(&KindLabel { kind }).set(super::metrics::clamp(count));
        }
    }

    /// Counts one transaction and its time.
    pub fn committed(&self, took: Lifetime) {
        self.seconds.observe(took.millis() as f64 / 1000.0);
    }

    /// Counts one that failed.
    pub fn failed(&self) {
        self.failures.inc();
    }
}
