//! Pushes against reloads: what is answered as taken is taken.

use super::super::{NotTaken, Push, ServiceAccount};
use super::*;
use crate::jose::{KeyPurpose, KeySet};

fn pushed(first: &Path, namespace: &str) -> SourceSettings {
    let by = ServiceAccount { namespace: namespace.to_owned(), name: "feeder".to_owned() };
    cluster("edge-2", IssuerKeys::Push { first: first.to_path_buf(), by })
}

fn push(jwks: &str, at: Timestamp) -> Push {
    let set = KeySet::parse(jwks.as_bytes(), KeyPurpose::JwkSet).unwrap();
    let verified_by = set.keys().first().unwrap().thumbprint().clone();
    Push::new(set, verified_by, at, "spiffe://id.example/feeder".to_owned()).unwrap()
}

#[tokio::test]
async fn a_push_that_a_reload_overtakes_is_not_called_taken() {
    let old = jwk("old");
    for _ in 0..20 {
        let stand = Stand::new();
        let first = stand.write("first.json", jwks(&[&old]));
        let view = stand.trust.apply(&[pushed(&first, "one")]);
        let edge = source(&view, "edge-2");
        until("the first keys are kept", || stand.path("state/keys/edge-2.json").exists()).await;
        let taking = edge.take(push(&jwks(&[&old, &jwk("new")]), stand.now()));
        let mut taking = std::pin::pin!(taking);
        // It waits at the door while the source is configured anew.
        assert!(futures_util::poll!(taking.as_mut()).is_pending());
        let view = stand.trust.apply(&[pushed(&first, "two")]);
        assert_eq!(taking.await, Err(NotTaken::Gone));
        assert_eq!(key_ids(&source(&view, "edge-2"), stand.now()), ids(&["old"]));
        assert_eq!(stand.status("edge-2").last_push, None);
    }
}
