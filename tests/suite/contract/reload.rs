//! A changed configuration: taken whole or not at all.

use countersign::app::Reloaded;
use countersign::clock::Lifetime;
use serde_json::json;

use super::metric;
use crate::stage::{
    RESOURCES_AND_RULES, Stage, cluster_source, eventually, free_address, server_config, standard_config,
};

/// How often the product looks at its files.
const LOOK: Lifetime = Lifetime::from_seconds(2);

fn generation(stage: &Stage) -> String {
    stage.app.exchange().generation().id().to_string()
}

/// Moves the clock until it happens.
async fn eventually_by_clock(stage: &Stage, what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, || {
        stage.clock.advance(LOOK);
        condition()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rules_act_on_the_next_request() {
    let stage = Stage::standard().await;
    let good = standard_config(&stage.world, &stage.issuer);
    let svid = stage.svid();
    assert_eq!(stage.exchange_svid(&svid).await.claims()["scope"], "read write");
    let before = generation(&stage);

    let narrower = good.replace(
        "from: { source: prod, path: /ns/shop/sa/api }\n    to: { resource: orders, scopes: [read, write] }",
        "from: { source: prod, path: /ns/shop/sa/api }\n    to: { resource: orders, scopes: [read] }",
    );
    let Reloaded::Taken { generation: taken, at_next_start, .. } = stage.reconfigure(&narrower).await else { panic!() };
    assert!(at_next_start.is_empty());
    assert_ne!(taken.to_string(), before);
    assert_eq!(stage.exchange_svid(&svid).await.claims()["scope"], "read");

    let none = good.replace("path: /ns/shop/sa/api", "path: /ns/shop/sa/other");
    assert!(matches!(stage.reconfigure(&none).await, Reloaded::Taken { .. }));
    let refused = stage.exchange_svid(&svid).await;
    assert_eq!(stage.reason(&refused).await, "not_granted");
    let record = stage.record(refused.body["error_ref"].as_str().unwrap()).await;
    assert_eq!(record["generation"], generation(&stage), "the record names the configuration that decided");

    assert!(matches!(stage.reconfigure(&good).await, Reloaded::Taken { .. }));
    assert_eq!(generation(&stage), before, "the same text is the same generation");
    assert!(matches!(stage.app.reload().await, Reloaded::Unchanged));
    let text = stage.admin("/metrics").await.text;
    assert_eq!(metric(&text, "countersign_config_reloads_total{outcome=\"taken\"}"), Some(3.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_never_replaces_a_good_one() {
    let stage = Stage::standard().await;
    let good = standard_config(&stage.world, &stage.issuer);
    let before = generation(&stage);
    for bad in [
        String::new(),
        "issuer: [".to_owned(),
        format!("{good}unknown: key\n"),
        good.replace("resource: orders", "resource: nothing"),
        format!("{good}tests: [{{ as: spiffe://prod.example/ns/shop/sa/api, for: vault, expect: allow }}]\n"),
    ] {
        let Reloaded::Refused(report) = stage.reconfigure(&bad).await else { panic!("taken: {bad}") };
        assert!(report.problems() > 0);
        assert_eq!(generation(&stage), before);
        assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "the old one serves");
        assert_eq!(metric(&stage.admin("/metrics").await.text, "countersign_config_reload_failed"), Some(1.0));
    }
    std::fs::remove_file(stage.directory.path().join("countersign.yaml")).unwrap();
    assert!(!matches!(stage.app.reload().await, Reloaded::Taken { .. } | Reloaded::Unchanged), "no file at all");
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);

    // Somebody puts the old file back: what is on disk is in use again, and nothing is wrong any more.
    assert!(matches!(stage.reconfigure(&good).await, Reloaded::Unchanged));
    assert_eq!(metric(&stage.admin("/metrics").await.text, "countersign_config_reload_failed"), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_noticed_by_content() {
    let stage = Stage::standard().await;
    let (good, before) = (standard_config(&stage.world, &stage.issuer), generation(&stage));
    let path = stage.directory.path().join("countersign.yaml");
    // As a ConfigMap changes: another file in another folder, and a link that is moved onto the name in one step.
    let (folder, link) = (stage.directory.path().join("..data"), stage.directory.path().join("link"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("new.yaml"), format!("{good}# changed\n")).unwrap();
    std::os::unix::fs::symlink(folder.join("new.yaml"), &link).unwrap();
    std::fs::rename(&link, &path).unwrap();
    eventually_by_clock(&stage, "the change is noticed", || generation(&stage) != before).await;

    let now = generation(&stage);
    std::fs::write(&path, "issuer: [").unwrap();
    let refused = || stage.app.exchange().metrics().encode(&[], &[]).contains("\ncountersign_config_reload_failed 1\n");
    eventually_by_clock(&stage, "the bad file is noticed", refused).await;
    assert_eq!(generation(&stage), now);
    std::fs::write(&path, format!("{good}# changed\n")).unwrap();
    eventually_by_clock(&stage, "the good file is noticed", || !refused()).await;
    assert_eq!(generation(&stage), now);
}

#[tokio::test(flavor = "multi_thread")]
async fn sca_21_fed_08_a_removed_source_refuses_at_once() {
    let stage = Stage::standard().await;
    let good = standard_config(&stage.world, &stage.issuer);
    let (svid, pod) = (stage.svid(), stage.pod_token("eu1"));
    assert_eq!((stage.exchange_svid(&svid).await.status, stage.exchange_pod(&pod).await.status), (200, 200));
    let others = server_config(&stage.issuer) + &cluster_source(stage.cluster("edge-2"));
    let rules = RESOURCES_AND_RULES.replace("source: prod, path: /ns/shop/sa/api", "source: edge-2, namespace: shop");
    let rules = rules.replace("source: prod, namespace: shop", "source: edge-2, namespace: shop");
    let taken = stage.reconfigure(&(others + &rules)).await;
    assert!(matches!(taken, Reloaded::Taken { .. }), "{taken:?}");
    let refused = stage.exchange_svid(&svid).await;
    assert_eq!(stage.reason(&refused).await, "source_unknown");
    // The other cluster shares the issuer: the token is looked at with its keys alone, and found to be by none of them.
    let refused = stage.exchange_pod(&pod).await;
    assert!(["key_unknown", "keys_refreshing"].contains(&stage.reason(&refused).await.as_str()), "{}", refused.text);
    assert_eq!(stage.exchange_pod(&stage.pod_token("edge-2")).await.status, 200, "the source that stayed");

    // It comes back with its keys.
    assert!(matches!(stage.reconfigure(&good).await, Reloaded::Taken { .. }));
    stage.keys_known().await;
    assert_eq!((stage.exchange_svid(&svid).await.status, stage.exchange_pod(&pod).await.status), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_does_not_change_while_it_runs() {
    let stage = Stage::standard().await;
    let other = standard_config(&stage.world, &format!("http://{}", free_address()));
    let before = generation(&stage);
    let Reloaded::Impossible(why) = stage.reconfigure(&other).await else { panic!() };
    assert!(why.starts_with("issuer is ") && why.contains(&stage.issuer), "{why}");
    assert_eq!(generation(&stage), before);
    assert_eq!(metric(&stage.admin("/metrics").await.text, "countersign_config_reload_failed"), Some(1.0));
    assert_eq!(stage.exchange_svid(&stage.svid()).await.claims()["iss"], json!(stage.issuer));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_next_start_is_reported() {
    let stage = Stage::standard().await;
    let good = standard_config(&stage.world, &stage.issuer);
    let listen = stage.issuer.trim_start_matches("http://");
    let changed = good
        .replace(
            &format!("listen: {{ address: \"{listen}\" }}"),
            &format!("listen: {{ address: \"{}\" }}", free_address()),
        )
        .replace("admin: { address: \"127.0.0.1:0\" }", "admin: { address: \"127.0.0.2:0\" }")
        .replace("./state", "./state2")
        .replace("./keys", "./keys2")
        + "audit: { stdout: false }\n";
    let Reloaded::Taken { at_next_start, .. } = stage.reconfigure(&changed).await else { panic!() };
    assert_eq!(at_next_start, ["listen", "admin", "signing", "state", "audit"]);
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "it still listens where it did");
}
