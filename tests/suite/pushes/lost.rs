//! A key that was pushed away stays away, also where the pushed ones are lost: `first` is from before.

use countersign::clock::Lifetime;
use countersign::world::keys::Algorithm;

use super::Ground;
use crate::faults::settled;
use crate::stage::eventually;

/// Two pushes: one brings a second key, the next takes the first away. A token by the first, which leaked.
async fn leaked(ground: &Ground) -> String {
    ground.stage.advance(Lifetime::from_minutes(50)).await;
    let leaked = ground.stage.pod_token("edge-2");
    ground.stage.advance(Lifetime::from_minutes(10)).await;
    settled(&ground.stage, "eu1").await;
    let (old, token) = (ground.edge().active_key(), ground.feeder());
    ground.edge().rotate(Algorithm::ES256).unwrap();
    ground.pushed(&token).await;
    ground.edge().withdraw(old.kid()).unwrap();
    ground.pushed(&ground.feeder()).await;
    assert_eq!(ground.status().keys, 1);
    leaked
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_from_before_a_push_do_not_come_back_while_the_clock_is_wrong() {
    let mut ground = Ground::new().await;
    let leaked = leaked(&ground).await;
    ground.stage.clock.step_back(Lifetime::from_minutes(10));
    ground.stage.restart().await;
    assert_eq!(ground.with(&leaked).await, "keys_unreachable");
    assert_eq!(ground.pod().await, "keys_unreachable");
    // The clock is set right: what was pushed can be read again.
    ground.stage.advance(Lifetime::from_minutes(10)).await;
    eventually("what was pushed is known", || ground.status().keys == 1).await;
    assert_eq!(ground.pod().await, "granted");
    assert_ne!(ground.with(&leaked).await, "granted");
    assert_eq!(ground.status().last_error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_from_before_a_push_do_not_come_back_with_a_disk_that_lost_the_pushed_ones() {
    for (removed, torn) in [(vec!["edge-2.json"], vec![]), (vec![], vec!["edge-2.json", "edge-2.pushes.json"])] {
        let mut ground = Ground::new().await;
        let leaked = leaked(&ground).await;
        let folder = ground.stage.directory.path().join("state/keys");
        torn.into_iter().for_each(|name: &str| std::fs::write(folder.join(name), "{").unwrap());
        removed.into_iter().for_each(|name: &str| std::fs::remove_file(folder.join(name)).unwrap());
        ground.stage.restart().await;
        assert_eq!(ground.with(&leaked).await, "keys_unreachable");
        let why = ground.status().last_error.unwrap();
        assert!(why.contains("put the present set into"), "{why}");
        // A push is verified by keys that are not known: an operator's word is needed.
        std::fs::write(ground.first.path().join("jwks.json"), ground.jwks()).unwrap();
        ground.stage.advance(Lifetime::from_seconds(6)).await;
        eventually("the present set is taken", || ground.status().keys == 1).await;
        assert_eq!(ground.pod().await, "granted");
        assert_ne!(ground.with(&leaked).await, "granted");
    }
}
