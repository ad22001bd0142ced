//! One key in a set that is pushed and in another source: who held it first keeps it, and a push is not what makes it first.

use countersign::clock::Lifetime;
use countersign::world::keys::{Algorithm, NamedKey};

use super::Ground;
use crate::stage::{Answer, eventually};

/// A push of the cluster's own keys and a copy of another's.
async fn push_with(ground: &Ground, token: &str, copied: &NamedKey) -> Answer {
    let mut set = ground.edge().jwks();
    set["keys"].as_array_mut().unwrap().push(copied.public_jwk().into());
    ground.push(token, &set.to_string()).await
}

/// The copy is passed over, and the key is still its owner's.
async fn is_passed_over(ground: &Ground) {
    assert_eq!((ground.status().keys, ground.status().collisions.len()), (1, 1), "K8S-09");
    let claims = ground.stage.exchange_pod(&ground.stage.pod_token("eu1")).await.claims();
    assert_eq!(claims["source"], "eu1", "the source whose key it is keeps it");
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_09_a_copy_of_another_clusters_key_is_passed_over() {
    let ground = Ground::new().await;
    let answer = push_with(&ground, &ground.feeder(), &ground.stage.cluster("eu1").active_key()).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    is_passed_over(&ground).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_09_who_copies_a_key_that_is_new_does_not_hold_it_first() {
    let ground = Ground::new().await;
    // eu1 may be asked again, and is not due.
    ground.stage.advance(Lifetime::from_seconds(40)).await;
    let new = ground.stage.cluster("eu1").rotate(Algorithm::ES256).unwrap();
    let answer = push_with(&ground, &ground.feeder(), &new).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    is_passed_over(&ground).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_09_a_push_of_a_new_key_waits_until_the_others_may_be_asked() {
    let ground = Ground::new().await;
    ground.stage.advance(Lifetime::from_seconds(40)).await;
    let unknown = ground.stage.pod_forge("eu1").header("kid", "nobody-s").sign().unwrap().token();
    assert_eq!(ground.with(&unknown).await, "key_unknown", "eu1 was asked");
    ground.stage.advance(Lifetime::from_seconds(1)).await;
    let new = ground.stage.cluster("eu1").rotate(Algorithm::ES256).unwrap();
    let token = ground.feeder();
    let answer = push_with(&ground, &token, &new).await;
    assert_eq!((answer.status, ground.stage.reason(&answer).await.as_str()), (503, "keys_refreshing"));
    assert_eq!(answer.headers["retry-after"], "29");
    // Keys that somebody holds already need no look.
    ground.pushed(&ground.feeder()).await;
    ground.stage.advance(Lifetime::from_seconds(30)).await;
    // The refusal has used up nothing. It comes after the other push, which was issued in the same second.
    let answer = push_with(&ground, &token, &new).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    is_passed_over(&ground).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_21_a_source_that_is_away_does_not_hold_up_the_keys_of_another() {
    let ground = Ground::new().await;
    ground.stage.advance(Lifetime::from_seconds(40)).await;
    ground.stage.cluster("eu1").stop().await;
    let token = ground.feeder();
    ground.edge().rotate(Algorithm::ES256).unwrap();
    ground.pushed(&token).await;
    eventually("the new key serves", || ground.status().keys == 2).await;
}
