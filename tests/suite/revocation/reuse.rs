//! `reuse: once`: a credential gives one token (CA-11, design §9.7).

use countersign::clock::{Clock, Lifetime};
use countersign::world::World;
use countersign::world::keys::NamedKey;
use serde_json::json;

use super::malleated;
use crate::cases::dpop::proof_by;
use crate::cases::keyring::es256;
use crate::stage::{Answer, JWT_SPIFFE, ORDERS, Stage, client_builder, standard_config};

/// The standard configuration, whose first source has this.
async fn stage(line: &'static str) -> Stage {
    Stage::with(move |world: &World, issuer: &str| {
        standard_config(world, issuer).replacen("  - name: prod\n", &format!("  - name: prod\n    {line}\n"), 1)
    })
    .await
}

async fn is_used(stage: &Stage, answer: &Answer) {
    assert_eq!((answer.status, answer.error()), (400, "invalid_client"), "{}", answer.text);
    assert_eq!(stage.reason(answer).await, "already_used");
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_11_cached_credentials_pass_unless_a_source_wants_them_once() {
    for line in ["leeway: 30s", "reuse: allowed"] {
        let stage = stage(line).await;
        let svid = stage.svid();
        for _ in 0..2 {
            assert_eq!(stage.exchange_svid(&svid).await.status, 200, "{line}");
        }
    }
    let stage = stage("reuse: once").await;
    let (svid, pod) = (stage.svid(), stage.pod_token("eu1"));
    assert_eq!(stage.exchange_svid(&svid).await.status, 200);
    is_used(&stage, &stage.exchange_svid(&svid).await).await;
    is_used(&stage, &stage.exchange_svid(&svid).await).await;
    stage.advance(Lifetime::from_seconds(1)).await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "a fresh one");
    for _ in 0..2 {
        assert_eq!(stage.exchange_pod(&pod).await.status, 200, "another source");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_11_a_refusal_and_a_question_burn_nothing() {
    let stage = stage("reuse: once").await;
    let svid = stage.svid();
    let with = |more: &'static [(&'static str, &'static str)]| {
        let mut form = vec![("client_assertion_type", JWT_SPIFFE), ("client_assertion", svid.as_str())];
        form.extend(more);
        form
    };
    let scope = stage.token(&with(&[("resource", ORDERS), ("scope", "delete")])).await;
    let target = stage.token(&with(&[("resource", "https://nowhere.example")])).await;
    assert_eq!((scope.error(), target.error()), ("invalid_scope", "invalid_target"));
    let socket = stage.directory.path().join("state/operator.sock");
    let judge = json!({ "token": svid, "spiffe": true, "resource": "orders", "scope": null });
    for _ in 0..2 {
        let client = client_builder().unix_socket(socket.clone()).build().unwrap();
        let request = client.post("http://operator/judge").header("content-type", "application/json");
        let judged = crate::stage::answer(request.body(judge.to_string()).send().await.unwrap()).await;
        assert_eq!(judged.body["outcome"], "would_allow", "{}", judged.text);
    }
    assert_eq!(stage.exchange_svid(&svid).await.status, 200);
    is_used(&stage, &stage.exchange_svid(&svid).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_11_the_other_signature_of_a_token_is_the_same_token() {
    let stage = stage("reuse: once").await;
    for (what, token) in [
        ("by jti", stage.svid_forge().claim("jti", "one").sign().unwrap().token()),
        ("by hash", stage.svid_forge().without_claim("jti").sign().unwrap().token()),
    ] {
        let other = malleated(&token);
        assert_eq!(stage.exchange_svid(&other).await.status, 200, "{what}: it is a good signature");
        is_used(&stage, &stage.exchange_svid(&token).await).await;
        is_used(&stage, &stage.exchange_svid(&other).await).await;
    }
    // Other claims under the same jti are the same credential; without one they are not.
    let again = stage.svid_forge().claim("jti", "one").claim("x", 1).sign().unwrap().token();
    is_used(&stage, &stage.exchange_svid(&again).await).await;
    let different = stage.svid_forge().without_claim("jti").claim("x", 1).sign().unwrap().token();
    assert_eq!(stage.exchange_svid(&different).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_11_used_is_used_over_two_restarts_and_until_its_end() {
    let mut stage = stage("reuse: once").await;
    let svid = stage.svid();
    assert_eq!(stage.exchange_svid(&svid).await.status, 200);
    for _ in 0..2 {
        stage.restart().await;
        stage.keys_known().await;
        is_used(&stage, &stage.exchange_svid(&svid).await).await;
        stage.advance(Lifetime::from_seconds(1)).await;
        assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    }
    stage.advance(Lifetime::from_seconds(287)).await;
    is_used(&stage, &stage.exchange_svid(&svid).await).await;
    stage.advance(Lifetime::from_seconds(11)).await;
    let ended = stage.exchange_svid(&svid).await;
    assert_eq!(stage.reason(&ended).await, "token_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_11_of_many_who_show_it_at_a_time_one_is_served() {
    let stage = stage("reuse: once").await;
    let svid = stage.svid();
    let answers = futures_util::future::join_all((0..20).map(|_| stage.exchange_svid(&svid))).await;
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(granted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_11_bound_wants_a_key_at_every_use() {
    let stage = stage("reuse: bound").await;
    let refused = stage.exchange_svid(&stage.svid()).await;
    assert_eq!((refused.status, stage.reason(&refused).await.as_str()), (400, "binding_required"));
    assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200, "another source");
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_11_bound_ties_a_credential_to_the_key_of_its_first_use() {
    let mut stage = stage("reuse: bound").await;
    let (svid, mine, stolen) = (stage.svid(), es256("mine"), es256("stolen"));
    let with = async |stage: &Stage, svid: &str, key: &NamedKey| {
        let proof = proof_by(key, &stage.issuer, stage.clock.now().seconds()).sign().unwrap().token();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_SPIFFE),
            ("client_assertion", svid),
            ("resource", ORDERS),
        ];
        stage.form(&form, &[("dpop", &proof)]).await
    };
    for _ in 0..2 {
        assert_eq!(with(&stage, &svid, &mine).await.body["token_type"], "DPoP");
    }
    is_used(&stage, &with(&stage, &svid, &stolen).await).await;
    stage.restart().await;
    stage.keys_known().await;
    is_used(&stage, &with(&stage, &svid, &stolen).await).await;
    assert_eq!(with(&stage, &svid, &mine).await.status, 200, "its owner goes on");
    stage.advance(Lifetime::from_seconds(1)).await;
    assert_eq!(with(&stage, &stage.svid(), &stolen).await.status, 200, "a fresh one, and the key of its first use");
}
