//! Authorities from bundle files (XSV-06).

use countersign::clock::Clock;
use countersign::world::x509::CertificateAuthority;
use serde_json::{Value, json};

use super::ground::{Ground, alone};
use crate::stage::{API, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn xsv_06_entries_of_a_bundle_file() {
    let ground = Ground::with(|text| {
        let start = text.find("workload_api").unwrap();
        let end = start + text[start..].find(", paths").unwrap();
        text.replacen(&text[start..end], "bundle: { file: bundle.json }", 1)
    })
    .await;
    let now = ground.stage.clock.now();
    let [second, third, plain] =
        ["second", "third", "plain"].map(|_| CertificateAuthority::for_trust_domain("prod.example", now).unwrap());
    let leaf_as_authority = ground.prod().issue_x509(&ground.params(API)).unwrap();
    let der = |der: &[u8]| {
        use base64ct::{Base64, Encoding};
        Base64::encode_string(der)
    };
    let first = ground.prod().spiffe_bundle();
    let mut keys = first["keys"].as_array().unwrap().clone();
    // No kid; two certificates, of which the first counts; without x5c; with another use; no certificate; a leaf.
    keys.push(json!({ "use": "x509-svid", "kty": "EC", "x5c": [der(second.der()), der(third.der())] }));
    keys.push(json!({ "use": "x509-svid", "kty": "EC" }));
    let mut without_use = plain.bundle_key();
    without_use["use"] = "jwt-svid".into();
    keys.push(without_use);
    keys.push(json!({ "use": "x509-svid", "kty": "EC", "x5c": ["AAAA"] }));
    keys.push(json!({ "use": "x509-svid", "kty": "EC", "x5c": [der(leaf_as_authority.der())] }));
    write(&ground, json!({ "keys": keys }));
    of_file(&ground, 2).await;
    ground.good_is_granted().await;
    let by = |authority: &CertificateAuthority| alone(&authority.issue(&ground.params(API)).unwrap());
    assert_eq!(ground.ask(by(&second), API).await.status, 200, "the first certificate of an entry");
    for (name, authority) in [("the second of an entry", &third), ("WAP-16: an entry of another use", &plain)] {
        let answer = ground.ask(by(authority), API).await;
        assert_eq!(ground.reason(&answer).await, "signature_invalid", "{name}");
    }
    // What the file no longer names is withdrawn.
    write(
        &ground,
        json!({ "keys": first["keys"].as_array().unwrap().iter().filter(|key| key["use"] == "jwt-svid").collect::<Vec<_>>() }),
    );
    of_file(&ground, 0).await;
    let answer = ground.ask(ground.good(), API).await;
    assert_eq!(ground.reason(&answer).await, "key_unknown");
}

fn write(ground: &Ground, bundle: Value) {
    std::fs::write(ground.stage.directory.path().join("bundle.json"), bundle.to_string()).unwrap();
}

async fn of_file(ground: &Ground, count: usize) {
    for _ in 0..200 {
        let of =
            |source: &countersign::trust::SourceStatus| source.name.as_str() == "prod" && source.authorities == count;
        if ground.stage.app.trust().status().iter().any(of) {
            return;
        }
        ground.stage.advance(countersign::clock::Lifetime::from_seconds(5)).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    eventually("the file was read", || false).await;
}
