//! Which sources a credential may be routed to: by trust domain, or by issuer, compared byte for byte.
//!
//! Immutable: one generation's routing. What it does not name causes no outbound call.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use super::{SourceKind, TrustedSource};
use crate::identity::TrustDomain;

/// The sources of one generation.
#[derive(Clone, Default)]
pub struct TrustView(Arc<Routes>);

#[derive(Default)]
struct Routes {
    sources: Vec<Arc<TrustedSource>>,
    by_domain: HashMap<TrustDomain, Vec<Arc<TrustedSource>>>,
    by_issuer: HashMap<String, Vec<Arc<TrustedSource>>>,
    people_by_issuer: HashMap<String, Vec<Arc<TrustedSource>>>,
}

impl TrustView {
    pub(super) fn of(sources: Vec<Arc<TrustedSource>>) -> Self {
        let mut routes = Routes::default();
        for source in &sources {
            match &source.settings.kind {
                SourceKind::Spiffe { trust_domain, .. } => {
                    routes.by_domain.entry(trust_domain.clone()).or_default().push(Arc::clone(source));
                }
                SourceKind::Kubernetes { issuers, .. } | SourceKind::Oidc { issuers, .. } => {
                    add(&mut routes.by_issuer, issuers, source);
                }
                SourceKind::People { issuers, .. } => add(&mut routes.people_by_issuer, issuers, source),
            }
        }
        routes.sources = sources;
        routes.sources.retain(|source| !matches!(source.settings.kind, SourceKind::People { .. }));
        Self(Arc::new(routes))
    }

    /// The sources whose trust domain this is (JSV-10).
    pub fn of_trust_domain(&self, domain: &TrustDomain) -> &[Arc<TrustedSource>] {
        self.0.by_domain.get(domain).map_or(&[], Vec::as_slice)
    }

    /// The sources of callers that have this issuer (K8S-03).
    pub fn of_issuer(&self, issuer: &str) -> &[Arc<TrustedSource>] {
        self.0.by_issuer.get(issuer).map_or(&[], Vec::as_slice)
    }

    /// The issuers of people that have this issuer: never a way for a caller to be authenticated.
    pub fn people_of_issuer(&self, issuer: &str) -> &[Arc<TrustedSource>] {
        self.0.people_by_issuer.get(issuer).map_or(&[], Vec::as_slice)
    }

    /// All sources of callers in the order of the configuration.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<TrustedSource>> {
        self.0.sources.iter()
    }
}

fn add(routes: &mut HashMap<String, Vec<Arc<TrustedSource>>>, issuers: &BTreeSet<String>, source: &Arc<TrustedSource>) {
    for issuer in issuers {
        routes.entry(issuer.clone()).or_default().push(Arc::clone(source));
    }
}

impl fmt::Debug for TrustView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0.sources).finish()
    }
}
