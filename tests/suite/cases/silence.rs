//! While nothing is verified, every refusal sounds the same.

use std::collections::BTreeSet;

use countersign::world::keys::Algorithm;

use super::ground::Ground;
use super::keyring::es256;
use super::request::Request;
use crate::stage::Answer;

/// Everything that a caller could tell refusals apart by, but the reference and the time of day.
fn look(answer: &Answer) -> String {
    let reference = answer.body["error_ref"].as_str().unwrap();
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    format!("{} {} {headers:?}", answer.status, answer.text.replace(reference, "…"))
}

#[tokio::test(flavor = "multi_thread")]
async fn unverified_refusals_cannot_be_told_apart_tok_24() {
    let ground = Ground::new().await;
    ground.good_ones_are_granted("before").await;
    let prod = ground.stage.world.trust_domain().active_key().kid().to_owned();
    let rows: [(&str, Request); 8] = [
        ("source_unknown", ground.svid(|t| t.claim("sub", "spiffe://other.example/a"))),
        ("source_unknown", ground.pod(|t| t.claim("iss", "https://other.example"))),
        ("key_unknown", ground.svid(|t| t.header("kid", "stranger"))),
        ("key_ambiguous", ground.partner(&es256("partner"), |t| t.without_header("kid"))),
        ("algorithm_refused", ground.svid(|t| t.header("alg", "HS256"))),
        ("signature_invalid", ground.svid(|t| t.key(&es256("stranger")))),
        ("signature_invalid", ground.partner(&es256("stranger"), |t| t.header("kid", prod.as_str()))),
        ("subject_invalid", ground.keyring(&es256("fit"), |t| t.claim("sub", "system:node:n"))),
    ];
    let (mut looks, mut references) = (BTreeSet::new(), BTreeSet::new());
    for (reason, request) in &rows {
        let answer = request.send(&ground.client, ground.issuer()).await;
        assert_eq!(ground.stage.reason(&answer).await, *reason);
        references.insert(answer.body["error_ref"].to_string());
        looks.insert(look(&answer));
    }
    assert_eq!(looks.len(), 1, "{looks:#?}");
    assert_eq!(references.len(), rows.len());
    // The wrong algorithm of a right key neither.
    let other = ground.keyring(&super::keyring::rsa("rsa-256", Algorithm::PS256), |t| t);
    looks.insert(look(&other.send(&ground.client, ground.issuer()).await));
    assert_eq!(looks.len(), 1, "{looks:#?}");
}
