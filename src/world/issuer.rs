//! A pretend OIDC issuer over HTTPS: discovery and keys, and tokens of any claims, as CI systems and logins make them.
//!
//! Never more of OpenID Connect than an issuer's documents: nobody logs in here.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use http::header;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::clock::Lifetime;

use super::behaviour::{Behaviour, Orders, Traffic, obey};
use super::forge::Forge;
use super::https::{HttpsServer, SharedTls};
use super::keys::{Algorithm, AuthorityKeys, NamedKey};
use super::x509::{self, CertificateAuthority};
use super::{Surroundings, WorldFault};

/// The path of the discovery document.
pub const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
/// The path of the key set.
pub const JWKS_PATH: &str = "/keys";

/// One issuer. It runs until it is stopped or the token that started it is cancelled.
pub struct PretendIssuer {
    core: Arc<Core>,
    ca_pem: String,
    url: String,
    server: tokio::sync::Mutex<Option<HttpsServer>>,
}

struct Core {
    name: String,
    issuer: String,
    surroundings: Surroundings,
    traffic: Arc<Traffic>,
    keys: Mutex<AuthorityKeys>,
    url: std::sync::OnceLock<String>,
}

impl PretendIssuer {
    /// Starts one on a free loopback port, with a CA and an ES256 key of its own. Its tokens say `issuer`, whatever its address is.
    ///
    /// # Errors
    /// When keys, certificates or the port cannot be had.
    pub async fn start(
        name: &str,
        issuer: &str,
        surroundings: &Surroundings,
        stop: &CancellationToken,
    ) -> Result<Self, WorldFault> {
        let ca = CertificateAuthority::for_servers(&format!("{name} CA"))?;
        let tls = SharedTls::new(x509::server_config(&ca.issue(&x509::server_params(name)?)?)?);
        let core = Arc::new(Core {
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            surroundings: surroundings.clone(),
            traffic: Arc::default(),
            keys: Mutex::new(AuthorityKeys::new(format!("issuer {name}"), Algorithm::ES256)?),
            url: std::sync::OnceLock::new(),
        });
        let server = HttpsServer::start(0, router(Arc::clone(&core)), tls, stop).await?;
        let url = core.url.get_or_init(|| format!("https://{}", server.address())).clone();
        Ok(Self { core, ca_pem: ca.pem(), url, server: tokio::sync::Mutex::new(Some(server)) })
    }

    /// Ends every connection and frees the port.
    pub async fn stop(&self) {
        let server = self.server.lock().await.take();
        if let Some(server) = server {
            server.stop().await;
        }
    }

    /// Its name, which no token mentions.
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// `iss` of its tokens.
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

    /// A good token of five minutes with these claims besides `iss`, `sub`, `aud`, `iat`, `nbf`, `exp` and `jti`, to be spoiled.
    pub fn forge(&self, sub: &str, audience: &str, more: Value) -> Forge {
        let now = self.core.surroundings.now();
        let ends = now.plus(Lifetime::from_minutes(5)).seconds();
        let mut claims = json!({
            "iss": self.issuer(), "sub": sub, "aud": audience, "iat": now.seconds(), "nbf": now.seconds(), "exp": ends,
            "jti": "7e5c1a40-94a5-4c4e-8a3a-6b1d4ad6b0c2",
        });
        if let (Some(claims), Value::Object(more)) = (claims.as_object_mut(), more) {
            claims.extend(more);
        }
        Forge::new(&self.active_key(), super::forge::object(claims))
    }

    /// The key that signs now.
    pub fn active_key(&self) -> NamedKey {
        self.core.keys().active().clone()
    }

    /// Publishes a new key and signs by it. The old keys stay published.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn rotate(&self, algorithm: Algorithm) -> Result<NamedKey, WorldFault> {
        self.core.keys().rotate(algorithm)
    }

    /// The key set as it is served.
    pub fn jwks(&self) -> Value {
        self.core.jwks()
    }

    /// How often `path` was asked for, whatever the answer.
    pub fn requests(&self, path: &str) -> u64 {
        self.core.traffic.requests(path)
    }

    /// How to answer on every path.
    pub fn behave_everywhere(&self, behaviour: Behaviour) {
        self.core.traffic.behave(None, behaviour);
    }
}

impl fmt::Debug for PretendIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PretendIssuer").field("name", &self.name()).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Core {
    fn keys(&self) -> MutexGuard<'_, AuthorityKeys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jwks(&self) -> Value {
        let published: Vec<Map<String, Value>> = self.keys().all().iter().map(NamedKey::public_jwk).collect();
        json!({ "keys": published })
    }
}

fn router(core: Arc<Core>) -> Router {
    let orders = Orders { traffic: Arc::clone(&core.traffic), surroundings: core.surroundings.clone() };
    Router::new()
        .route(DISCOVERY_PATH, get(discovery))
        .route(JWKS_PATH, get(jwks))
        .layer(middleware::from_fn_with_state(orders, obey))
        .with_state(core)
}

async fn discovery(State(core): State<Arc<Core>>) -> Response {
    let url = core.url.get().map(String::as_str).unwrap_or_default();
    let document = json!({
        "issuer": core.issuer,
        "jwks_uri": format!("{url}{JWKS_PATH}"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    ([(header::CACHE_CONTROL, "public, max-age=3600")], Json(document)).into_response()
}

async fn jwks(State(core): State<Arc<Core>>) -> Response {
    ([(header::CONTENT_TYPE, "application/jwk-set+json")], core.jwks().to_string()).into_response()
}
