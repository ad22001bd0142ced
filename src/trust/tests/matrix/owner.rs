//! Who has the keys of a cell: a trust domain or a cluster, and what they do with them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::jose::Algorithm;
use crate::trust::Authorities;
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

    /// What is published now.
    pub(super) fn document(&self) -> Value {
        match self {
            Self::Domain(owner) => owner.spiffe_bundle(),
            Self::Cluster(owner) => owner.jwks(),
        }
    }

    pub(super) fn rotate(&self) {
        let old = self.active_key();
        match self {
            Self::Domain(owner) => owner.rotate(Algorithm::ES256).and_then(|_new| owner.withdraw(old.kid())).unwrap(),
            Self::Cluster(owner) => owner.rotate(Algorithm::ES256).and_then(|_new| owner.withdraw(old.kid())).unwrap(),
        }
    }

    /// A new X.509 authority beside the old one.
    pub(super) fn add_authority(&self) {
        if let Self::Domain(owner) = self {
            owner.rotate_x509().unwrap();
        }
    }

    /// The newest X.509 authority alone.
    pub(super) fn withdraw_authorities(&self) {
        if let Self::Domain(owner) = self {
            owner.withdraw_old_x509();
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

/// The ids of the usable keys of a document.
pub(super) fn keys_of(document: &Value) -> BTreeSet<String> {
    let usable = entries(document).filter(|key| !says(key, "kty", "AKP") && !says(key, "use", "x509-svid"));
    usable.map(|key| key.get("kid").and_then(Value::as_str).unwrap().to_owned()).collect()
}

/// The fingerprints of the X.509 authorities of a document.
pub(super) fn authorities_of(document: &Value) -> BTreeSet<String> {
    let found = Authorities::of_bundle(document.to_string().as_bytes()).unwrap();
    found.all().iter().map(|authority| authority.fingerprint().to_owned()).collect()
}

fn entries(document: &Value) -> impl Iterator<Item = &Value> {
    document.get("keys").and_then(Value::as_array).unwrap().iter()
}

fn says(key: &Value, member: &str, text: &str) -> bool {
    key.get(member).is_some_and(|value| value == text)
}
