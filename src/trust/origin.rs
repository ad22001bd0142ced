//! Where a source's keys come from, as one value: two sources with the same origin may inherit each other's last good keys.
//!
//! Holds nothing else of a source: a changed lifetime or group never costs it its keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use base64ct::{Base64UrlUnpadded, Encoding};
use url::Url;

use super::{Endpoint, EndpointProfile, IssuerKeys, ServiceAccount, SourceKind, SourceSettings, SpiffeKeys};
use crate::identity::TrustDomain;
use crate::jose::KeyPurpose;

/// The settings that decide which keys a source has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A bundle stream of an agent. The trust domain is part of it: bundles of two are never mixed (BUN-09).
    WorkloadApi { endpoint: String, trust_domain: TrustDomain },
    /// A file that is read again and again.
    File { path: PathBuf, trust_domain: Option<TrustDomain> },
    /// A SPIFFE bundle endpoint.
    BundleEndpoint { url: Url, profile: EndpointProfile, trust_domain: TrustDomain },
    /// A JWK Set at a URL.
    Url(Endpoint),
    /// Discovery, which must name one of these issuers.
    Discovery { endpoint: Endpoint, issuers: BTreeSet<String> },
    /// An API server.
    ApiServer(Endpoint),
    /// What a workload pushes, and a file until it has.
    Push { first: PathBuf, by: ServiceAccount },
}

impl Origin {
    pub(super) fn of(settings: &SourceSettings) -> Self {
        match &settings.kind {
            SourceKind::Spiffe { trust_domain, keys, .. } => match keys {
                SpiffeKeys::WorkloadApi(endpoint) => {
                    Self::WorkloadApi { endpoint: endpoint.clone(), trust_domain: trust_domain.clone() }
                }
                SpiffeKeys::BundleFile(path) => {
                    Self::File { path: path.clone(), trust_domain: Some(trust_domain.clone()) }
                }
                SpiffeKeys::BundleEndpoint { url, profile } => Self::BundleEndpoint {
                    url: url.clone(),
                    profile: profile.clone(),
                    trust_domain: trust_domain.clone(),
                },
            },
            SourceKind::Kubernetes { issuers, keys, .. }
            | SourceKind::Oidc { issuers, keys, .. }
            | SourceKind::People { issuers, keys } => match keys {
                IssuerKeys::File(path) => Self::File { path: path.clone(), trust_domain: None },
                IssuerKeys::Url(endpoint) => Self::Url(endpoint.clone()),
                IssuerKeys::Discovery(endpoint) => {
                    Self::Discovery { endpoint: endpoint.clone(), issuers: issuers.clone() }
                }
                IssuerKeys::ApiServer(endpoint) => Self::ApiServer(endpoint.clone()),
                IssuerKeys::Push { first, by } => Self::Push { first: first.clone(), by: by.clone() },
            },
        }
    }

    /// The file, and what the keys in it are for.
    pub(super) fn file(&self) -> Option<(&Path, KeyPurpose)> {
        match self {
            Self::File { path, trust_domain: Some(_) } => Some((path, KeyPurpose::SpiffeBundle)),
            Self::File { path, trust_domain: None } => Some((path, KeyPurpose::JwkSet)),
            _ => None,
        }
    }

    /// Whether X.509 authorities may come with the keys.
    pub(super) const fn is_trust_domain(&self) -> bool {
        matches!(
            self,
            Self::WorkloadApi { .. } | Self::BundleEndpoint { .. } | Self::File { trust_domain: Some(_), .. }
        )
    }

    /// Whether the source can be asked over https.
    pub(super) const fn is_fetched(&self) -> bool {
        matches!(self, Self::BundleEndpoint { .. } | Self::Url(_) | Self::Discovery { .. } | Self::ApiServer(_))
    }

    /// A digest of everything that says whose keys these are. The bearer token is left out: it opens the door and vouches for nothing.
    pub(super) fn digest(&self) -> String {
        let ca = |endpoint: &Endpoint| endpoint.ca.as_ref().map(|path| path.to_string_lossy().into_owned());
        let parts = match self {
            Self::WorkloadApi { endpoint, trust_domain } => {
                serde_json::json!(["workload_api", endpoint, trust_domain.as_str()])
            }
            Self::File { path, trust_domain } => {
                serde_json::json!(["file", path.to_string_lossy(), trust_domain.as_ref().map(TrustDomain::as_str)])
            }
            Self::BundleEndpoint { url, profile, trust_domain } => {
                let (url, trust_domain) = (url.as_str(), trust_domain.as_str());
                match profile {
                    EndpointProfile::Web { ca } => {
                        let ca = ca.as_ref().map(|path| path.to_string_lossy());
                        serde_json::json!(["bundle_endpoint", url, trust_domain, "https_web", ca])
                    }
                    // Not the first bundle: what came since is newer, unless its content is another one (`bundle_endpoint`).
                    EndpointProfile::Spiffe { server_id, .. } => {
                        serde_json::json!(["bundle_endpoint", url, trust_domain, "https_spiffe", server_id.as_str()])
                    }
                }
            }
            Self::Url(endpoint) => serde_json::json!(["url", endpoint.url.as_str(), ca(endpoint)]),
            Self::Discovery { endpoint, issuers } => {
                serde_json::json!(["discovery", endpoint.url.as_str(), ca(endpoint), issuers])
            }
            Self::ApiServer(endpoint) => serde_json::json!(["api_server", endpoint.url.as_str(), ca(endpoint)]),
            // Not the file's path: what was pushed since is newer, unless its content is another one (`push`).
            Self::Push { by, .. } => serde_json::json!(["push", by.namespace, by.name]),
        };
        let hash = digest::digest(&digest::SHA256, parts.to_string().as_bytes());
        Base64UrlUnpadded::encode_string(hash.as_ref())
    }
}
