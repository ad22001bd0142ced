//! Last good keys outlive the process, and so does their withdrawal.

use countersign::clock::Lifetime;
use countersign::world::spiffe_agent::Answer;

use super::{refused, status, within};
use crate::stage::{Stage, standard_config};

fn kept(stage: &Stage, source: &str) -> String {
    let file = stage.directory.path().join(format!("state/keys/{source}.json"));
    std::fs::read_to_string(file).unwrap_or_default()
}

async fn all_kept(stage: &Stage) {
    within(10, "all last good keys are on disk", || {
        ["prod", "eu1", "edge-2"].iter().all(|source| kept(stage, source).contains("\"kty\""))
    })
    .await;
}

async fn everything_is_down(stage: &Stage) {
    stage.world.agent().stop().await;
    for cluster in stage.world.clusters() {
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_15_last_good_keys_outlive_a_restart_until_max_stale() {
    let mut stage = Stage::with(|world, issuer| {
        // For every source.
        standard_config(world, issuer)
            .replace("    spiffe:", "    max_stale: 2h\n    spiffe:")
            .replace("    groups: [fleet]", "    max_stale: 2h\n    groups: [fleet]")
    })
    .await;
    all_kept(&stage).await;
    everything_is_down(&stage).await;
    stage.restart().await;
    within(10, "every source was tried", || {
        stage.app.trust().status().iter().all(|source| source.refreshes_failed > 0)
    })
    .await;
    stage.app.ready().await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200);
    stage.advance(Lifetime::from_hours(1)).await;
    // A second restart does not make them younger.
    stage.restart().await;
    stage.advance(Lifetime::from_minutes(59)).await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    stage.advance(Lifetime::from_minutes(3)).await;
    refused(&stage, &stage.exchange_svid(&stage.svid()).await, 503, "keys_stale").await;
    refused(&stage, &stage.exchange_pod(&stage.pod_token("eu1")).await, 503, "keys_stale").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bun_02_a_withdrawal_outlives_a_restart() {
    let mut stage = Stage::standard().await;
    all_kept(&stage).await;
    stage.world.trust_domain().publish_empty(true);
    within(10, "the withdrawal is on disk", || kept(&stage, "prod").contains("\"keys\":[]")).await;
    everything_is_down(&stage).await;
    stage.restart().await;
    within(10, "the source was tried", || status(&stage, "prod").refreshes_failed > 0).await;
    refused(&stage, &stage.exchange_svid(&stage.svid()).await, 400, "key_unknown").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_09_what_was_denied_stays_withdrawn_after_a_restart() {
    let mut stage = Stage::standard().await;
    all_kept(&stage).await;
    stage.world.agent().answer(Answer::PermissionDenied);
    within(10, "the end of the grace is on disk", || kept(&stage, "prod").contains("\"ends\"")).await;
    stage.advance(Lifetime::from_seconds(61)).await;
    within(10, "the withdrawal is on disk", || kept(&stage, "prod").contains("\"keys\":[]")).await;
    everything_is_down(&stage).await;
    stage.restart().await;
    within(10, "the source was tried", || status(&stage, "prod").refreshes_failed > 0).await;
    refused(&stage, &stage.exchange_svid(&stage.svid()).await, 400, "key_unknown").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_place_are_never_taken_for_ours() {
    let mut stage = Stage::standard().await;
    all_kept(&stage).await;
    everything_is_down(&stage).await;
    // The name stays, the address changes: whose keys the file holds is no longer known.
    let moved = standard_config(&stage.world, &stage.issuer).replace("agent.sock", "other.sock");
    std::fs::write(stage.directory.path().join("countersign.yaml"), moved).unwrap();
    // A file that was cut short, and one of another source.
    let keys = stage.directory.path().join("state/keys");
    let whole = kept(&stage, "eu1");
    std::fs::write(keys.join("eu1.json"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(keys.join("edge-2.json"), &whole).unwrap();
    stage.restart().await;
    within(10, "every source was tried", || {
        stage.app.trust().status().iter().all(|source| source.refreshes_failed > 0)
    })
    .await;
    refused(&stage, &stage.exchange_svid(&stage.svid()).await, 503, "keys_unreachable").await;
    for cluster in ["eu1", "edge-2"] {
        refused(&stage, &stage.exchange_pod(&stage.pod_token(cluster)).await, 503, "keys_unreachable").await;
    }
}
