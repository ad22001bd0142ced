//! Which keys the cluster publishes, over several looks: while it rotates, its API servers may disagree for a while.
//!
//! A new key counts at once. Never says that a key is gone because one look did not show it.

use std::sync::Arc;

use crate::jose::{KeySet, VerificationKey};

/// So many looks in a row miss a key that is gone.
const LOOKS: u64 = 3;

/// What was seen since the feeder began.
#[derive(Debug, Default)]
pub(super) struct Seen {
    looks: u64,
    /// Each with the number of the last look that showed it.
    keys: Vec<(Arc<VerificationKey>, u64)>,
}

impl Seen {
    /// One more look, which showed `set`: the keys that one of the last three looks showed.
    pub(super) fn see(&mut self, set: &KeySet) -> KeySet {
        self.looks += 1;
        for key in set.keys() {
            let is_same =
                |known: &VerificationKey| known.thumbprint() == key.thumbprint() && known.key_id() == key.key_id();
            match self.keys.iter_mut().find(|(known, _)| is_same(known)) {
                Some(known) => *known = (Arc::clone(key), self.looks),
                None => self.keys.push((Arc::clone(key), self.looks)),
            }
        }
        self.keys.retain(|(_, last)| last + LOOKS > self.looks);
        KeySet::of(self.keys.iter().map(|(key, _)| Arc::clone(key)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::{Algorithm, KeyPurpose, SigningKey};

    #[test]
    fn a_key_is_new_at_once_and_gone_after_three_looks() {
        let jwk = |name: &str| {
            let mut jwk = SigningKey::generate(Algorithm::ES256).unwrap().public_jwk().clone();
            jwk.insert("kid".to_owned(), json!(name));
            serde_json::Value::Object(jwk)
        };
        let (old, new) = (jwk("old"), jwk("new"));
        let mut seen = Seen::default();
        let mut shown = |keys: &[&serde_json::Value]| -> String {
            let set = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), KeyPurpose::JwkSet).unwrap();
            let set = seen.see(&set);
            set.keys().iter().map(|key| key.key_id().unwrap().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(&[&old]), "old");
        assert_eq!(shown(&[&old, &new]), "old new");
        assert_eq!(shown(&[&old]), "old new", "the API server that has not heard of it yet");
        assert_eq!(shown(&[&old]), "old new");
        assert_eq!(shown(&[&new, &old]), "old new");
        assert_eq!(shown(&[&new]), "old new");
        assert_eq!(shown(&[&new]), "old new");
        assert_eq!(shown(&[&new]), "new");
    }
}
