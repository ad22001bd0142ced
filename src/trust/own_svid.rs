//! The X.509-SVID of this very process, from the Workload API, for the listener to show.
//!
//! Follows the agent for as long as it is polled. What was given last stays when the agent is gone; nobody is authenticated by it.

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;
use spiffe::{WorkloadApiClient, X509Context};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::backoff::Backoff;
use super::workload_api::{LONGEST_BACKOFF, SHORTEST_BACKOFF, deepest, endpoint};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::identity::TrustDomain;
use crate::reason::quoted;

/// A certificate chain of ours with its key.
#[derive(PartialEq, Eq)]
pub struct OwnSvid {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
    /// Who we are.
    pub id: String,
}

impl fmt::Debug for OwnSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[X.509-SVID of {}]", self.id)
    }
}

/// Follows our X.509-SVID: connects to the agent at `address` again and again, and sends each new one of that trust domain.
pub async fn follow_own_svid(
    address: &str,
    domain: &TrustDomain,
    into: &watch::Sender<Option<Arc<OwnSvid>>>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) {
    let mut backoff = Backoff::new(SHORTEST_BACKOFF, LONGEST_BACKOFF);
    let mut told = String::new();
    loop {
        let why = one_stream(address, domain, into, &mut backoff).await;
        if why != told {
            tracing::warn!("our X.509-SVID from the agent at {address}: {why}");
            told = why;
        }
        clock.sleep_until(clock.now().plus(backoff.after_failure(entropy))).await;
    }
}

/// Takes what the agent sends until the stream ends, and says why it did.
async fn one_stream(
    address: &str,
    domain: &TrustDomain,
    into: &watch::Sender<Option<Arc<OwnSvid>>>,
    backoff: &mut Backoff,
) -> String {
    let opened = async {
        let client = WorkloadApiClient::connect(endpoint(address)?).await?;
        client.stream_x509_contexts().await
    };
    let mut messages = match opened.await {
        Ok(messages) => messages,
        Err(error) => return quoted(&deepest(&error)),
    };
    while let Some(message) = messages.next().await {
        match message.map(|context| of_domain(&context, domain)) {
            Ok(Some(svid)) => {
                backoff.reset();
                into.send_if_modified(|held| {
                    let is_new = held.as_deref() != Some(&svid);
                    if is_new {
                        *held = Some(Arc::new(svid));
                    }
                    is_new
                });
            }
            Ok(None) => return format!("it gives this process no identity of {domain}"),
            Err(error) => return quoted(&deepest(&error)),
        }
    }
    "the agent closed the stream".to_owned()
}

/// The first SVID of the trust domain; the agent's order says which is the default.
fn of_domain(context: &X509Context, domain: &TrustDomain) -> Option<OwnSvid> {
    let ours = context.svids().iter().find(|svid| svid.spiffe_id().trust_domain_name() == domain.as_str())?;
    Some(OwnSvid {
        chain: ours.cert_chain().iter().map(|certificate| certificate.as_bytes().to_vec()).collect(),
        key: Zeroizing::new(ours.private_key().as_bytes().to_vec()),
        id: ours.spiffe_id().to_string(),
    })
}
