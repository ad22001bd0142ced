//! Keys in files: read again by themselves, whole or not at all, and each bundle by the rules of SPIFFE.

use std::path::PathBuf;

use countersign::clock::Lifetime;
use countersign::world::keys::Algorithm;
use serde_json::{Value, json};

use super::{next_file, refused, shown, status};
use crate::stage::{RESOURCES_AND_RULES, Stage, cluster_source, server_config};

/// The trust domain by a bundle file.
async fn filed() -> (Stage, PathBuf) {
    let mut file = None;
    let stage = Stage::with(|world, issuer| {
        let path = world.directory().join("bundle.json");
        std::fs::write(&path, world.trust_domain().spiffe_bundle().to_string()).unwrap();
        file = Some(path);
        format!(
            "{}  - name: prod\n    max_stale: 1h\n    spiffe: {{ trust_domain: prod.example, bundle: {{ file: bundle.json }}, paths: [\"/ns/{{namespace}}/sa/{{service_account}}\"] }}\n{}{RESOURCES_AND_RULES}",
            server_config(issuer),
            cluster_source(world.cluster("eu1").unwrap())
        )
    })
    .await;
    (stage, file.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_file_is_followed() {
    let (stage, file) = filed().await;
    let (domain, old) = (stage.world.trust_domain(), stage.svid());
    let old_kid = domain.active_key().kid().to_owned();
    domain.rotate(Algorithm::ES256).unwrap();
    // A file cannot be asked, so a key that it does not have is unknown at once (design §9.4).
    refused(&stage, &stage.exchange_svid(&stage.svid()).await, 400, "key_unknown").await;
    std::fs::write(&file, domain.spiffe_bundle().to_string()).unwrap();
    next_file(&stage, "prod").await;
    for svid in [&old, &stage.svid()] {
        assert_eq!(stage.exchange_svid(svid).await.status, 200);
    }
    domain.withdraw(&old_kid).unwrap();
    std::fs::write(&file, domain.spiffe_bundle().to_string()).unwrap();
    next_file(&stage, "prod").await;
    refused(&stage, &stage.exchange_svid(&old).await, 400, "key_unknown").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bun_02_a_bundle_file_without_usable_keys_is_a_revocation() {
    let (stage, file) = filed().await;
    let whole = std::fs::read(&file).unwrap();
    let x509_only: Value = {
        let mut bundle = stage.world.trust_domain().spiffe_bundle();
        bundle["keys"].as_array_mut().unwrap().retain(|key| key["use"] == "x509-svid");
        bundle
    };
    assert!(!x509_only["keys"].as_array().unwrap().is_empty());
    for bundle in [json!({ "keys": [] }), x509_only] {
        std::fs::write(&file, bundle.to_string()).unwrap();
        next_file(&stage, "prod").await;
        refused(&stage, &stage.exchange_svid(&stage.svid()).await, 400, "key_unknown").await;
        std::fs::write(&file, &whole).unwrap();
        next_file(&stage, "prod").await;
        assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bun_03_bun_04_bun_05_bun_10_keys_that_are_not_for_jwt_svids_are_passed_over() {
    let (stage, file) = filed().await;
    let (domain, svid) = (stage.world.trust_domain(), stage.svid());
    let good = domain.active_key().public_jwk();
    for (what, change) in [
        ("BUN-04: the case of use", json!({ "use": "JWT-SVID" })),
        ("BUN-03: no use", json!({ "use": null })),
        ("BUN-03: an unknown use", json!({ "use": "sig" })),
        ("BUN-03: no kty", json!({ "kty": null })),
        ("BUN-05: no kid", json!({ "kid": null })),
        ("WAP-16: another kind of SVID", json!({ "use": "x509-svid" })),
    ] {
        let mut jwk = good.clone();
        jwk.insert("use".to_owned(), "jwt-svid".into());
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(jwk.remove(name)),
                other => drop(jwk.insert(name.clone(), other.clone())),
            }
        }
        let bundle = json!({ "keys": [jwk], "spiffe_sequence": 7, "unknown_member": {} });
        std::fs::write(&file, bundle.to_string()).unwrap();
        next_file(&stage, "prod").await;
        let answer = stage.exchange_svid(&svid).await;
        refused(&stage, &answer, 400, "key_unknown").await;
        assert_eq!((status(&stage, "prod").keys, status(&stage, "prod").last_error), (0, None), "{what}");
    }
    // Beside such keys the good one is used.
    let mut bundle = domain.spiffe_bundle();
    bundle["keys"].as_array_mut().unwrap().push(countersign::world::keys::odd_key());
    std::fs::write(&file, bundle.to_string()).unwrap();
    next_file(&stage, "prod").await;
    assert_eq!(stage.exchange_svid(&svid).await.status, 200, "BUN-03");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_15_bun_01_a_file_that_is_spoiled_or_gone_keeps_the_last_good_keys_until_max_stale() {
    let (stage, file) = filed().await;
    let whole = std::fs::read(&file).unwrap();
    let large = format!("{{\"keys\":[],\"filler\":\"{}\"}}", "x".repeat(1024 * 1024));
    for (content, says) in [
        (&b"{\"spiffe_sequence\":1}"[..], "is no key set"),
        (&whole[..whole.len() / 2], "is no key set"),
        (b"{\"keys\":[],\"keys\":[]}", "is no key set"),
        (large.as_bytes(), "more than 1048576 bytes"),
    ] {
        std::fs::write(&file, content).unwrap();
        next_file(&stage, "prod").await;
        let why = shown(&stage, "prod").await["last_error"].as_str().unwrap_or_default().to_owned();
        assert!(why.contains(says), "{why}");
        assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "{why}");
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    next_file(&stage, "prod").await;
    assert!(status(&stage, "prod").last_error.unwrap().contains("is no file"));
    std::fs::remove_dir(&file).unwrap();
    next_file(&stage, "prod").await;
    assert!(status(&stage, "prod").last_error.unwrap().contains("cannot be read"));
    stage.advance(Lifetime::from_hours(1)).await;
    let answer = stage.exchange_svid(&stage.svid()).await;
    refused(&stage, &answer, 503, "keys_stale").await;
    std::fs::write(&file, &whole).unwrap();
    next_file(&stage, "prod").await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
}
