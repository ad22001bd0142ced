//! Two clusters with one issuer string: told apart by the key that verified, and a key belongs to one of them.

use countersign::app::Reloaded;
use countersign::clock::Lifetime;
use countersign::world::SHARED_ISSUER;
use countersign::world::keys::Algorithm;

use super::{INTERVAL, metric, next_attempt, refused, shown, status};
use crate::stage::{RESOURCES_AND_RULES, Stage, server_config};

const OF_EU1: &str = "spiffe://id.example/k8s/eu1/ns/shop/sa/api";
const OF_EDGE: &str = "spiffe://id.example/k8s/edge-2/ns/shop/sa/api";

#[tokio::test(flavor = "multi_thread")]
async fn k8s_09_nor_01_one_pod_name_in_two_clusters_is_two_identities() {
    let stage = Stage::standard().await;
    let (one, two) = (stage.pod_token("eu1"), stage.pod_token("edge-2"));
    let (one, two) = (stage.exchange_pod(&one).await, stage.exchange_pod(&two).await);
    for (answer, sub, source) in [(&one, OF_EU1, "eu1"), (&two, OF_EDGE, "edge-2")] {
        let claims = answer.claims();
        assert_eq!((claims["sub"].as_str(), claims["source"].as_str()), (Some(sub), Some(source)), "K8S-09, NOR-01");
        assert_eq!(claims["cluster"], source);
        assert_eq!((&claims["namespace"], &claims["service_account"]), (&"shop".into(), &"api".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_09_the_text_of_a_token_never_chooses_the_cluster() {
    let stage = Stage::standard().await;
    let edge_key = stage.cluster("edge-2").active_key();
    // A claim that names the other cluster, and the key of this one.
    let named = stage.pod_forge("eu1").claim("cluster", "edge-2").sign().unwrap().token();
    assert_eq!(stage.exchange_pod(&named).await.claims()["sub"], OF_EU1, "K8S-09");
    // Signed by one cluster, under the name of the other's key.
    let crossed = stage.pod_forge("eu1").header("kid", edge_key.kid()).sign().unwrap().token();
    refused(&stage, &stage.exchange_pod(&crossed).await, 400, "signature_invalid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_09_one_key_id_in_two_clusters_is_no_confusion() {
    let stage = Stage::standard().await;
    let (eu1, edge) = (stage.cluster("eu1"), stage.cluster("edge-2"));
    for cluster in [eu1, edge] {
        let key = cluster.publish_new(Algorithm::ES256).unwrap();
        cluster.adopt(countersign::world::keys::NamedKey::new("one-name", std::sync::Arc::clone(key.key())));
        cluster.withdraw(key.kid()).unwrap();
    }
    next_attempt(&stage, "eu1").await;
    next_attempt(&stage, "edge-2").await;
    for (cluster, sub) in [("eu1", OF_EU1), ("edge-2", OF_EDGE)] {
        let answer = stage.exchange_pod(&stage.pod_token(cluster)).await;
        assert_eq!(answer.claims()["sub"], sub, "both are tried, the one that verifies is the authority (K8S-09)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_09_one_key_in_two_files_is_refused_at_load_with_both_names() {
    let stage = Stage::standard().await;
    let keys = stage.cluster("eu1").jwks().to_string();
    for file in ["north.json", "south.json"] {
        std::fs::write(stage.directory.path().join(file), &keys).unwrap();
    }
    let source = |name: &str| {
        format!(
            "  - name: {name}\n    groups: [fleet]\n    kubernetes: {{ issuers: [{SHARED_ISSUER}], keys: {{ file: {name}.json }} }}\n"
        )
    };
    let prod = crate::stage::spiffe_source(&stage.world);
    let config =
        format!("{}{prod}{}{}{RESOURCES_AND_RULES}", server_config(&stage.issuer), source("north"), source("south"));
    let Reloaded::Refused(report) = stage.reconfigure(&config).await else { panic!("K8S-09: it was taken") };
    let text = report.render(false);
    assert!(text.contains("is in north and in south"), "both names: {text}");
    assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200, "the old configuration stays");
    // With a key of its own the second is taken.
    std::fs::write(stage.directory.path().join("south.json"), stage.cluster("edge-2").jwks().to_string()).unwrap();
    assert!(matches!(stage.reconfigure(&config).await, Reloaded::Taken { .. }));
    let south = stage.exchange_pod(&stage.pod_token("edge-2")).await;
    assert_eq!(south.claims()["sub"], "spiffe://id.example/k8s/south/ns/shop/sa/api");
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_09_at_run_time_a_copied_key_costs_the_newcomer_alone() {
    let stage = Stage::standard().await;
    let (eu1, edge) = (stage.cluster("eu1"), stage.cluster("edge-2"));
    let shared = eu1.active_key();
    let edge_own = edge.active_key();
    edge.adopt(shared.clone());
    next_attempt(&stage, "edge-2").await;
    // The holder's callers are granted, as the holder's; also tokens that the other cluster signs by this key.
    for cluster in ["eu1", "edge-2"] {
        let answer = stage.exchange_pod(&stage.pod_token(cluster)).await;
        assert_eq!(answer.claims()["sub"], OF_EU1, "the source that held the key first keeps it (K8S-09)");
    }
    // The newcomer keeps its other keys.
    let own = stage.pod_forge("edge-2").key(&edge_own).header("kid", edge_own.kid()).header("alg", "RS256");
    assert_eq!(stage.exchange_pod(&own.sign().unwrap().token()).await.claims()["sub"], OF_EDGE);
    // It is shown and counted.
    assert_eq!(shown(&stage, "edge-2").await["keys_that_belong_to"], serde_json::json!(["eu1"]));
    assert_eq!(shown(&stage, "eu1").await["keys_that_belong_to"], serde_json::json!([]));
    assert_eq!(metric(&stage, "countersign_keys_skipped{source=\"edge-2\"}").await, 1.0);
    assert_eq!(metric(&stage, "countersign_keys{source=\"edge-2\"}").await, 1.0);
    assert_eq!(metric(&stage, "countersign_keys_skipped{source=\"eu1\"}").await, 0.0);
    // When the holder drops it, the other may take it.
    eu1.rotate(Algorithm::ES256).unwrap();
    eu1.withdraw(shared.kid()).unwrap();
    next_attempt(&stage, "eu1").await;
    let answer = stage.exchange_pod(&stage.pod_token("edge-2")).await;
    assert_eq!(answer.claims()["sub"], OF_EDGE, "freed by its holder, taken by the other");
    assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.claims()["sub"], OF_EU1);
    assert_eq!(status(&stage, "edge-2").collisions, []);
    // And the former holder cannot take it back.
    eu1.adopt(shared);
    next_attempt(&stage, "eu1").await;
    stage.advance(INTERVAL).await;
    assert_eq!(stage.exchange_pod(&stage.pod_token("edge-2")).await.claims()["sub"], OF_EDGE);
    assert_eq!(shown(&stage, "eu1").await["keys_that_belong_to"], serde_json::json!(["edge-2"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_09_who_held_a_key_is_remembered_over_a_restart() {
    let mut stage = Stage::standard().await;
    let shared = stage.cluster("edge-2").active_key();
    // The first of the two in the configuration is the newcomer here.
    stage.cluster("eu1").adopt(shared);
    next_attempt(&stage, "eu1").await;
    let file = stage.directory.path().join("state/keys/edge-2.json");
    super::within(10, "the keys of edge-2 are kept", || file.exists()).await;
    stage.restart().await;
    stage.keys_known().await;
    super::within(10, "eu1 has answered again", || status(&stage, "eu1").refreshes_ok > 0).await;
    let answer = stage.exchange_pod(&stage.pod_token("eu1")).await;
    assert_eq!(answer.claims()["sub"], OF_EDGE, "the holder of before the restart holds it still");
    stage.advance(Lifetime::from_seconds(1)).await;
}
