//! Our own X.509-SVID, where the listener shows one: followed from the agent of its source for as long as the service runs.
//!
//! Without an SVID the service listens and is not ready.

use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Configuration;
use crate::entropy::Entropy;
use crate::lifecycle::Readiness;
use crate::trust::{SourceKind, SpiffeKeys, follow_own_svid};
use crate::wire::TlsSettings;
use crate::wire::listener::SvidReceiver;

/// Begins to follow it, if the configuration asks for one.
pub(super) fn follow(
    configuration: &Configuration,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    background: &CancellationToken,
    readiness: &Readiness,
) -> anyhow::Result<Option<SvidReceiver>> {
    let Some(TlsSettings::Svid(name)) = &configuration.listen.tls else { return Ok(None) };
    let source = configuration.sources.iter().find(|source| source.name == *name);
    let found = source.and_then(|source| match &source.kind {
        SourceKind::Spiffe { trust_domain, keys: SpiffeKeys::WorkloadApi(address), .. } => {
            Some((trust_domain.clone(), address.clone()))
        }
        _ => None,
    });
    // The configuration was loaded without a problem, so the source is there.
    let (domain, address) = found.context("listen: the source of our X.509-SVID has no agent")?;
    let (sender, receiver) = watch::channel(None);
    let (clock, entropy, ended) = (Arc::clone(clock), Arc::clone(entropy), background.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = ended.cancelled() => {}
            () = follow_own_svid(&address, &domain, &sender, &*clock, &*entropy) => {}
        }
    });
    let (guard, mut first) = (readiness.guard("our X.509-SVID"), receiver.clone());
    tokio::spawn(async move {
        // An error: the service ended first.
        let _ = first.wait_for(Option::is_some).await;
        guard.release();
    });
    Ok(Some(receiver))
}
