//! The objects that tokens are bound to, and their UIDs.
//!
//! Never gives two objects one UID: what was deleted and made again is another object.

use std::collections::HashMap;

use aws_lc_rs::digest;

use crate::clock::{Lifetime, Timestamp};

use super::super::surroundings::Uuid;

/// How long tokens of a pod that is being deleted still count (K8S-17).
const DELETION_LEEWAY: Lifetime = Lifetime::from_seconds(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    ServiceAccount,
    Pod,
    Secret,
    Node,
}

impl Kind {
    /// As `boundObjectRef.kind`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Pod => "Pod",
            Self::Secret => "Secret",
            Self::Node => "Node",
        }
    }

    /// As API server messages name it.
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::ServiceAccount => "serviceaccounts",
            Self::Pod => "pods",
            Self::Secret => "secrets",
            Self::Node => "nodes",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) uid: String,
    /// For pods.
    pub(super) service_account: Option<String>,
    /// For pods.
    pub(super) node: Option<String>,
    pub(super) deleted_at: Option<Timestamp>,
}

type Place = (Kind, String, String);

#[derive(Debug)]
pub(super) struct Objects {
    cluster: String,
    made: HashMap<Place, u32>,
    live: HashMap<Place, Object>,
}

impl Objects {
    pub(super) fn new(cluster: String) -> Self {
        Self { cluster, made: HashMap::new(), live: HashMap::new() }
    }

    /// Nodes have no namespace: it is empty for them.
    pub(super) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Object> {
        self.live.get(&(kind, namespace.to_owned(), name.to_owned()))
    }

    /// The object, unless its deletion counts at `now`.
    pub(super) fn alive(&self, kind: Kind, namespace: &str, name: &str, now: Timestamp) -> Option<&Object> {
        let object = self.get(kind, namespace, name)?;
        object.deleted_at.is_none_or(|at| now <= at.plus(DELETION_LEEWAY)).then_some(object)
    }

    pub(super) fn ensure(&mut self, kind: Kind, namespace: &str, name: &str) {
        let place = (kind, namespace.to_owned(), name.to_owned());
        if self.live.contains_key(&place) {
            return;
        }
        let made = self.made.entry(place.clone()).or_insert(0);
        *made += 1;
        let uid = uid(&[&self.cluster, kind.name(), namespace, name, &made.to_string()]);
        self.live.insert(place, Object { uid, service_account: None, node: None, deleted_at: None });
    }

    /// A pod keeps the service account and node that it was made with.
    pub(super) fn ensure_pod(&mut self, namespace: &str, name: &str, service_account: &str, node: &str) {
        self.ensure(Kind::ServiceAccount, namespace, service_account);
        self.ensure(Kind::Node, "", node);
        self.ensure(Kind::Pod, namespace, name);
        if let Some(pod) = self.live.get_mut(&(Kind::Pod, namespace.to_owned(), name.to_owned())) {
            pod.service_account.get_or_insert_with(|| service_account.to_owned());
            pod.node.get_or_insert_with(|| node.to_owned());
        }
    }

    pub(super) fn delete(&mut self, kind: Kind, namespace: &str, name: &str) {
        self.live.remove(&(kind, namespace.to_owned(), name.to_owned()));
    }

    pub(super) fn terminate_pod(&mut self, namespace: &str, name: &str, now: Timestamp) {
        if let Some(pod) = self.live.get_mut(&(Kind::Pod, namespace.to_owned(), name.to_owned())) {
            pod.deleted_at.get_or_insert(now);
        }
    }
}

/// A UID that is the same in every run, so that a policy that pins one survives a restart of the pretend cluster.
fn uid(parts: &[&str]) -> String {
    let hash = digest::digest(&digest::SHA256, parts.join("\n").as_bytes());
    let mut bytes = [0; 16];
    for (byte, hashed) in bytes.iter_mut().zip(hash.as_ref()) {
        *byte = *hashed;
    }
    Uuid(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_stable_and_a_new_object_has_a_new_one() {
        let mut objects = Objects::new(String::from("eu1"));
        let uid = |objects: &Objects| objects.get(Kind::ServiceAccount, "shop", "api").map(|object| object.uid.clone());
        objects.ensure(Kind::ServiceAccount, "shop", "api");
        let first = uid(&objects);
        objects.ensure(Kind::ServiceAccount, "shop", "api");
        assert_eq!(uid(&objects), first);
        objects.delete(Kind::ServiceAccount, "shop", "api");
        assert_eq!(uid(&objects), None);
        objects.ensure(Kind::ServiceAccount, "shop", "api");
        assert_ne!(uid(&objects), first, "K8S-10");
        let mut other = Objects::new(String::from("edge-2"));
        other.ensure(Kind::ServiceAccount, "shop", "api");
        assert_ne!(uid(&other), first);
    }
}
