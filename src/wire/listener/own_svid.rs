//! Our own X.509-SVID as the listener's certificate: the newest that the agent gave, for each new connection.
//!
//! Until there is one, every handshake fails. Never shows a chain whose key is another's.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, ServerConfig};
use tokio::sync::watch;
use tracing::{info, warn};

use super::tls::showing;
use crate::trust::OwnSvid;

/// Where our X.509-SVIDs come from.
pub type SvidReceiver = watch::Receiver<Option<Arc<OwnSvid>>>;

/// The SVID that is served now, and where the next one comes from.
#[derive(Debug)]
pub(super) struct Svid {
    provider: Arc<CryptoProvider>,
    current: Arc<ArcSwap<ServerConfig>>,
    next: SvidReceiver,
}

impl Svid {
    pub(super) fn new(next: SvidReceiver) -> Result<Self, Error> {
        let provider = Arc::new(provider::default_provider());
        let none = showing(Arc::new(NoneYet), &provider)?;
        Ok(Self { provider, current: Arc::new(ArcSwap::from_pointee(none)), next })
    }

    /// What each new connection reads.
    pub(super) fn current(&self) -> Arc<ArcSwap<ServerConfig>> {
        Arc::clone(&self.current)
    }

    /// Follows the SVID for as long as it is polled.
    pub(super) async fn follow(mut self) {
        loop {
            let svid = self.next.borrow_and_update().clone();
            if let Some(svid) = svid {
                match self.config(&svid) {
                    Ok(config) => {
                        info!(id = svid.id, "new X.509-SVID of ours: the next connection gets it");
                        self.current.store(Arc::new(config));
                    }
                    Err(fault) => warn!(id = svid.id, %fault, "our new X.509-SVID cannot be used: the old one stays"),
                }
            }
            if self.next.changed().await.is_err() {
                // Nobody follows the agent any more: the service ends.
                return std::future::pending().await;
            }
        }
    }

    fn config(&self, svid: &OwnSvid) -> Result<ServerConfig, Error> {
        let chain = svid.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivatePkcs8KeyDer::from(svid.key.to_vec()).into();
        let certified = CertifiedKey::from_der(chain, key, &self.provider)?;
        certified.keys_match()?;
        showing(Arc::new(SingleCertAndKey::from(certified)), &self.provider)
    }
}

/// No certificate yet.
#[derive(Debug)]
struct NoneYet;

impl ResolvesServerCert for NoneYet {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
