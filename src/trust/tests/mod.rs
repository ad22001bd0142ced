//! What the engine promises, shown against the pretend world and a clock that is moved by hand.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod bundle_endpoint;
mod bundle_server;
mod collisions;
mod fetching;
mod files;
mod junk;
mod looking_again;
mod matrix;
mod names;
mod polling;
mod pushing;
mod restart;
mod set_back;
mod workload_api;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Endpoint, IssuerKeys, SourceKind, SourceSettings, SourceStatus, SpiffeKeys, Trust, TrustView, TrustedSource,
};
use crate::clock::{Clock, Lifetime, ManualClock, Timestamp};
use crate::entropy::SystemEntropy;
use crate::identity::{KeyId, SourceName, TrustDomain};
use crate::jose::{Algorithm, SigningKey};
use crate::world::ScratchDirectory;

const ISSUER: &str = "https://kubernetes.default.svc";

/// An engine with a folder and a clock of its own.
struct Stand {
    place: ScratchDirectory,
    clock: ManualClock,
    trust: Arc<Trust>,
    stop: CancellationToken,
}

impl Stand {
    fn new() -> Self {
        let place = ScratchDirectory::new().unwrap();
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_790_000_000));
        let (trust, stop) = engine(place.path(), &clock);
        Self { place, clock, trust, stop }
    }

    /// Ends the engine and starts another on the same folder.
    async fn restart(&mut self) {
        self.stop.cancel();
        self.trust.ended().await;
        (self.trust, self.stop) = engine(self.place.path(), &self.clock);
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn status(&self, name: &str) -> SourceStatus {
        self.trust.status().into_iter().find(|status| status.name.as_str() == name).unwrap()
    }

    /// Waits until the source sleeps, and moves the clock to where it wakes.
    async fn to_next_attempt(&self, name: &str) {
        let now = self.now();
        until("an attempt is planned", || self.status(name).next_attempt.is_some_and(|next| next > now)).await;
        let next = self.status(name).next_attempt.unwrap();
        self.clock.advance(next.since(now));
    }

    /// Moves the clock from attempt to attempt until something holds.
    async fn through_attempts(&self, name: &str, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..20 {
            let now = self.now();
            let next = || self.status(name).next_attempt.filter(|next| *next > now);
            if !came(|| holds() || next().is_some()).await {
                break;
            }
            if holds() {
                return;
            }
            if let Some(next) = next() {
                self.clock.advance(next.since(now));
            }
        }
        panic!("never: {what}; {:?}", self.status(name));
    }
}

fn engine(directory: &Path, clock: &ManualClock) -> (Arc<Trust>, CancellationToken) {
    let stop = CancellationToken::new();
    let trust = Trust::new(directory.join("state"), Arc::new(clock.clone()), Arc::new(SystemEntropy), stop.clone());
    (trust, stop)
}

/// Waits for a condition that the machine brings about; no clock can be moved for it.
async fn until(what: &str, holds: impl Fn() -> bool) {
    assert!(came(holds).await, "never: {what}");
}

async fn came(holds: impl Fn() -> bool) -> bool {
    for _ in 0..1500 {
        if holds() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

fn settings(name: &str, kind: SourceKind) -> SourceSettings {
    SourceSettings {
        name: SourceName::parse(name).unwrap(),
        groups: BTreeSet::new(),
        kind,
        audiences: None,
        max_age: Lifetime::from_hours(24),
        max_life: Lifetime::from_hours(24),
        max_stale: Lifetime::from_hours(24),
        leeway: Lifetime::from_seconds(30),
        reuse: crate::trust::Reuse::Allowed,
        algorithms: Algorithm::ALL.into_iter().collect(),
        identity: None,
        shares_identities_with: BTreeSet::new(),
    }
}

fn cluster(name: &str, keys: IssuerKeys) -> SourceSettings {
    settings(name, SourceKind::Kubernetes { issuers: BTreeSet::from([ISSUER.to_owned()]), keys, liveness: None })
}

fn cluster_file(name: &str, path: &Path) -> SourceSettings {
    cluster(name, IssuerKeys::File(path.to_path_buf()))
}

fn domain(name: &str, trust_domain: &str, keys: SpiffeKeys) -> SourceSettings {
    let trust_domain = TrustDomain::parse(trust_domain).unwrap();
    settings(name, SourceKind::Spiffe { trust_domain, keys, paths: Vec::new() })
}

fn endpoint(url: &str, ca: Option<PathBuf>) -> Endpoint {
    Endpoint { url: url::Url::parse(url).unwrap(), ca, token: None }
}

/// The source of that name.
fn source(view: &TrustView, name: &str) -> Arc<TrustedSource> {
    view.sources().find(|source| source.settings.name.as_str() == name).cloned().unwrap()
}

/// The key ids that a source may use at `at`, or nothing when it may use none at all.
fn key_ids(source: &TrustedSource, at: Timestamp) -> Option<BTreeSet<String>> {
    let set = source.keys_at(at).ok()?.set;
    Some(set.keys().iter().filter_map(|key| key.key_id()).map(ToString::to_string).collect())
}

fn ids(names: &[&str]) -> Option<BTreeSet<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

fn kid(text: &str) -> KeyId {
    KeyId::parse(text).unwrap()
}

/// A public key under a name.
fn jwk(name: &str) -> Value {
    let mut jwk = SigningKey::generate(Algorithm::ES256).unwrap().public_jwk().clone();
    jwk.insert("kid".to_owned(), json!(name));
    Value::Object(jwk)
}

fn jwks(keys: &[&Value]) -> String {
    json!({ "keys": keys }).to_string()
}
