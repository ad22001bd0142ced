//! A pretend SPIFFE bundle endpoint (SPIFFE Federation §5): a trust domain's bundle over HTTPS, by either profile.
//!
//! Never decides who may read: bundles are public, and no client is asked who it is.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use http::header;
use tokio_util::sync::CancellationToken;

use crate::clock::Lifetime;

use super::super::WorldFault;
use super::super::behaviour::{Behaviour, Orders, Traffic, obey};
use super::super::https::{HttpsServer, SharedTls};
use super::super::x509::{self, CertificateAuthority, Certified};
use super::trust_domain::PretendTrustDomain;

/// The path of the bundle. Every other path gives it too, so that a redirect leads somewhere.
pub const BUNDLE_PATH: &str = "/bundle";

/// How long its X.509-SVID lives.
const SVID_LIFETIME: Lifetime = Lifetime::from_hours(24 * 30);

/// One endpoint. It runs until it is stopped or the token that started it is cancelled.
pub struct BundleEndpoint {
    domain: PretendTrustDomain,
    traffic: Arc<Traffic>,
    authority: CertificateAuthority,
    tls: SharedTls,
    url: String,
    stop: CancellationToken,
    server: tokio::sync::Mutex<Option<HttpsServer>>,
}

impl BundleEndpoint {
    /// Starts one on a free loopback port that serves the bundle of `domain`. It shows a certificate for its address by a CA of
    /// its own (`https_web`), until it is told to show an X.509-SVID.
    ///
    /// # Errors
    /// When certificates or the port cannot be had.
    pub async fn start(domain: &PretendTrustDomain, stop: &CancellationToken) -> Result<Self, WorldFault> {
        let authority = CertificateAuthority::for_servers("bundle endpoint CA")?;
        let named = authority.issue(&x509::server_params("bundle endpoint")?)?;
        let tls = SharedTls::new(x509::server_config(&named)?);
        let traffic = Arc::default();
        let server = HttpsServer::start(0, router(domain, &traffic), tls.clone(), stop).await?;
        let url = format!("https://{}{BUNDLE_PATH}", server.address());
        let (domain, stop, server) = (domain.clone(), stop.clone(), tokio::sync::Mutex::new(Some(server)));
        Ok(Self { domain, traffic, authority, tls, url, stop, server })
    }

    /// Where the bundle is, `https://127.0.0.1:<port>/bundle`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate of the CA that vouches for its address, PEM.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// The CA that vouches for its address.
    pub const fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// From now on new connections see a certificate for its address.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn show_name(&self) -> Result<(), WorldFault> {
        self.show(&self.authority.issue(&x509::server_params("bundle endpoint")?)?)
    }

    /// From now on new connections see an X.509-SVID by the CA that `of` has now (`https_spiffe`).
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn show_svid(&self, of: &PretendTrustDomain, spiffe_id: &str) -> Result<(), WorldFault> {
        self.show(&of.x509_svid(spiffe_id, SVID_LIFETIME)?)
    }

    /// From now on new connections see this certificate.
    ///
    /// # Errors
    /// When TLS does not take it.
    pub fn show(&self, identity: &Certified) -> Result<(), WorldFault> {
        self.tls.replace(x509::server_config(identity)?);
        Ok(())
    }

    /// The trust domain whose bundle it serves.
    pub const fn domain(&self) -> &PretendTrustDomain {
        &self.domain
    }

    /// How often `path` was asked for, whatever the answer.
    pub fn requests(&self, path: &str) -> u64 {
        self.traffic.requests(path)
    }

    /// How to answer on this path.
    pub fn behave(&self, path: &str, behaviour: Behaviour) {
        self.traffic.behave(Some(path), behaviour);
    }

    /// Answers as it should again.
    pub fn behave_well(&self) {
        self.traffic.behave_well();
    }

    /// Ends every connection and frees the port.
    pub async fn stop(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.stop().await;
        }
    }

    /// Listens on the same port again.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start_again(&self) -> Result<(), WorldFault> {
        let mut server = self.server.lock().await;
        if server.is_none() {
            let port = self.url.trim_start_matches("https://127.0.0.1:").trim_end_matches(BUNDLE_PATH);
            let port = port.parse().map_err(|_no_port| WorldFault::Refused(format!("{} has no port", self.url)))?;
            let router = router(&self.domain, &self.traffic);
            *server = Some(HttpsServer::start(port, router, self.tls.clone(), &self.stop).await?);
        }
        Ok(())
    }
}

impl fmt::Debug for BundleEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleEndpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

fn router(domain: &PretendTrustDomain, traffic: &Arc<Traffic>) -> Router {
    let orders = Orders { traffic: Arc::clone(traffic), surroundings: domain.surroundings().clone() };
    Router::new().fallback(bundle).layer(middleware::from_fn_with_state(orders, obey)).with_state(domain.clone())
}

async fn bundle(State(domain): State<PretendTrustDomain>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], domain.spiffe_bundle().to_string()).into_response()
}
