//! What is configured of a trust source: a name of ours, where its keys come from, and what its credentials may be.
//!
//! Decides nothing about a credential; the checks here compare sources with each other.

use std::collections::BTreeSet;
use std::path::PathBuf;

use url::Url;

use crate::clock::Lifetime;
use crate::identity::{AttributeName, GroupName, IdentityTemplate, PathTemplate, SourceName, TrustDomain};
use crate::jose::Algorithm;
use crate::problem::{Place, Problem};

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
        keys: KubernetesKeys,
    },
}

/// Where a trust domain's JWT bundle comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpiffeKeys {
    /// The SPIFFE Workload API: `unix:/path` or `tcp://IP:port` (WAP-03).
    WorkloadApi(String),
    /// A SPIFFE bundle document.
    BundleFile(PathBuf),
}

/// Where a cluster's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesKeys {
    /// A JWK Set in a file.
    File(PathBuf),
    /// A JWK Set at a URL.
    Url(Endpoint),
    /// OpenID discovery: the document's `issuer` must be one of the source's, its `jwks_uri` must keep the host.
    Discovery(Endpoint),
    /// `/openid/v1/jwks` of an API server.
    ApiServer(Endpoint),
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

impl SourceSettings {
    /// How every identity of this source looks: the configured template, or what the kind gives.
    pub fn identity_template(&self, identity_domain: &TrustDomain) -> Option<IdentityTemplate> {
        match (&self.kind, &self.identity) {
            (SourceKind::Spiffe { .. }, _) => None,
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
        };
        let mut names: BTreeSet<_> = fixed.iter().filter_map(|name| AttributeName::parse(name).ok()).collect();
        if let SourceKind::Spiffe { paths, .. } = &self.kind {
            names.extend(paths.iter().flat_map(PathTemplate::names).cloned());
        }
        names
    }

    /// Whether a token could be routed to both: a common issuer, or the same trust domain.
    pub fn shares_issuer_with(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (SourceKind::Kubernetes { issuers: one, .. }, SourceKind::Kubernetes { issuers: two, .. }) => {
                !one.is_disjoint(two)
            }
            (SourceKind::Spiffe { trust_domain: one, .. }, SourceKind::Spiffe { trust_domain: two, .. }) => one == two,
            _ => false,
        }
    }
}

/// Compares the sources with each other: one name once, one trust domain once, no identity from two sources unless said so (NOR-02).
///
/// Places are `trust[i]…`. Keys in files are compared by [`super::check_key_files`].
pub fn check(sources: &[SourceSettings], identity_domain: &TrustDomain) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let place = Place::element("trust", index);
        check_one(source, &place, sources, identity_domain, &mut problems);
        for earlier in sources.iter().take(index) {
            check_pair(source, earlier, &place, identity_domain, &mut problems);
        }
    }
    problems
}

fn check_one(
    source: &SourceSettings,
    place: &Place,
    sources: &[SourceSettings],
    identity_domain: &TrustDomain,
    problems: &mut Vec<Problem>,
) {
    for named in &source.shares_identities_with {
        if *named == source.name || !sources.iter().any(|other| other.name == *named) {
            problems.push(Problem::new(
                place.key("shares_identities_with"),
                format!("there is no other source {named}"),
                "name sources of this file",
            ));
        }
    }
    match &source.kind {
        SourceKind::Spiffe { trust_domain, .. } => {
            if source.identity.is_some() {
                problems.push(Problem::new(
                    place.key("identity"),
                    "a SPIFFE source has no identity template: its callers bring their SPIFFE ID",
                    "remove it",
                ));
            }
            if trust_domain == identity_domain {
                problems.push(Problem::new(
                    place.key("spiffe").key("trust_domain"),
                    format!("{trust_domain} is also the identity_domain, in which we name callers ourselves"),
                    "set identity_domain to a name that no trust domain has",
                ));
            }
        }
        SourceKind::Kubernetes { .. } => {
            let needed = ["namespace", "service_account"];
            if let Some(template) = &source.identity {
                let names: Vec<&str> = template.names().map(AttributeName::as_str).collect();
                if needed.iter().any(|name| !names.contains(name)) || names.len() != needed.len() {
                    problems.push(Problem::new(
                        place.key("identity"),
                        "an identity template of a cluster has {namespace} and {service_account}, each once, and no other placeholder",
                        "for example spiffe://id.example/ns/{namespace}/sa/{service_account}",
                    ));
                }
            }
        }
    }
}

fn check_pair(
    source: &SourceSettings,
    earlier: &SourceSettings,
    place: &Place,
    identity_domain: &TrustDomain,
    problems: &mut Vec<Problem>,
) {
    if source.name == earlier.name {
        problems.push(Problem::new(
            place.key("name"),
            format!("there are two sources {}", source.name),
            "give it a name of its own",
        ));
        return;
    }
    let agreed =
        source.shares_identities_with.contains(&earlier.name) || earlier.shares_identities_with.contains(&source.name);
    if agreed {
        return;
    }
    let collide = match (&source.kind, &earlier.kind) {
        (SourceKind::Spiffe { trust_domain: one, .. }, SourceKind::Spiffe { trust_domain: two, .. }) => one == two,
        (SourceKind::Spiffe { trust_domain, .. }, SourceKind::Kubernetes { .. }) => {
            earlier.identity_template(identity_domain).is_some_and(|template| template.trust_domain() == trust_domain)
        }
        (SourceKind::Kubernetes { .. }, SourceKind::Spiffe { trust_domain, .. }) => {
            source.identity_template(identity_domain).is_some_and(|template| template.trust_domain() == trust_domain)
        }
        (SourceKind::Kubernetes { .. }, SourceKind::Kubernetes { .. }) => {
            let templates = (source.identity_template(identity_domain), earlier.identity_template(identity_domain));
            matches!(templates, (Some(one), Some(two)) if one.overlaps(&two))
        }
    };
    if collide {
        problems.push(Problem::new(
            place.clone(),
            format!("sources {} and {} could give one identity to two workloads", earlier.name, source.name),
            format!("give one of them another identity template, or, if they are the same workloads, shares_identities_with: [{}]", earlier.name),
        ));
    }
}
