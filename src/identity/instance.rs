//! Which objects of a cluster a workload runs as: what has to be there for its tokens to count.
//!
//! Names and UIDs that a verified credential said. Whether the objects live is the cluster's to say.

use super::{CredentialKind, SourceName, WorkloadIdentity};

/// A service account, and the pod in which it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The source whose cluster it is.
    pub source: SourceName,
    /// The namespace of both.
    pub namespace: String,
    /// The service account.
    pub service_account: Object,
    /// The pod; `None` for tokens that are bound to none.
    pub pod: Option<Object>,
}

/// One object: another one of the same name has another UID (K8S-10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Object {
    /// An object of both; `None` if either is missing.
    pub fn of(name: Option<&str>, uid: Option<&str>) -> Option<Self> {
        Some(Self { name: name?.to_owned(), uid: uid?.to_owned() })
    }
}

impl Instance {
    /// The objects that a caller named in its token; `None` for every other kind, and for a token without UIDs.
    pub fn of(workload: &WorkloadIdentity) -> Option<Self> {
        if workload.kind != CredentialKind::Kubernetes {
            return None;
        }
        let named = |name: &str| workload.attributes.named(name);
        Some(Self {
            source: workload.source.clone(),
            namespace: named("namespace")?.to_owned(),
            service_account: Object::of(named("service_account"), named("service_account_uid"))?,
            pod: Object::of(named("pod"), named("pod_uid")),
        })
    }
}
