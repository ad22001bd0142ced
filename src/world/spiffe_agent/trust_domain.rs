//! A pretend SPIFFE trust domain: its keys, its CA, the SVIDs it mints and the bundles it publishes.
//!
//! Never refuses to mint: a test may ask for a subject that no real server would sign.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::CertificateParams;
use serde_json::{Value, json};

use crate::clock::Lifetime;

use super::super::forge::{Forge, valid_svid};
use super::super::keys::{Algorithm, AuthorityKeys, NamedKey, bare};
use super::super::signature;
use super::super::x509::{CertificateAuthority, Certified, svid_params};
use super::super::{Surroundings, WorldFault};
use super::change::{Listeners, Pulse};

/// What SPIRE writes into bundles unless told otherwise, in seconds.
const REFRESH_HINT: i64 = 300;

/// One trust domain. Clones are handles to the same one.
#[derive(Clone)]
pub struct PretendTrustDomain(Arc<Inner>);

struct Inner {
    name: String,
    surroundings: Surroundings,
    state: Mutex<State>,
    listeners: Listeners,
}

struct State {
    keys: AuthorityKeys,
    authority: Arc<CertificateAuthority>,
    /// Published still, oldest first.
    older: Vec<Arc<CertificateAuthority>>,
    x509_emptied: bool,
    raw_jwt_bundle: Option<Vec<u8>>,
    sequence: u64,
    refresh_hint: Value,
}

impl State {
    /// The published CAs, oldest first.
    fn authorities(&self) -> impl Iterator<Item = &Arc<CertificateAuthority>> {
        self.older.iter().chain([&self.authority]).filter(|_| !self.x509_emptied)
    }
}

impl PretendTrustDomain {
    /// A trust domain with an ES256 key, as SPIRE has by default, and a CA.
    ///
    /// # Errors
    /// When key or CA cannot be made.
    pub fn new(name: &str, surroundings: &Surroundings) -> Result<Self, WorldFault> {
        let state = State {
            keys: AuthorityKeys::new(format!("spiffe://{name}"), Algorithm::ES256)?,
            authority: Arc::new(CertificateAuthority::for_trust_domain(name, surroundings.now())?),
            older: Vec::new(),
            x509_emptied: false,
            raw_jwt_bundle: None,
            sequence: 1,
            refresh_hint: Value::from(REFRESH_HINT),
        };
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            surroundings: surroundings.clone(),
            state: Mutex::new(state),
            listeners: Listeners::default(),
        })))
    }

    /// Its name, for example `prod.example`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its own SPIFFE ID, for example `spiffe://prod.example`.
    pub fn id(&self) -> String {
        format!("spiffe://{}", self.0.name)
    }

    /// Mints a JWT-SVID by the active key. `sub` may be anything.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn mint(&self, sub: &str, audiences: &[&str], lifetime: Lifetime) -> Result<String, WorldFault> {
        Ok(self.forge(sub, audiences, lifetime).sign()?.token())
    }

    /// Mints a JWT-SVID by a published key of `algorithm`, which is made at its first use.
    ///
    /// # Errors
    /// When a key cannot be made or cannot sign.
    pub fn mint_with(
        &self,
        algorithm: Algorithm,
        sub: &str,
        audiences: &[&str],
        lifetime: Lifetime,
    ) -> Result<String, WorldFault> {
        let key = self.key_of(algorithm)?;
        let claims = valid_svid(sub, audiences, self.0.surroundings.now(), lifetime);
        Ok(Forge::new(&key, claims).sign()?.token())
    }

    /// A good JWT-SVID by the active key, to be spoiled.
    pub fn forge(&self, sub: &str, audiences: &[&str], lifetime: Lifetime) -> Forge {
        Forge::new(&self.active_key(), valid_svid(sub, audiences, self.0.surroundings.now(), lifetime))
    }

    /// The key that signs JWT-SVIDs now.
    pub fn active_key(&self) -> NamedKey {
        self.state().keys.active().clone()
    }

    /// The newest published key of `algorithm`; made and published if there is none. RSA keys take seconds in unoptimised builds.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn key_of(&self, algorithm: Algorithm) -> Result<NamedKey, WorldFault> {
        let known = self.state().keys.of_algorithm(algorithm);
        known.map_or_else(|| self.publish_new(algorithm), Ok)
    }

    /// Publishes a new key without signing by it yet.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn publish_new(&self, algorithm: Algorithm) -> Result<NamedKey, WorldFault> {
        self.change(|state| state.keys.publish_new(algorithm))
    }

    /// Publishes a new key and signs by it. The old keys stay published until they are withdrawn.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn rotate(&self, algorithm: Algorithm) -> Result<NamedKey, WorldFault> {
        self.change(|state| state.keys.rotate(algorithm))
    }

    /// Publishes `key` under its name and signs by it: one name in two trust domains, one key in two.
    pub fn adopt(&self, key: NamedKey) {
        self.change(|state| state.keys.adopt(key));
    }

    /// Takes the key called `kid` out of the bundle.
    ///
    /// # Errors
    /// When no key is called so.
    pub fn withdraw(&self, kid: &str) -> Result<(), WorldFault> {
        self.change(|state| state.keys.withdraw(kid))
    }

    /// Publishes any JWK beside the keys, in JWT bundle and SPIFFE bundle, as it is.
    pub fn publish_extra(&self, jwk: Value) {
        self.change(|state| state.keys.publish_extra(jwk));
    }

    /// Stops publishing what `publish_extra` added.
    pub fn withdraw_extra(&self) {
        self.change(|state| state.keys.withdraw_extra());
    }

    /// Publishes bundles without any key (BUN-02), or the keys again.
    pub fn publish_empty(&self, empty: bool) {
        self.change(|state| {
            state.keys.set_emptied(empty);
            state.x509_emptied = empty;
        });
    }

    /// Publishes these bytes as JWT bundle over the Workload API, or the truth again.
    pub fn publish_raw(&self, jwt_bundle: Option<Vec<u8>>) {
        self.change(|state| state.raw_jwt_bundle = jwt_bundle);
    }

    /// Sets `spiffe_refresh_hint` of the SPIFFE bundle, to anything; `Null` leaves it out.
    pub fn set_refresh_hint(&self, hint: impl Into<Value>) {
        let hint = hint.into();
        self.change(|state| state.refresh_hint = hint);
    }

    /// Sets `spiffe_sequence` of the SPIFFE bundle; every change adds one.
    pub fn set_sequence(&self, sequence: u64) {
        self.state().sequence = sequence;
    }

    /// The JWT bundle as the Workload API carries it: a JWK Set whose keys have no `use`, as SPIRE writes it (JSV-12).
    pub fn jwt_bundle(&self) -> Vec<u8> {
        let state = self.state();
        let truth = || json!({ "keys": state.keys.published(bare) }).to_string().into_bytes();
        state.raw_jwt_bundle.clone().unwrap_or_else(truth)
    }

    /// The X.509 bundle as the Workload API carries it: CA certificates, DER, one after the other.
    pub fn x509_bundle(&self) -> Vec<u8> {
        let state = self.state();
        state.authorities().flat_map(|authority| authority.der().to_vec()).collect()
    }

    /// The SPIFFE bundle document (Trust Domain and Bundle §4), as a bundle endpoint serves it.
    pub fn spiffe_bundle(&self) -> Value {
        let state = self.state();
        let x509 = state.authorities().map(|authority| authority.bundle_key());
        let jwt = state.keys.published(|jwk| {
            let mut jwk = bare(jwk);
            jwk.insert(String::from("use"), Value::from("jwt-svid"));
            jwk
        });
        let mut bundle = json!({ "keys": x509.chain(jwt).collect::<Vec<_>>(), "spiffe_sequence": state.sequence });
        if let (Some(members), false) = (bundle.as_object_mut(), state.refresh_hint.is_null()) {
            members.insert(String::from("spiffe_refresh_hint"), state.refresh_hint.clone());
        }
        bundle
    }

    /// Issues a good X.509-SVID.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn x509_svid(&self, spiffe_id: &str, lifetime: Lifetime) -> Result<Certified, WorldFault> {
        self.issue_x509(&svid_params(spiffe_id, self.0.surroundings.now(), lifetime)?)
    }

    /// Issues a certificate of any parameters by the active CA; see [`svid_params`] for good ones.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn issue_x509(&self, params: &CertificateParams) -> Result<Certified, WorldFault> {
        self.active_authority().issue(params)
    }

    /// Makes an authority below the active CA, from any parameters. It is not published: its leaves come with its certificate.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn subordinate_x509(&self, params: CertificateParams) -> Result<CertificateAuthority, WorldFault> {
        self.active_authority().subordinate(params)
    }

    /// Makes and publishes a new CA and issues by it. The old ones stay published.
    ///
    /// # Errors
    /// When the CA cannot be made.
    pub fn rotate_x509(&self) -> Result<(), WorldFault> {
        let authority = CertificateAuthority::for_trust_domain(&self.0.name, self.0.surroundings.now())?;
        self.change(|state| {
            let old = std::mem::replace(&mut state.authority, Arc::new(authority));
            state.older.push(old);
        });
        Ok(())
    }

    /// Publishes the active CA alone.
    pub fn withdraw_old_x509(&self) {
        self.change(|state| state.older.clear());
    }

    /// Its clock and randomness.
    pub fn surroundings(&self) -> &Surroundings {
        &self.0.surroundings
    }

    /// The CA that issues now.
    pub(super) fn active_authority(&self) -> Arc<CertificateAuthority> {
        Arc::clone(&self.state().authority)
    }

    /// The claims of a JWT-SVID that a published key of this trust domain signed.
    pub(super) fn open(&self, token: &str) -> Option<serde_json::Map<String, Value>> {
        let keys = self.state().keys.all();
        signature::open(token, &keys)
    }

    /// `pulse` beats at every change of this trust domain.
    pub(super) fn tell(&self, pulse: &Pulse) {
        self.0.listeners.add(pulse);
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = {
            let mut state = self.state();
            state.sequence += 1;
            change(&mut state)
        };
        self.0.listeners.tell();
        outcome
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PretendTrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PretendTrustDomain").field(&self.0.name).finish()
    }
}
