//! What a service-account token says, claim by claim, as the API server writes it (KEP-1205, KEP-4193).
//!
//! Never a claim that a real API server does not write; what a test wants to spoil it spoils with the forge.

use serde_json::{Map, Value, json};

use crate::clock::Lifetime;

use super::super::WorldFault;
use super::super::forge::{Forge, object};
use super::super::keys::NamedKey;
use super::Core;
use super::objects::{Kind, Objects};

/// The life that kubelet asks for its own projected tokens, and that the API server stretches to a year (K8S-07).
pub(super) const STRETCHED: Lifetime = Lifetime::from_seconds(3607);
/// How long a stretched token lives.
const YEAR: Lifetime = Lifetime::from_hours(365 * 24);

/// What a token is bound to: it dies with that object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// The service account alone.
    Nothing,
    /// A pod on a node.
    Pod {
        /// The pod's name.
        name: String,
        /// The node's name.
        node: String,
    },
    /// A Secret of this name.
    Secret(String),
    /// A node of this name.
    Node(String),
}

/// A token to be minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenAsk {
    /// The namespace.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// The audiences; none means the API server's own.
    pub audiences: Vec<String>,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// What it is bound to.
    pub bound: Bound,
}

impl TokenAsk {
    /// A token for one audience and one hour, bound to the pod `<service account>-0` on `node-1`.
    pub fn new(namespace: &str, service_account: &str, audience: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            audiences: vec![audience.to_owned()],
            lifetime: Lifetime::from_hours(1),
            bound: Bound::Pod { name: format!("{service_account}-0"), node: String::from("node-1") },
        }
    }

    /// For these audiences instead.
    #[must_use]
    pub fn audiences(mut self, audiences: &[&str]) -> Self {
        self.audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        self
    }

    /// For that long instead.
    #[must_use]
    pub const fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Bound to that instead.
    #[must_use]
    pub fn bound(mut self, bound: Bound) -> Self {
        self.bound = bound;
        self
    }
}

/// Makes what the ask names.
pub(super) fn make_objects(ask: &TokenAsk, objects: &mut Objects) -> Result<(), WorldFault> {
    let (namespace, account) = (ask.namespace.as_str(), ask.service_account.as_str());
    objects.ensure(Kind::ServiceAccount, namespace, account);
    match &ask.bound {
        Bound::Nothing => {}
        Bound::Pod { name, node } => objects.ensure_pod(namespace, name, account, node),
        Bound::Secret(name) => objects.ensure(Kind::Secret, namespace, name),
        Bound::Node(name) => objects.ensure(Kind::Node, "", name),
    }
    Ok(())
}

/// The claims, for objects that are there.
pub(super) fn claims(ask: &TokenAsk, objects: &Objects, core: &Core) -> Result<Map<String, Value>, WorldFault> {
    let (namespace, account) = (ask.namespace.as_str(), ask.service_account.as_str());
    let reference = |kind, namespace: &str, name: &str| {
        let object = objects.get(kind, namespace, name).ok_or_else(|| not_found(kind, name))?;
        Ok::<_, WorldFault>(json!({ "name": name, "uid": object.uid }))
    };
    let mut own = object(json!({ "namespace": namespace }));
    own.insert(String::from("serviceaccount"), reference(Kind::ServiceAccount, namespace, account)?);
    match &ask.bound {
        Bound::Nothing => {}
        Bound::Pod { name, .. } => {
            let pod = objects.get(Kind::Pod, namespace, name).ok_or_else(|| not_found(Kind::Pod, name))?;
            if pod.service_account.as_deref() != Some(account) {
                let why = "cannot bind token for serviceaccount to pod running with different serviceaccount name";
                return Err(WorldFault::Refused(String::from(why)));
            }
            own.insert(String::from("pod"), reference(Kind::Pod, namespace, name)?);
            if let Some(node) = &pod.node {
                own.insert(String::from("node"), reference(Kind::Node, "", node)?);
            }
        }
        Bound::Secret(name) => drop(own.insert(String::from("secret"), reference(Kind::Secret, namespace, name)?)),
        Bound::Node(name) => drop(own.insert(String::from("node"), reference(Kind::Node, "", name)?)),
    }
    let audiences = if ask.audiences.is_empty() { core.settings.issuers.clone() } else { ask.audiences.clone() };
    let now = core.surroundings.now();
    let for_api_server = audiences.iter().all(|audience| core.is_api_audience(audience));
    let stretched = ask.lifetime == STRETCHED && for_api_server && matches!(ask.bound, Bound::Pod { .. });
    if stretched {
        own.insert(String::from("warnafter"), Value::from(now.plus(STRETCHED).seconds()));
    }
    let lifetime = if stretched { YEAR } else { ask.lifetime };
    Ok(object(json!({
        "iss": core.issuer,
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
        "aud": audiences,
        "exp": now.plus(lifetime).seconds(),
        "iat": now.seconds(),
        "nbf": now.seconds(),
        "jti": core.surroundings.uuid()?,
        "kubernetes.io": own,
    })))
}

/// The header that Kubernetes writes has `alg` and `kid` only.
pub(super) fn forge(key: &NamedKey, claims: Map<String, Value>) -> Forge {
    Forge::new(key, claims).without_header("typ")
}

fn not_found(kind: Kind, name: &str) -> WorldFault {
    WorldFault::Refused(format!("{} \"{name}\" not found", kind.plural()))
}
