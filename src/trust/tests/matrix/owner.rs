//! Who has the keys of a cell: a trust domain or a cluster, and what they do with them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::jose::Algorithm;
use crate::world::cluster::PretendCluster;
use crate::world::keys::{NamedKey, odd_key};
use crate::world::spiffe_agent::PretendTrustDomain;

/// Whose keys they are.
pub(super) enum Owner {
    Domain(PretendTrustDomain),
    Cluster(PretendCluster),
}

impl Owner {
    pub(super) fn active_key(&self) -> NamedKey {
        match self {
            Self::Domain(owner) => owner.active_key(),
            Self::Cluster(owner) => owner.active_key(),
        }
    }

    /// The ids of the keys that are published and usable.
    pub(super) fn published(&self) -> BTreeSet<String> {
        let document = match self {
            Self::Domain(owner) => owner.spiffe_bundle(),
            Self::Cluster(owner) => owner.jwks(),
        };
        let keys = document.get("keys").and_then(Value::as_array).unwrap();
        let says = |key: &Value, member: &str, text: &str| key.get(member).is_some_and(|value| value == text);
        let usable = keys.iter().filter(|key| !says(key, "kty", "AKP") && !says(key, "use", "x509-svid"));
        usable.map(|key| key.get("kid").and_then(Value::as_str).unwrap().to_owned()).collect()
    }

    pub(super) fn rotate(&self) {
        let old = self.active_key();
        match self {
            Self::Domain(owner) => owner.rotate(Algorithm::ES256).and_then(|_new| owner.withdraw(old.kid())).unwrap(),
            Self::Cluster(owner) => owner.rotate(Algorithm::ES256).and_then(|_new| owner.withdraw(old.kid())).unwrap(),
        }
    }

    pub(super) fn roll_back(&self, old: &NamedKey) {
        let new = self.active_key();
        match self {
            Self::Domain(owner) => {
                owner.adopt(old.clone());
                owner.withdraw(new.kid()).unwrap();
            }
            Self::Cluster(owner) => {
                owner.adopt(old.clone());
                owner.withdraw(new.kid()).unwrap();
            }
        }
    }

    pub(super) fn publish_odd_key(&self) {
        match self {
            Self::Domain(owner) => owner.publish_extra(odd_key()),
            Self::Cluster(owner) => owner.publish_extra(odd_key()),
        }
    }

    pub(super) fn publish_empty(&self, empty: bool) {
        match self {
            Self::Domain(owner) => owner.publish_empty(empty),
            Self::Cluster(owner) => owner.publish_empty(empty),
        }
    }

    pub(super) fn mend(&self) {
        self.publish_empty(false);
        match self {
            Self::Domain(owner) => {
                owner.withdraw_extra();
                owner.publish_raw(None);
            }
            Self::Cluster(owner) => owner.withdraw_extra(),
        }
    }
}
