//! A pretend Kubernetes API server over HTTPS: discovery, keys, TokenRequest and TokenReview, as the real one answers them.
//!
//! Never more of Kubernetes than a token issuer: no watch, no storage, no roles beyond one admin token.

mod api;
mod objects;
mod review;
mod status;
mod tokens;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::secret::Secret;

use super::behaviour::{Behaviour, Traffic};
use super::forge::Forge;
use super::https::{HttpsServer, SharedTls};
use super::keys::{Algorithm, AuthorityKeys, NamedKey, odd_key};
use super::x509::{self, CertificateAuthority};
use super::{Surroundings, WorldFault};

pub use self::tokens::{Bound, TokenAsk};

use self::objects::{Kind, Objects};

/// The path of the discovery document.
pub const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
/// The path of the key set.
pub const JWKS_PATH: &str = "/openid/v1/jwks";
/// The path of TokenReview.
pub const TOKEN_REVIEW_PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// The path of TokenRequest for one service account.
pub fn token_request_path(namespace: &str, service_account: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token")
}

/// What a cluster is like.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Its name, which no token mentions.
    pub name: String,
    /// `--service-account-issuer`: the first one signs, all are accepted.
    pub issuers: Vec<String>,
    /// The algorithm of the first key: RS256 as most clusters, ES256, ES384 or ES512.
    pub algorithm: Algorithm,
    /// Whether discovery and keys need a bearer token, as they do by default.
    pub discovery_needs_token: bool,
    /// Publishes a key of a type that nobody knows yet (K8S-02).
    pub odd_keys: bool,
    /// The `jwks_uri` of discovery; the server's own address unless given.
    pub jwks_uri: Option<String>,
}

impl ClusterSettings {
    /// One issuer, RS256, open discovery.
    pub fn new(name: &str, issuer: &str) -> Self {
        Self {
            name: name.to_owned(),
            issuers: vec![issuer.to_owned()],
            algorithm: Algorithm::RS256,
            discovery_needs_token: false,
            odd_keys: false,
            jwks_uri: None,
        }
    }
}

/// One cluster. It runs until it is stopped or the token that started it is cancelled.
pub struct PretendCluster {
    core: Arc<Core>,
    tls: SharedTls,
    ca_pem: String,
    port: u16,
    url: String,
    stop: CancellationToken,
    server: tokio::sync::Mutex<Option<HttpsServer>>,
}

impl PretendCluster {
    /// Starts one on a free loopback port, with a CA, keys and an admin token of its own.
    ///
    /// # Errors
    /// When keys, certificates or the port cannot be had, or `issuers` is empty.
    pub async fn start(
        settings: ClusterSettings,
        surroundings: &Surroundings,
        stop: &CancellationToken,
    ) -> Result<Self, WorldFault> {
        let ca = CertificateAuthority::for_servers(&format!("{} CA", settings.name))?;
        let tls = SharedTls::new(x509::server_config(&ca.issue(&x509::server_params(&settings.name)?)?)?);
        let core = Arc::new(Core::new(settings, surroundings.clone()).await?);
        let server = HttpsServer::start(0, api::router(Arc::clone(&core)), tls.clone(), stop).await?;
        let port = server.address().port();
        let url = format!("https://{}", server.address());
        core.state().jwks_uri.get_or_insert_with(|| format!("{url}{JWKS_PATH}"));
        let server = tokio::sync::Mutex::new(Some(server));
        Ok(Self { core, tls, ca_pem: ca.pem(), port, url, stop: stop.clone(), server })
    }

    /// Ends every connection and frees the port.
    pub async fn stop(&self) {
        let server = self.server.lock().await.take();
        if let Some(server) = server {
            server.stop().await;
        }
    }

    /// Listens again on the same port, with the same keys. Does nothing while it runs.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start_again(&self) -> Result<(), WorldFault> {
        let mut server = self.server.lock().await;
        if server.is_none() {
            let router = api::router(Arc::clone(&self.core));
            *server = Some(HttpsServer::start(self.port, router, self.tls.clone(), &self.stop).await?);
        }
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.core.settings.name
    }

    /// The issuer of the tokens it signs.
    pub fn issuer(&self) -> &str {
        &self.core.issuer
    }

    /// Its address, `https://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate of the CA that vouches for its address, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The bearer token that may do everything.
    pub fn admin_token(&self) -> &Secret<String> {
        &self.core.admin_token
    }

    /// Signs a token as the API server would, and makes the objects it names where they are missing.
    ///
    /// # Errors
    /// When the pod runs under another service account, or the key cannot sign.
    pub fn mint(&self, ask: &TokenAsk) -> Result<String, WorldFault> {
        Ok(self.forge(ask)?.sign()?.token())
    }

    /// The token that [`mint`](Self::mint) would make, to be spoiled.
    ///
    /// # Errors
    /// As [`mint`](Self::mint).
    pub fn forge(&self, ask: &TokenAsk) -> Result<Forge, WorldFault> {
        let mut state = self.core.state();
        tokens::make_objects(ask, &mut state.objects)?;
        let claims = tokens::claims(ask, &state.objects, &self.core)?;
        Ok(tokens::forge(state.keys.active(), claims))
    }

    /// The key that signs now.
    pub fn active_key(&self) -> NamedKey {
        self.core.state().keys.active().clone()
    }

    /// Publishes a new key without signing by it yet.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn publish_new(&self, algorithm: Algorithm) -> Result<NamedKey, WorldFault> {
        self.core.state().keys.publish_new(algorithm)
    }

    /// Publishes a new key and signs by it. The old keys stay published until they are withdrawn.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn rotate(&self, algorithm: Algorithm) -> Result<NamedKey, WorldFault> {
        self.core.state().keys.rotate(algorithm)
    }

    /// Publishes `key` under its name and signs by it.
    pub fn adopt(&self, key: NamedKey) {
        self.core.state().keys.adopt(key);
    }

    /// Forgets the key called `kid`: neither published nor accepted any more.
    ///
    /// # Errors
    /// When no key is called so.
    pub fn withdraw(&self, kid: &str) -> Result<(), WorldFault> {
        self.core.state().keys.withdraw(kid)
    }

    /// Leaves the key called `kid` out of the published set while TokenReview still accepts it (K8S-15).
    ///
    /// # Errors
    /// When no key is called so.
    pub fn hide(&self, kid: &str) -> Result<(), WorldFault> {
        self.core.state().keys.hide(kid)
    }

    /// Publishes any JWK beside the keys, as it is.
    pub fn publish_extra(&self, jwk: Value) {
        self.core.state().keys.publish_extra(jwk);
    }

    /// Stops publishing what `publish_extra` added.
    pub fn withdraw_extra(&self) {
        self.core.state().keys.withdraw_extra();
    }

    /// Publishes no key at all, or the keys again.
    pub fn publish_empty(&self, empty: bool) {
        self.core.state().keys.set_emptied(empty);
    }

    /// What discovery says of where the keys are, from now on.
    pub fn set_jwks_uri(&self, jwks_uri: &str) {
        self.core.state().jwks_uri = Some(jwks_uri.to_owned());
    }

    /// The key set as `/openid/v1/jwks` serves it.
    pub fn jwks(&self) -> Value {
        self.core.jwks()
    }

    /// Makes a service account.
    pub fn create_service_account(&self, namespace: &str, name: &str) {
        self.core.state().objects.ensure(Kind::ServiceAccount, namespace, name);
    }

    /// Makes a pod, with its service account and node.
    pub fn create_pod(&self, namespace: &str, name: &str, service_account: &str, node: &str) {
        self.core.state().objects.ensure_pod(namespace, name, service_account, node);
    }

    /// Deletes a service account. One of the same name later has another UID (K8S-10).
    pub fn delete_service_account(&self, namespace: &str, name: &str) {
        self.core.state().objects.delete(Kind::ServiceAccount, namespace, name);
    }

    /// Deletes a pod at once. One of the same name later has another UID.
    pub fn delete_pod(&self, namespace: &str, name: &str) {
        self.core.state().objects.delete(Kind::Pod, namespace, name);
    }

    /// Sets a pod's `deletionTimestamp` to now: its tokens are refused 60 s later (K8S-17).
    pub fn terminate_pod(&self, namespace: &str, name: &str) {
        let now = self.core.surroundings.now();
        self.core.state().objects.terminate_pod(namespace, name, now);
    }

    /// How often `path` was asked for, whatever the answer.
    pub fn requests(&self, path: &str) -> u64 {
        self.core.traffic.requests(path)
    }

    /// How many requests there were in all.
    pub fn all_requests(&self) -> u64 {
        self.core.traffic.all_requests()
    }

    /// How to answer on `path` from now on.
    pub fn behave(&self, path: &str, behaviour: Behaviour) {
        self.core.traffic.behave(Some(path), behaviour);
    }

    /// How to answer on every path that `behave` does not name.
    pub fn behave_everywhere(&self, behaviour: Behaviour) {
        self.core.traffic.behave(None, behaviour);
    }

    /// Behaves well again everywhere.
    pub fn behave_well(&self) {
        self.core.traffic.behave_well();
    }
}

impl fmt::Debug for PretendCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PretendCluster").field("name", &self.name()).field("url", &self.url).finish_non_exhaustive()
    }
}

/// What the cluster knows, apart from its port.
struct Core {
    settings: ClusterSettings,
    issuer: String,
    surroundings: Surroundings,
    admin_token: Secret<String>,
    traffic: Arc<Traffic>,
    state: Mutex<State>,
}

struct State {
    keys: AuthorityKeys,
    objects: Objects,
    jwks_uri: Option<String>,
}

impl Core {
    async fn new(settings: ClusterSettings, surroundings: Surroundings) -> Result<Self, WorldFault> {
        let issuer = settings.issuers.first().cloned();
        let issuer = issuer.ok_or_else(|| WorldFault::Refused(String::from("a cluster needs an issuer")))?;
        let (owner, algorithm) = (format!("cluster {}", settings.name), settings.algorithm);
        // An RSA key takes seconds in unoptimised builds.
        let made = tokio::task::spawn_blocking(move || AuthorityKeys::new(owner, algorithm)).await;
        let mut keys = made.map_err(|_ended| WorldFault::Refused(String::from("the runtime is shutting down")))??;
        if settings.odd_keys {
            keys.publish_extra(odd_key());
        }
        let state = State { keys, objects: Objects::new(settings.name.clone()), jwks_uri: settings.jwks_uri.clone() };
        let admin_token = surroundings.bearer_token()?;
        Ok(Self { settings, issuer, surroundings, admin_token, traffic: Arc::default(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jwks(&self) -> Value {
        json!({ "keys": self.state().keys.published(|jwk| jwk) })
    }

    /// `--api-audiences` is not set, so the audiences of the API server are the issuers.
    fn is_api_audience(&self, audience: &str) -> bool {
        self.settings.issuers.iter().any(|issuer| issuer == audience)
    }
}

#[cfg(test)]
mod tests;
