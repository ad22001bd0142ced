//! One public key, two sources.

use super::*;

#[tokio::test]
async fn k8s_09_the_source_that_held_a_key_first_keeps_it() {
    let stand = Stand::new();
    let (a, b) = (jwk("a"), jwk("b"));
    let eu1 = cluster_file("eu1", &stand.write("eu1.json", jwks(&[&a])));
    let edge = cluster_file("edge-2", &stand.write("edge.json", jwks(&[&b])));
    // The newcomer stands first in the configuration: the order of names decides nothing.
    let view = stand.trust.apply(&[edge.clone(), eu1.clone()]);
    let (eu1, edge) = (source(&view, "eu1"), source(&view, "edge-2"));
    stand.write("edge.json", jwks(&[&b, &a]));
    stand.through_attempts("edge-2", "skipped", || !stand.status("edge-2").collisions.is_empty()).await;
    assert_eq!(stand.status("edge-2").collisions[0].holder, eu1.settings.name);
    assert_eq!(key_ids(&edge, stand.now()), ids(&["b"]));
    assert_eq!(key_ids(&eu1, stand.now()), ids(&["a"]));
    // The holder drops it: the other has it at once.
    stand.write("eu1.json", jwks(&[]));
    stand.through_attempts("eu1", "free", || key_ids(&edge, stand.now()) == ids(&["a", "b"])).await;
    assert!(stand.status("edge-2").collisions.is_empty());
    // And now it is the holder.
    stand.write("eu1.json", jwks(&[&a]));
    stand.through_attempts("eu1", "skipped", || !stand.status("eu1").collisions.is_empty()).await;
    assert_eq!(key_ids(&eu1, stand.now()), ids(&[]));
    assert_eq!(key_ids(&edge, stand.now()), ids(&["a", "b"]));
}

#[tokio::test]
async fn k8s_09_a_restart_does_not_let_a_copy_win() {
    let mut stand = Stand::new();
    let (a, b) = (jwk("a"), jwk("b"));
    let eu1 = cluster_file("eu1", &stand.write("eu1.json", jwks(&[&a])));
    let edge = cluster_file("edge-2", &stand.write("edge.json", jwks(&[&b])));
    stand.trust.apply(std::slice::from_ref(&eu1));
    until("kept", || stand.path("state/keys/eu1.json").exists()).await;
    stand.restart().await;
    std::fs::remove_file(stand.path("eu1.json")).unwrap();
    stand.write("edge.json", jwks(&[&a, &b]));
    let view = stand.trust.apply(&[edge, eu1]);
    assert_eq!(key_ids(&source(&view, "eu1"), stand.now()), ids(&["a"]));
    assert_eq!(key_ids(&source(&view, "edge-2"), stand.now()), ids(&["b"]));
}

#[tokio::test]
async fn a_key_is_free_when_its_source_is_gone_or_shares_no_issuer() {
    let stand = Stand::new();
    let a = jwk("a");
    let eu1 = cluster_file("eu1", &stand.write("eu1.json", jwks(&[&a])));
    let edge = cluster_file("edge-2", &stand.write("edge.json", jwks(&[&a])));
    let mut elsewhere = edge.clone();
    let SourceKind::Kubernetes { issuers, .. } = &mut elsewhere.kind else { panic!() };
    *issuers = BTreeSet::from(["https://elsewhere".to_owned()]);
    let view = stand.trust.apply(&[eu1.clone(), elsewhere]);
    assert_eq!(key_ids(&source(&view, "edge-2"), stand.now()), ids(&["a"]));
    // The same source, now with the same issuer: both hold the key, and the first to hold it keeps it.
    let view = stand.trust.apply(&[edge.clone(), eu1]);
    assert_eq!(key_ids(&source(&view, "edge-2"), stand.now()), ids(&[]));
    assert_eq!(key_ids(&source(&view, "eu1"), stand.now()), ids(&["a"]));
    let older = source(&view, "eu1");
    let view = stand.trust.apply(&[edge]);
    assert_eq!(key_ids(&source(&view, "edge-2"), stand.now()), ids(&["a"]));
    assert_eq!(key_ids(&older, stand.now()), ids(&["a"]), "an older view keeps what it had");
}

#[tokio::test]
async fn a_fleet_of_copies_holds_the_key_once() {
    let stand = Stand::new();
    let shared = jwk("shared");
    let name = |index: usize| format!("c{index}");
    let fleet: Vec<_> = (0..200)
        .map(|index| {
            let path = stand.write(&format!("{index}.json"), jwks(&[&shared, &jwk(&name(index))]));
            cluster_file(&name(index), &path)
        })
        .collect();
    let view = stand.trust.apply(&fleet);
    let holds = |name: &str| key_ids(&source(&view, name), stand.now()).unwrap().contains("shared");
    assert!(holds("c0"));
    assert!(
        (1..200).all(|index| !holds(&name(index)) && stand.status(&name(index)).collisions[0].holder.as_str() == "c0")
    );
    // One that drops its own key keeps its loss, and the key goes to exactly one when its holder drops it.
    stand.write("7.json", jwks(&[&shared]));
    stand.through_attempts("c7", "followed", || stand.status("c7").keys == 0).await;
    assert_eq!(stand.status("c7").collisions.len(), 1);
    stand.write("0.json", jwks(&[]));
    stand.through_attempts("c0", "freed", || (1..200).any(|index| holds(&name(index)))).await;
    assert_eq!((0..200).filter(|index| holds(&name(*index))).count(), 1);
}
