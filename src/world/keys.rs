//! The signing keys of a pretend authority: which signs, which are published, which are withdrawn.
//!
//! Never decides whether a signature is good, and never shows a private key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

pub use crate::jose::{Algorithm, KeyFault, SigningKey};

use super::WorldFault;

/// A signing key under the name that its owner publishes it by.
#[derive(Debug, Clone)]
pub struct NamedKey {
    kid: String,
    key: Arc<SigningKey>,
}

impl NamedKey {
    /// `key` under a name that need not be its own: two authorities may use one name for different keys.
    pub fn new(kid: impl Into<String>, key: Arc<SigningKey>) -> Self {
        Self { kid: kid.into(), key }
    }

    /// The `kid` of headers and key sets.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key.
    pub const fn key(&self) -> &Arc<SigningKey> {
        &self.key
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    /// The public key as a JWK with this `kid`.
    pub fn public_jwk(&self) -> Map<String, Value> {
        let mut jwk = self.key.public_jwk().clone();
        jwk.insert(String::from("kid"), Value::from(self.kid.clone()));
        jwk
    }
}

/// A key that an authority holds.
#[derive(Debug)]
struct Held {
    named: NamedKey,
    published: bool,
}

/// All keys of one authority, oldest first.
#[derive(Debug)]
pub(super) struct AuthorityKeys {
    owner: String,
    made: usize,
    held: Vec<Held>,
    active: NamedKey,
    extra: Vec<Value>,
    emptied: bool,
}

impl AuthorityKeys {
    /// One active, published key. `owner` tells authorities apart in the cache of RSA keys.
    pub(super) fn new(owner: String, algorithm: Algorithm) -> Result<Self, WorldFault> {
        let active = make(&owner, 0, algorithm)?;
        let held = vec![Held { named: active.clone(), published: true }];
        Ok(Self { owner, made: 1, held, active, extra: Vec::new(), emptied: false })
    }

    /// The key that signs.
    pub(super) const fn active(&self) -> &NamedKey {
        &self.active
    }

    /// The newest published key of `algorithm`.
    pub(super) fn of_algorithm(&self, algorithm: Algorithm) -> Option<NamedKey> {
        let mut newest_first = self.held.iter().rev();
        newest_first.find(|held| held.published && held.named.algorithm() == algorithm).map(|held| held.named.clone())
    }

    /// Makes and publishes a key without signing by it yet.
    pub(super) fn publish_new(&mut self, algorithm: Algorithm) -> Result<NamedKey, WorldFault> {
        let named = make(&self.owner, self.made, algorithm)?;
        self.made += 1;
        self.held.push(Held { named: named.clone(), published: true });
        Ok(named)
    }

    /// Makes and publishes a key and signs by it from now on. The old ones stay published.
    pub(super) fn rotate(&mut self, algorithm: Algorithm) -> Result<NamedKey, WorldFault> {
        self.active = self.publish_new(algorithm)?;
        Ok(self.active.clone())
    }

    /// Publishes `named` and signs by it from now on.
    pub(super) fn adopt(&mut self, named: NamedKey) {
        self.held.push(Held { named: named.clone(), published: true });
        self.active = named;
    }

    /// Takes the keys called `kid` out of the published set and forgets them.
    pub(super) fn withdraw(&mut self, kid: &str) -> Result<(), WorldFault> {
        let before = self.held.len();
        self.held.retain(|held| held.named.kid != kid);
        if self.held.len() == before {
            return Err(WorldFault::NoSuchKey(kid.to_owned()));
        }
        Ok(())
    }

    /// Takes the keys called `kid` out of the published set, though the authority itself still takes their signatures.
    pub(super) fn hide(&mut self, kid: &str) -> Result<(), WorldFault> {
        let mut found = false;
        for held in self.held.iter_mut().filter(|held| held.named.kid == kid) {
            held.published = false;
            found = true;
        }
        found.then_some(()).ok_or_else(|| WorldFault::NoSuchKey(kid.to_owned()))
    }

    /// Publishes any JSON beside the keys: unknown types, other authorities' keys, weak ones.
    pub(super) fn publish_extra(&mut self, jwk: Value) {
        self.extra.push(jwk);
    }

    /// Stops publishing what `publish_extra` added.
    pub(super) fn withdraw_extra(&mut self) {
        self.extra.clear();
    }

    /// Publishes no key at all, or all again.
    pub(super) const fn set_emptied(&mut self, emptied: bool) {
        self.emptied = emptied;
    }

    /// Every key that is not withdrawn, published or not.
    pub(super) fn all(&self) -> Vec<NamedKey> {
        self.held.iter().map(|held| held.named.clone()).collect()
    }

    /// The published keys, each written by `form`, then what was added.
    pub(super) fn published(&self, form: impl Fn(Map<String, Value>) -> Map<String, Value>) -> Vec<Value> {
        if self.emptied {
            return Vec::new();
        }
        let own =
            self.held.iter().filter(|held| held.published).map(|held| Value::Object(form(held.named.public_jwk())));
        own.chain(self.extra.iter().cloned()).collect()
    }
}

/// A key type that no verifier of today knows, as Kubernetes may publish (K8S-02): ML-DSA-65, with a stand-in for the key.
pub fn odd_key() -> Value {
    json!({ "use": "sig", "kty": "AKP", "kid": "odd-ml-dsa-65", "alg": "ML-DSA-65", "pub": "AAECAwQFBgcICQoLDA0ODw" })
}

/// Keeps what identifies the key itself, and its name.
pub(super) fn bare(mut jwk: Map<String, Value>) -> Map<String, Value> {
    jwk.remove("use");
    jwk.remove("alg");
    jwk.remove("key_ops");
    jwk
}

/// RSA keys are slow to make, so each process makes one per owner, place and algorithm, and keeps it.
static RSA_KEYS: Mutex<BTreeMap<Place, Arc<SigningKey>>> = Mutex::new(BTreeMap::new());

/// Whose key it is, the how many-th of the owner's, and its algorithm.
type Place = (String, usize, Algorithm);

fn make(owner: &str, index: usize, algorithm: Algorithm) -> Result<NamedKey, WorldFault> {
    let key = match algorithm {
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 => Arc::new(SigningKey::generate(algorithm)?),
        _ => rsa_key((owner.to_owned(), index, algorithm))?,
    };
    Ok(NamedKey { kid: key.key_id().as_str().to_owned(), key })
}

fn rsa_key(place: Place) -> Result<Arc<SigningKey>, WorldFault> {
    let keys = || RSA_KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = keys().get(&place).cloned();
    if let Some(key) = known {
        return Ok(key);
    }
    let made = Arc::new(SigningKey::generate(place.2)?);
    // Whoever came first in a race wins, so that all holders of this place agree.
    Ok(Arc::clone(keys().entry(place).or_insert(made)))
}
