//! What a bundle message of the Workload API says is the whole truth, for each trust domain by itself.

use std::sync::Arc;

use countersign::clock::Lifetime;
use countersign::world::World;
use countersign::world::keys::{Algorithm, NamedKey, SigningKey};
use countersign::world::spiffe_agent::{Answer, PretendTrustDomain, Rpc};

use super::{next_attempt, refused, shown, status, within};
use crate::stage::{API, RESOURCES_AND_RULES, Stage, cluster_source, server_config, spiffe_source};

/// The workload of the federated trust domain.
const PARTNER: &str = "spiffe://partner.example/ns/shop/sa/api";
const PARTNER_RULE: &str = "  - name: the partner's workload may use orders\n    from: { source: partner, path: /ns/shop/sa/api }\n    to: { resource: orders, scopes: [read] }\n";

fn partner_source(world: &World) -> String {
    format!(
        "  - name: partner\n    spiffe: {{ trust_domain: partner.example, workload_api: \"{}\" }}\n",
        world.agent().address()
    )
}

/// Two trust domains on one socket.
pub(super) async fn federated() -> (Stage, PretendTrustDomain) {
    let mut partner = None;
    let stage = Stage::with(|world, issuer| {
        let domain = PretendTrustDomain::new("partner.example", world.trust_domain().surroundings()).unwrap();
        world.agent().federate(&domain);
        partner = Some(domain);
        // The standard rules name the group of clusters, so there is one of them.
        format!(
            "{}{}{}{}{RESOURCES_AND_RULES}{PARTNER_RULE}",
            server_config(issuer),
            spiffe_source(world),
            partner_source(world),
            cluster_source(world.cluster("eu1").unwrap())
        )
    })
    .await;
    (stage, partner.unwrap())
}

fn partner_svid(stage: &Stage, partner: &PretendTrustDomain) -> String {
    partner.mint(PARTNER, &[&stage.issuer], Lifetime::from_minutes(5)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_01_wap_11_bun_09_two_trust_domains_share_one_stream() {
    let (stage, partner) = federated().await;
    let agent = stage.world.agent();
    for (svid, sub) in [(stage.svid(), API), (partner_svid(&stage, &partner), PARTNER)] {
        assert_eq!(stage.exchange_svid(&svid).await.claims()["sub"], sub);
    }
    assert_eq!(agent.calls(Rpc::FetchJwtBundles), 1, "one stream for both sources (design §7)");
    assert_eq!(agent.calls_without_header(), 0, "WAP-01");
    assert_eq!(agent.calls(Rpc::ValidateJwtSvid), 0, "WAP-11: validated locally");
    assert!(agent.calls(Rpc::FetchX509Bundles) <= 1, "one stream of X.509 authorities for both sources");
    assert_eq!(agent.calls(Rpc::FetchX509Svid), 0, "no identity of our own is asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn jsv_10_bun_09_wap_10_a_trust_domain_speaks_for_itself_alone() {
    let (stage, partner) = federated().await;
    // One key id in both, different keys.
    let kid = stage.world.trust_domain().active_key().kid().to_owned();
    let before = (status(&stage, "partner").refreshes_ok, status(&stage, "prod").refreshes_ok);
    partner.adopt(NamedKey::new(kid.clone(), Arc::new(SigningKey::generate(Algorithm::ES256).unwrap())));
    within(10, "the partner's new bundle has come", || status(&stage, "partner").refreshes_ok > before.0).await;
    assert_eq!(stage.exchange_svid(&partner_svid(&stage, &partner)).await.claims()["sub"], PARTNER);
    assert_eq!(stage.exchange_svid(&stage.svid()).await.claims()["sub"], API);
    // The partner signs an SVID of ours: under one key id, and under one that only the partner has.
    let lifetime = Lifetime::from_minutes(5);
    let forged = partner.forge(API, &[&stage.issuer], lifetime);
    refused(&stage, &stage.exchange_svid(&forged.sign().unwrap().token()).await, 400, "signature_invalid").await;
    partner.rotate(Algorithm::ES256).unwrap();
    within(10, "the third bundle has come", || status(&stage, "partner").keys == 3).await;
    let forged = partner.mint(API, &[&stage.issuer], lifetime).unwrap();
    refused(&stage, &stage.exchange_svid(&forged).await, 400, "key_unknown").await;
    // And ours an SVID of the partner's.
    let crossed = stage.world.trust_domain().mint(PARTNER, &[&stage.issuer], lifetime).unwrap();
    refused(&stage, &stage.exchange_svid(&crossed).await, 400, "signature_invalid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_06_a_trust_domain_that_is_missing_in_a_message_is_withdrawn_at_once() {
    let (stage, partner) = federated().await;
    let svid = partner_svid(&stage, &partner);
    assert_eq!(stage.exchange_svid(&svid).await.status, 200);
    stage.world.agent().unfederate("partner.example");
    within(10, "the message without it has come", || status(&stage, "partner").keys == 0).await;
    refused(&stage, &stage.exchange_svid(&svid).await, 400, "key_unknown").await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "the other is untouched");
    stage.world.agent().federate(&partner);
    within(10, "it is back", || status(&stage, "partner").keys > 0).await;
    assert_eq!(stage.exchange_svid(&svid).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bun_02_a_bundle_without_keys_withdraws_everything_by_its_trust_domain() {
    let (stage, partner) = federated().await;
    let svid = stage.svid();
    assert_eq!(stage.exchange_svid(&svid).await.status, 200);
    stage.world.trust_domain().publish_empty(true);
    within(10, "the empty bundle has come", || status(&stage, "prod").keys == 0).await;
    refused(&stage, &stage.exchange_svid(&svid).await, 400, "key_unknown").await;
    assert_eq!(stage.exchange_svid(&partner_svid(&stage, &partner)).await.status, 200, "BUN-09");
    stage.world.trust_domain().publish_empty(false);
    within(10, "the keys are back", || status(&stage, "prod").keys > 0).await;
    assert_eq!(stage.exchange_svid(&svid).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_07_a_message_with_an_empty_map_is_dropped_and_the_old_keys_stay() {
    let stage = Stage::standard().await;
    let svid = stage.svid();
    stage.world.agent().answer(Answer::NoBundles);
    within(10, "the message is reported", || status(&stage, "prod").last_error.is_some()).await;
    let why = shown(&stage, "prod").await["last_error"].as_str().unwrap().to_owned();
    assert!(why.contains("without any bundle") && why.contains("keys before it stay"), "{why}");
    assert_eq!(stage.exchange_svid(&svid).await.status, 200, "WAP-07");
    stage.world.agent().answer(Answer::Truth);
    within(10, "all is well again", || status(&stage, "prod").last_error.is_none()).await;
    assert_eq!(stage.world.agent().calls(Rpc::FetchJwtBundles), 1, "the stream stays open");
}

#[tokio::test(flavor = "multi_thread")]
async fn sca_21_a_trust_domain_that_is_not_configured_is_unknown_however_well_the_agent_knows_it() {
    let stage = Stage::standard().await;
    let stranger = PretendTrustDomain::new("stranger.example", stage.world.trust_domain().surroundings()).unwrap();
    let before = status(&stage, "prod").refreshes_ok;
    stage.world.agent().federate(&stranger);
    within(10, "the stream brings it", || status(&stage, "prod").refreshes_ok > before).await;
    let calls = stage.world.agent().calls(Rpc::FetchJwtBundles);
    let asked: u64 = stage.world.clusters().iter().map(|cluster| cluster.all_requests()).sum();
    let svid = stranger.mint("spiffe://stranger.example/api", &[&stage.issuer], Lifetime::from_minutes(5)).unwrap();
    refused(&stage, &stage.exchange_svid(&svid).await, 400, "source_unknown").await;
    assert_eq!(stage.world.agent().calls(Rpc::FetchJwtBundles), calls, "SCA-21: nobody is asked");
    assert_eq!(stage.world.clusters().iter().map(|cluster| cluster.all_requests()).sum::<u64>(), asked);
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_16_keys_for_x509_svids_verify_no_jwt_svid() {
    let stage = Stage::standard().await;
    let key = NamedKey::new("ca-key", Arc::new(SigningKey::generate(Algorithm::ES256).unwrap()));
    let mut jwk = key.public_jwk();
    jwk.insert("use".to_owned(), "x509-svid".into());
    let before = status(&stage, "prod");
    stage.world.trust_domain().publish_extra(jwk.into());
    within(10, "the bundle has come", || status(&stage, "prod").refreshes_ok > before.refreshes_ok).await;
    let forged = stage.svid_forge().key(&key).header("kid", "ca-key").sign().unwrap().token();
    refused(&stage, &stage.exchange_svid(&forged).await, 400, "key_unknown").await;
    assert_eq!(status(&stage, "prod").skipped, before.skipped + 1, "counted");
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "the rest of the bundle is used");
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_15_a_message_that_is_too_large_ends_the_stream_and_nothing_else() {
    let stage = Stage::standard().await;
    let agent = stage.world.agent();
    // Over the 4 MiB of gRPC's default.
    let large = format!("{{\"keys\":[],\"filler\":\"{}\"}}", "x".repeat(5 * 1024 * 1024));
    agent.send_also("spiffe://large.example", Some(large.into_bytes()));
    within(10, "it is noticed", || status(&stage, "prod").last_error.is_some()).await;
    for _ in 0..5 {
        next_attempt(&stage, "prod").await;
        assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "last good keys serve");
    }
    agent.send_also("spiffe://large.example", None);
    next_attempt(&stage, "prod").await;
    within(10, "all is well again", || status(&stage, "prod").last_error.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_15_ten_thousand_trust_domains_that_nobody_configured_cost_nothing() {
    let stage = Stage::standard().await;
    let agent = stage.world.agent();
    // So that they come in one message.
    agent.stop().await;
    within(10, "the end of the stream is noticed", || status(&stage, "prod").last_error.is_some()).await;
    for n in 0..10_000 {
        agent.send_also(&format!("spiffe://other-{n}.example"), Some(b"{\"keys\":[]}".to_vec()));
    }
    stage.world.trust_domain().rotate(Algorithm::ES256).unwrap();
    agent.start_again().await.unwrap();
    next_attempt(&stage, "prod").await;
    within(10, "the stream has settled", || status(&stage, "prod").keys == 2).await;
    let answer = stage.exchange_svid(&stage.svid()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_another_trust_domain_that_cannot_be_read_takes_no_keys_away() {
    let (stage, partner) = federated().await;
    for spoiled in ["{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"}]}", "no JSON", "{}"] {
        partner.publish_raw(Some(spoiled.as_bytes().to_vec()));
        within(10, "it is shown", || status(&stage, "partner").last_error.is_some()).await;
        assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "{spoiled}");
        assert_eq!(stage.exchange_svid(&partner_svid(&stage, &partner)).await.status, 200, "{spoiled}: JWK-15");
        partner.publish_raw(None);
        within(10, "all is well again", || status(&stage, "partner").last_error.is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_trust_domain_is_followed_without_a_request_of_ours() {
    let stage = Stage::standard().await;
    let (old, before) = (stage.svid(), status(&stage, "prod").keys);
    let old_key = stage.world.trust_domain().active_key();
    stage.world.trust_domain().rotate(Algorithm::ES384).unwrap();
    within(10, "the new key has come", || status(&stage, "prod").keys == before + 1).await;
    for svid in [&old, &stage.svid()] {
        assert_eq!(stage.exchange_svid(svid).await.status, 200, "old and new");
    }
    stage.world.trust_domain().withdraw(old_key.kid()).unwrap();
    within(10, "the old key is gone", || status(&stage, "prod").keys == before).await;
    // A stream cannot be asked, so nobody is told to come back (design §9.4).
    refused(&stage, &stage.exchange_svid(&old).await, 400, "key_unknown").await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
}
