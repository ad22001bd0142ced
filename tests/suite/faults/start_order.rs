//! Sources that come late, come and go with reloads, or were there before the machine slept: nobody who could be served is refused.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use countersign::app::Reloaded;
use countersign::clock::Lifetime;
use countersign::world::Behaviour;
use countersign::world::keys::Algorithm;
use serde_json::json;

use super::outage::extend;
use super::{refused, retry_after, status, within};
use crate::stage::{Stage, ci_source, cluster_source, standard_config};

const CLUSTERS: [&str; 2] = ["eu1", "edge-2"];

#[tokio::test(flavor = "multi_thread")]
async fn wap_14_with_every_source_away_it_starts_ready_and_heals_by_itself() {
    let mut stage = Stage::standard().await;
    stage.app.stop().await;
    stage.world.agent().stop().await;
    for cluster in CLUSTERS {
        stage.cluster(cluster).stop().await;
    }
    std::fs::remove_dir_all(stage.directory.path().join("state")).unwrap();
    stage.restart().await;
    stage.app.ready().await;
    let ready = stage.admin("/readyz").await;
    assert_eq!((ready.status, &ready.body["ready"]), (200, &json!(true)), "{}", ready.text);
    for source in ready.body["sources"].as_array().unwrap() {
        assert_eq!((&source["keys"], &source["outage_budget_seconds"]), (&json!(0), &json!(0)), "{source}");
        assert_eq!(source["outage_budget_ends"], "no_keys");
        assert!(source["last_error"].is_string(), "{source}");
    }
    assert_eq!(ready.body["first_failure"]["sources"], json!(["prod", "eu1", "edge-2"]));
    let mut answers = vec![stage.exchange_svid(&stage.svid()).await];
    for cluster in CLUSTERS {
        answers.push(stage.exchange_pod(&stage.pod_token(cluster)).await);
    }
    for answer in &answers {
        refused(&stage, answer, 503, "keys_unreachable").await;
        assert_eq!(answer.error(), "temporarily_unavailable");
        assert!(retry_after(answer) > 0);
    }
    let never = extend(&stage, "eu1", "4h").await;
    assert_eq!(never.status, 409);
    assert!(never.text.contains("never given any keys"), "{}", never.text);

    stage.world.agent().start_again().await.unwrap();
    for cluster in CLUSTERS {
        stage.cluster(cluster).start_again().await.unwrap();
    }
    within(20, "every source has keys", || {
        stage.clock.advance(Lifetime::from_seconds(1));
        stage.app.trust().status().iter().all(|source| source.keys > 0)
    })
    .await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    for cluster in CLUSTERS {
        assert_eq!(stage.exchange_pod(&stage.pod_token(cluster)).await.status, 200, "{cluster}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_come_and_go_by_reload_and_no_request_of_the_others_fails() {
    let stage = Stage::standard().await;
    let whole = standard_config(&stage.world, &stage.issuer);
    let without = whole.replace(&cluster_source(stage.cluster("edge-2")), "");
    let with_ci = whole.replacen("  - name: eu1", &format!("{}  - name: eu1", ci_source(&stage.world)), 1);
    assert!(without != whole && with_ci != whole);
    let (done, granted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let callers = futures_util::future::join_all((0..16).map(async |caller| {
        while !done.load(Ordering::SeqCst) {
            let answer = match caller % 2 {
                0 => stage.exchange_svid(&stage.svid()).await,
                _ => stage.exchange_pod(&stage.pod_token("eu1")).await,
            };
            assert_eq!(answer.status, 200, "{}", answer.text);
            granted.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let reloads = async {
        for config in [&without, &with_ci, &whole].into_iter().cycle().take(12) {
            let before = granted.load(Ordering::SeqCst);
            let taken = stage.reconfigure(config).await;
            assert!(matches!(taken, Reloaded::Taken { .. } | Reloaded::Unchanged), "{taken:?}");
            while granted.load(Ordering::SeqCst) < before + 16 {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                stage.clock.advance(Lifetime::from_millis(100));
            }
        }
        done.store(true, Ordering::SeqCst);
    };
    futures_util::future::join(callers, reloads).await;
    within(10, "the source that came back has keys", || status(&stage, "edge-2").keys > 0).await;
    assert_eq!(stage.exchange_pod(&stage.pod_token("edge-2")).await.status, 200);
    assert!(granted.into_inner() >= 12 * 16);
}

/// Asks at once and again: an answer is a token, or says that it is not the caller's fault.
async fn served_or_told_to_wait(stage: &Stage, token: &str) {
    for _ in 0..100 {
        let answer = stage.exchange_pod(token).await;
        if answer.status == 200 {
            return;
        }
        assert_eq!((answer.status, answer.error()), (503, "temporarily_unavailable"), "{}", answer.text);
        stage.clock.advance(Lifetime::from_seconds(1));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it is never served");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_a_machine_that_slept_asks_again_and_carries_on() {
    let stage = Stage::standard().await;
    let eu1 = stage.cluster("eu1");
    // One night within `max_stale`, a weekend beyond it; keys were rotated meanwhile.
    for hours in [8, 60] {
        eu1.rotate(Algorithm::RS256).unwrap();
        let before = status(&stage, "eu1").refreshes_ok;
        stage.clock.advance(Lifetime::from_hours(hours));
        let svid = stage.exchange_svid(&stage.svid()).await;
        assert_eq!(svid.status, 200, "an open stream confirms its keys: {}", svid.text);
        served_or_told_to_wait(&stage, &stage.pod_token("eu1")).await;
        assert!(status(&stage, "eu1").refreshes_ok > before, "{hours} h");
    }
    // The machine wakes before its network does.
    eu1.behave_everywhere(Behaviour::Status(502));
    eu1.rotate(Algorithm::RS256).unwrap();
    stage.clock.advance(Lifetime::from_hours(8));
    let answer = stage.exchange_pod(&stage.pod_token("eu1")).await;
    assert_eq!((answer.status, answer.error()), (503, "temporarily_unavailable"), "{}", answer.text);
    assert!(["keys_unreachable", "keys_refreshing"].contains(&stage.reason(&answer).await.as_str()), "{}", answer.text);
    eu1.behave_well();
    served_or_told_to_wait(&stage, &stage.pod_token("eu1")).await;
}
