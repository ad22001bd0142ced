//! What is configured of a trust source: a name of ours, where its keys come from, and what its credentials may be.
//!
//! Decides nothing about a credential, and compares no source with another.

use std::collections::BTreeSet;
use std::path::PathBuf;

use url::Url;

use crate::clock::Lifetime;
use crate::identity::{AttributeName, GroupName, IdentityTemplate, PathTemplate, SourceName, SpiffeId, TrustDomain};
use crate::jose::Algorithm;

/// One configured authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// Our name for it.
    pub name: SourceName,
    /// Names that rules may use for several sources.
    pub groups: BTreeSet<GroupName>,
    /// What kind of authority, and where its keys come from.
    pub kind: SourceKind,
    /// The audiences of its credentials, compared byte for byte; `None` means our issuer alone.
    pub audiences: Option<BTreeSet<String>>,
    /// Longest time since `iat`; without `iat`, until `exp`.
    pub max_age: Lifetime,
    /// Longest `exp` − `iat`; without `iat`, until `exp`.
    pub max_life: Lifetime,
    /// How long last good keys serve after they were last confirmed.
    pub max_stale: Lifetime,
    /// Tolerance for `nbf` and `iat`, never for `exp`.
    pub leeway: Lifetime,
    /// How often one credential may be shown.
    pub reuse: Reuse,
    /// The algorithms that are taken.
    pub algorithms: BTreeSet<Algorithm>,
    /// How a SPIFFE ID is made for callers without one of their own; `None` for SPIFFE sources.
    pub identity: Option<IdentityTemplate>,
    /// Sources that may produce the same identities on purpose.
    pub shares_identities_with: BTreeSet<SourceName>,
}

/// How often one credential may be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// As often as its owner likes until it ends: SPIRE agents hand out cached SVIDs, and pods read their file again.
    #[default]
    Allowed,
    /// Once, for a token that was granted: a denial burns nothing (design §9.7).
    Once,
    /// As often as its owner likes, and always with a proof of the key that was proven when it was first shown.
    Bound,
}

/// What kind of authority a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A SPIFFE trust domain.
    Spiffe {
        /// Its name.
        trust_domain: TrustDomain,
        /// Where its JWT bundle comes from.
        keys: SpiffeKeys,
        /// Attributes named in paths.
        paths: Vec<PathTemplate>,
    },
    /// A Kubernetes cluster.
    Kubernetes {
        /// Values of `iss`, compared and never dialled.
        issuers: BTreeSet<String>,
        /// Where its keys come from.
        keys: IssuerKeys,
        /// The API server that is asked whether a token still counts (TokenReview); `None`: signature and claims decide alone.
        liveness: Option<Endpoint>,
    },
    /// Another OIDC issuer of tokens for workloads: a CI system, a cloud.
    Oidc {
        /// Values of `iss`, compared and never dialled.
        issuers: BTreeSet<String>,
        /// Where its keys come from.
        keys: IssuerKeys,
        /// The claims that become attributes.
        claims: BTreeSet<AttributeName>,
    },
    /// An issuer of people, for whom workloads act. It stands under `subjects`, and nothing that it signs is ever a caller's credential.
    People {
        /// Values of `iss`, compared and never dialled.
        issuers: BTreeSet<String>,
        /// Where its keys come from.
        keys: IssuerKeys,
    },
}

/// Where a trust domain's JWT bundle comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpiffeKeys {
    /// The SPIFFE Workload API: `unix:/path` or `tcp://IP:port` (WAP-03).
    WorkloadApi(String),
    /// A SPIFFE bundle document.
    BundleFile(PathBuf),
    /// A SPIFFE bundle endpoint (SPIFFE Federation §5).
    BundleEndpoint {
        /// The URL as the operator wrote it.
        url: Url,
        /// How it shows that it is the one.
        profile: EndpointProfile,
    },
}

/// How a SPIFFE bundle endpoint is authenticated. There is no way from one profile to the other (FED-13).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointProfile {
    /// `https_web`: by the name in its URL.
    Web {
        /// Certificate authorities that may vouch for it beside the system's.
        ca: Option<PathBuf>,
    },
    /// `https_spiffe`: by its X.509-SVID.
    Spiffe {
        /// Exactly this identity.
        server_id: SpiffeId,
        /// A bundle of that identity's trust domain, for the first contact.
        first: PathBuf,
    },
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerKeys {
    /// A JWK Set in a file.
    File(PathBuf),
    /// A JWK Set at a URL.
    Url(Endpoint),
    /// OpenID discovery: the document's `issuer` must be one of the source's, its `jwks_uri` must keep the host.
    Discovery(Endpoint),
    /// `/openid/v1/jwks` of an API server: clusters alone have one.
    ApiServer(Endpoint),
    /// Pushed by a workload of the cluster itself, which nobody can ask from outside: clusters alone have one.
    Push {
        /// A JWK Set in a file: the keys until something was pushed, and again when its content is another one.
        first: PathBuf,
        /// Who alone may push.
        by: ServiceAccount,
    },
}

/// A service account of a cluster, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

/// Something that is fetched over https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL as the operator wrote it.
    pub url: Url,
    /// The certificate authorities that may vouch for it; `None` means the system's.
    pub ca: Option<PathBuf>,
    /// A file with a bearer token of ours, read again at every fetch.
    pub token: Option<PathBuf>,
}

impl SourceKind {
    /// The word for it in status and records.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Spiffe { .. } => "spiffe",
            Self::Kubernetes { .. } => "kubernetes",
            Self::Oidc { .. } => "oidc",
            Self::People { .. } => "people",
        }
    }

    /// The values of `iss` that lead to it; a trust domain has none.
    pub const fn issuers(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Spiffe { .. } => None,
            Self::Kubernetes { issuers, .. } | Self::Oidc { issuers, .. } | Self::People { issuers, .. } => {
                Some(issuers)
            }
        }
    }
}

impl SourceSettings {
    /// How every identity of this source looks: the configured template, or what the kind gives.
    pub fn identity_template(&self, identity_domain: &TrustDomain) -> Option<IdentityTemplate> {
        match (&self.kind, &self.identity) {
            (SourceKind::Spiffe { .. } | SourceKind::People { .. }, _) => None,
            (SourceKind::Oidc { .. }, template) => template.clone(),
            (SourceKind::Kubernetes { .. }, Some(template)) => Some(template.clone()),
            (SourceKind::Kubernetes { .. }, None) => {
                let text =
                    format!("spiffe://{identity_domain}/k8s/{}/ns/{{namespace}}/sa/{{service_account}}", self.name);
                IdentityTemplate::parse(&text).ok()
            }
        }
    }

    /// The attributes that an identity of this source can have.
    pub fn attribute_names(&self) -> BTreeSet<AttributeName> {
        let fixed: &[&str] = match &self.kind {
            SourceKind::Spiffe { .. } => &["trust_domain"],
            SourceKind::Kubernetes { .. } => {
                &["cluster", "namespace", "service_account", "service_account_uid", "pod", "pod_uid", "node"]
            }
            SourceKind::Oidc { .. } | SourceKind::People { .. } => &[],
        };
        let mut names: BTreeSet<_> = fixed.iter().filter_map(|name| AttributeName::parse(name).ok()).collect();
        match &self.kind {
            SourceKind::Spiffe { paths, .. } => names.extend(paths.iter().flat_map(PathTemplate::names).cloned()),
            SourceKind::Oidc { claims, .. } => names.extend(claims.iter().cloned()),
            SourceKind::Kubernetes { .. } | SourceKind::People { .. } => {}
        }
        names
    }

    /// Whether a token could be routed to both: a common issuer, or the same trust domain.
    pub fn shares_issuer_with(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (SourceKind::Spiffe { trust_domain: one, .. }, SourceKind::Spiffe { trust_domain: two, .. }) => one == two,
            (one, two) => one.issuers().zip(two.issuers()).is_some_and(|(one, two)| !one.is_disjoint(two)),
        }
    }
}
