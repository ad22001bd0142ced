//! What is kept over reloads and restarts.

use std::os::unix::fs::PermissionsExt;

use super::super::KeysUnusable;
use super::bundle_endpoint::Partner;
use super::*;
use crate::world::Surroundings;
use crate::world::spiffe_agent::{Answer, PretendTrustDomain, WorkloadApi};

async fn kept(stand: &Stand, name: &str) {
    until("the keys are kept", || stand.path(&format!("state/keys/{name}.json")).exists()).await;
}

#[tokio::test]
async fn jwk_15_last_good_keys_survive_a_restart_and_grow_stale() {
    let mut stand = Stand::new();
    let path = stand.write("eu1.json", jwks(&[&jwk("a")]));
    let settings = [cluster_file("eu1", &path)];
    stand.trust.apply(&settings);
    kept(&stand, "eu1").await;
    let mode = |path: &str| std::fs::metadata(stand.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state/keys"), mode("state/keys/eu1.json")), (0o700, 0o600));
    let confirmed = stand.now();
    std::fs::remove_file(&path).unwrap();
    stand.restart().await;
    stand.clock.advance(Lifetime::from_hours(23));
    let view = stand.trust.apply(&settings);
    let eu1 = source(&view, "eu1");
    let now = eu1.keys_at(stand.now()).unwrap();
    assert_eq!((now.set.keys().len(), now.confirmed_at), (1, confirmed));
    stand.restart().await;
    stand.clock.advance(Lifetime::from_hours(2));
    let view = stand.trust.apply(&settings);
    let stale = source(&view, "eu1").keys_at(stand.now()).unwrap_err();
    assert!(matches!(stale, KeysUnusable::Stale { confirmed_at, .. } if confirmed_at == confirmed), "{stale:?}");
}

#[tokio::test]
async fn a_source_that_was_re_pointed_does_not_inherit() {
    let mut stand = Stand::new();
    let path = stand.write("eu1.json", jwks(&[&jwk("a")]));
    stand.trust.apply(&[cluster_file("eu1", &path)]);
    kept(&stand, "eu1").await;
    let elsewhere = [cluster_file("eu1", &stand.path("elsewhere.json"))];
    let view = stand.trust.apply(&elsewhere);
    assert_eq!(key_ids(&source(&view, "eu1"), stand.now()), None, "at a reload");
    stand.restart().await;
    let view = stand.trust.apply(&elsewhere);
    assert_eq!(key_ids(&source(&view, "eu1"), stand.now()), None, "at a restart");
}

#[tokio::test]
async fn torn_and_foreign_files_are_not_read() {
    let mut stand = Stand::new();
    let path = stand.write("eu1.json", jwks(&[&jwk("a")]));
    let settings = [cluster_file("eu1", &path)];
    stand.trust.apply(&settings);
    kept(&stand, "eu1").await;
    std::fs::remove_file(&path).unwrap();
    let good = std::fs::read_to_string(stand.path("state/keys/eu1.json")).unwrap();
    let spoiled = [
        good[..good.len() / 2].to_owned(),
        String::new(),
        good.replace("\"eu1\"", "\"eu2\""),
        good.replace("confirmed_at\":\"2026", "confirmed_at\":\"2036"),
        good.replace("confirmed_at", "confirmed"),
        format!("{good}{}", " ".repeat(5 * 1024 * 1024)),
    ];
    for text in spoiled {
        assert_ne!(text, good);
        stand.restart().await;
        stand.write("state/keys/eu1.json", &text);
        let view = stand.trust.apply(&settings);
        assert_eq!(key_ids(&source(&view, "eu1"), stand.now()), None, "{}", &text[..text.len().min(300)]);
    }
    stand.restart().await;
    stand.write("state/keys/eu1.json", &good);
    let view = stand.trust.apply(&settings);
    assert_eq!(key_ids(&source(&view, "eu1"), stand.now()), ids(&["a"]));
}

#[tokio::test]
async fn a_reload_keeps_keys_and_counters_of_what_is_unchanged() {
    let stand = Stand::new();
    let path = stand.write("eu1.json", jwks(&[&jwk("a")]));
    let mut settings = cluster_file("eu1", &path);
    stand.trust.apply(&[settings.clone()]);
    stand.to_next_attempt("eu1").await;
    until("read again", || stand.status("eu1").refreshes_ok >= 2).await;
    std::fs::remove_file(&path).unwrap();
    settings.max_stale = Lifetime::from_minutes(1);
    let view = stand.trust.apply(&[settings, cluster_file("new", &stand.path("new.json"))]);
    let eu1 = source(&view, "eu1");
    assert_eq!(key_ids(&eu1, stand.now()), ids(&["a"]));
    assert!(stand.status("eu1").refreshes_ok >= 2);
    assert_eq!(key_ids(&eu1, stand.now().plus(Lifetime::from_seconds(61))), None, "the new max_stale counts");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_costs_no_keys() {
    let stand = Stand::new();
    stand.write("state", "a file where the folder should be");
    let view = stand.trust.apply(&[cluster_file("eu1", &stand.write("eu1.json", jwks(&[&jwk("a")])))]);
    stand.to_next_attempt("eu1").await;
    assert_eq!(key_ids(&source(&view, "eu1"), stand.now()), ids(&["a"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bun_02_a_disk_that_hangs_delays_no_withdrawal() {
    let stand = Stand::new();
    let surroundings = Surroundings::with_clock(Arc::new(stand.clock.clone()));
    let pretend = PretendTrustDomain::new("prod.example", &surroundings).unwrap();
    let _api = WorkloadApi::start(stand.path("agent.sock"), &pretend, &stand.stop).await.unwrap();
    let partner = Partner::start(&stand).await;
    let file = stand.write("eu1.json", jwks(&[&jwk("a")]));
    // As long as this is held, every write hangs.
    let hung = stand.trust.shared.writing.lock().await;
    let socket = format!("unix:{}", stand.path("agent.sock").display());
    let view = stand.trust.apply(&[
        domain("agent", "prod.example", SpiffeKeys::WorkloadApi(socket)),
        partner.by_web(),
        cluster_file("eu1", &file),
    ]);
    stand.trust.first_attempts().await;
    let count = |name: &str| key_ids(&source(&view, name), stand.now()).map(|ids| ids.len());
    let all = |counts: Option<usize>| ["agent", "partner", "eu1"].iter().all(|name| count(name) == counts);
    assert!(all(Some(1)));
    pretend.publish_empty(true);
    partner.domain.publish_empty(true);
    stand.write("eu1.json", jwks(&[]));
    until("the agent said so", || count("agent") == Some(0)).await;
    stand.through_attempts("eu1", "the file was read", || count("eu1") == Some(0)).await;
    stand.through_attempts("partner", "the endpoint was asked", || count("partner") == Some(0)).await;
    pretend.publish_empty(false);
    until("the agent said more", || count("agent") == Some(1)).await;
    assert!(!stand.path("state/keys").exists());
    drop(hung);
    for name in ["agent", "partner", "eu1"] {
        kept(&stand, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_15_x509_authorities_of_agents_and_files_survive_a_restart() {
    let mut stand = Stand::new();
    let surroundings = Surroundings::with_clock(Arc::new(stand.clock.clone()));
    let pretend = PretendTrustDomain::new("prod.example", &surroundings).unwrap();
    let api = WorkloadApi::start(stand.path("agent.sock"), &pretend, &CancellationToken::new()).await.unwrap();
    let bundle = stand.write("bundle.json", pretend.spiffe_bundle().to_string());
    let socket = format!("unix:{}", stand.path("agent.sock").display());
    let settings = [
        domain("agent", "prod.example", SpiffeKeys::WorkloadApi(socket)),
        domain("file", "file.example", SpiffeKeys::BundleFile(bundle.clone())),
    ];
    stand.trust.apply(&settings);
    stand.trust.first_attempts().await;
    let has_authorities = |stand: &Stand, name: &str| {
        std::fs::read_to_string(stand.path(&format!("state/keys/{name}.json")))
            .is_ok_and(|text| text.contains("\"x509\""))
    };
    until("kept", || ["agent", "file"].iter().all(|name| has_authorities(&stand, name))).await;
    api.stop().await;
    std::fs::remove_file(bundle).unwrap();
    stand.restart().await;
    let view = stand.trust.apply(&settings);
    let count = |stand: &Stand, name: &str| {
        source(&view, name).authorities_at(stand.now()).ok().map(|authorities| authorities.all().len())
    };
    assert_eq!((count(&stand, "agent"), count(&stand, "file")), (Some(1), Some(1)));
    stand.clock.advance(Lifetime::from_hours(25));
    assert_eq!((count(&stand, "agent"), count(&stand, "file")), (None, None), "max_stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_09_x509_authorities_that_were_withdrawn_do_not_come_back() {
    let mut stand = Stand::new();
    let surroundings = Surroundings::with_clock(Arc::new(stand.clock.clone()));
    let pretend = PretendTrustDomain::new("prod.example", &surroundings).unwrap();
    let api = WorkloadApi::start(stand.path("agent.sock"), &pretend, &CancellationToken::new()).await.unwrap();
    let socket = format!("unix:{}", stand.path("agent.sock").display());
    let settings = [domain("prod", "prod.example", SpiffeKeys::WorkloadApi(socket))];
    stand.trust.apply(&settings);
    stand.trust.first_attempts().await;
    let kept = |stand: &Stand| {
        let text = std::fs::read_to_string(stand.path("state/keys/prod.json")).unwrap_or_default();
        serde_json::from_str::<Value>(&text).unwrap_or_default()["x509"].clone()
    };
    let end = stand.now().plus(Lifetime::from_seconds(60));
    api.answer(Answer::PermissionDenied);
    until("its end is kept", || kept(&stand)["ends"].is_string()).await;
    api.stop().await;
    stand.restart().await;
    let view = stand.trust.apply(&settings);
    let count = |at: Timestamp| source(&view, "prod").authorities_at(at).unwrap().all().len();
    assert_eq!((count(end.minus(Lifetime::from_millis(1))), count(end)), (1, 0));
    until("asked", || stand.status("prod").next_attempt.is_some()).await;
    stand.clock.advance(Lifetime::from_seconds(60));
    until("given up", || kept(&stand)["authorities"] == json!([])).await;
    // What is no authority any more is none of a file either.
    stand.restart().await;
    let spoiled = std::fs::read_to_string(stand.path("state/keys/prod.json"))
        .unwrap()
        .replace("\"x509\":{", "\"x509\":{\"x\":1,");
    stand.write("state/keys/prod.json", spoiled.replace("\"authorities\":[]", "\"authorities\":[\"AAAA\",7]"));
    let view = stand.trust.apply(&settings);
    assert_eq!(source(&view, "prod").authorities_at(stand.now()).unwrap().all().len(), 0);
    stand.restart().await;
    stand.write("state/keys/prod.json", spoiled.replace("\"authorities\":[]", "\"authorities\":7"));
    let view = stand.trust.apply(&settings);
    assert!(source(&view, "prod").authorities_at(stand.now()).is_err());
}
