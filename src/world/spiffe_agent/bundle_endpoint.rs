//! A SPIFFE bundle endpoint (Federation §5.2): the bundle document of one trust domain over HTTPS, in either profile.
//!
//! Never asks who the caller is (FED-09).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::routing::get;
use axum::{Json, Router, middleware};
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use crate::clock::Lifetime;

use super::super::WorldFault;
use super::super::behaviour::{Behaviour, Orders, Traffic, obey};
use super::super::https::{HttpsServer, SharedTls};
use super::super::x509::{CertificateAuthority, Certified, server_config, server_params};
use super::trust_domain::PretendTrustDomain;

/// The path of the bundle.
pub const BUNDLE_PATH: &str = "/bundle";
/// How long the endpoint's own X.509-SVID lives.
const SVID_LIFETIME: Lifetime = Lifetime::from_hours(1);

/// How the endpoint proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleProfile {
    /// `https_web`: a server certificate of a CA of its own.
    Web,
    /// `https_spiffe`: an X.509-SVID of the trust domain.
    Spiffe {
        /// Its SPIFFE ID.
        server_id: String,
    },
}

/// One endpoint on a free loopback port. It runs until it is dropped or the token that started it is cancelled.
pub struct BundleEndpoint {
    domain: PretendTrustDomain,
    issuer: Issuer,
    tls: SharedTls,
    certificate: Mutex<CertificateDer<'static>>,
    traffic: Arc<Traffic>,
    server: HttpsServer,
}

impl BundleEndpoint {
    /// Starts one for `domain`.
    ///
    /// # Errors
    /// When certificate or port cannot be had.
    pub async fn start(
        domain: &PretendTrustDomain,
        profile: BundleProfile,
        stop: &CancellationToken,
    ) -> Result<Self, WorldFault> {
        let issuer = match profile {
            BundleProfile::Web => {
                let ca = CertificateAuthority::for_servers("Pretend web CA")?;
                Issuer::Web { pem: ca.pem(), ca: Box::new(ca) }
            }
            BundleProfile::Spiffe { server_id } => Issuer::TrustDomain { server_id },
        };
        let identity = issuer.certify(domain)?;
        let tls = SharedTls::new(server_config(&identity)?);
        let traffic = Arc::<Traffic>::default();
        let orders = Orders { traffic: Arc::clone(&traffic), surroundings: domain.surroundings().clone() };
        let served = domain.clone();
        let router = Router::new()
            .route(BUNDLE_PATH, get(move || async move { Json(served.spiffe_bundle()) }))
            .layer(middleware::from_fn_with_state(orders, obey));
        let server = HttpsServer::start(0, router, tls.clone(), stop).await?;
        let certificate = Mutex::new(identity.der().clone());
        Ok(Self { domain: domain.clone(), issuer, tls, certificate, traffic, server })
    }

    /// Ends every connection and frees the port.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Where the bundle is.
    pub fn url(&self) -> String {
        format!("https://{}{BUNDLE_PATH}", self.server.address())
    }

    /// The CA certificate of a `https_web` endpoint, PEM.
    pub fn ca_pem(&self) -> Option<&str> {
        match &self.issuer {
            Issuer::Web { pem, .. } => Some(pem),
            Issuer::TrustDomain { .. } => None,
        }
    }

    /// The certificate that it shows, DER.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows a new certificate from now on: an X.509-SVID by the active CA of the trust domain.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn renew(&self) -> Result<(), WorldFault> {
        let identity = self.issuer.certify(&self.domain)?;
        self.show(&identity)
    }

    /// Shows any certificate from now on, of another identity or another trust domain.
    ///
    /// # Errors
    /// When TLS cannot use it.
    pub fn show(&self, identity: &Certified) -> Result<(), WorldFault> {
        self.tls.replace(server_config(identity)?);
        *self.certificate.lock().unwrap_or_else(PoisonError::into_inner) = identity.der().clone();
        Ok(())
    }

    /// How often the bundle was asked for.
    pub fn requests(&self) -> u64 {
        self.traffic.requests(BUNDLE_PATH)
    }

    /// How to answer from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.traffic.behave(Some(BUNDLE_PATH), behaviour);
    }
}

impl fmt::Debug for BundleEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleEndpoint").field("domain", &self.domain).field("url", &self.url()).finish_non_exhaustive()
    }
}

/// Who vouches for the endpoint.
enum Issuer {
    Web { ca: Box<CertificateAuthority>, pem: String },
    TrustDomain { server_id: String },
}

impl Issuer {
    fn certify(&self, domain: &PretendTrustDomain) -> Result<Certified, WorldFault> {
        match self {
            Self::Web { ca, .. } => ca.issue(&server_params("Pretend bundle endpoint")?),
            Self::TrustDomain { server_id } => domain.x509_svid(server_id, SVID_LIFETIME),
        }
    }
}
