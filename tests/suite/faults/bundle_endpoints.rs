//! A trust domain whose bundle is served by an endpoint: followed, withdrawn, and dropped with its source.

use std::fs::File;
use std::io::{BufRead, BufReader};

use countersign::clock::Lifetime;
use countersign::world::Behaviour;
use countersign::world::keys::Algorithm;
use countersign::world::spiffe_agent::PretendTrustDomain;
use countersign::world::spiffe_agent::{BUNDLE_PATH, BundleEndpoint};
use tokio_util::sync::CancellationToken;

use super::{INTERVAL, next_attempt, refused, status, within};
use crate::evidence;
use crate::stage::{API, RESOURCES_AND_RULES, Stage, cluster_source, server_config, spiffe_source, standard_config};

const PARTNER: &str = "spiffe://partner.example/ns/shop/sa/api";
const SERVER: &str = "spiffe://partner.example/spire/server";
const RULE: &str = "  - name: the partner's workload may use orders\n    from: { source: partner, path: /ns/shop/sa/api }\n    to: { resource: orders, scopes: [read] }\n";

/// The standard stage with the partner's trust domain beside it, by this profile.
async fn federated(profile: &str) -> (Stage, BundleEndpoint) {
    let stage = Stage::standard().await;
    let domain = PretendTrustDomain::new("partner.example", stage.world.trust_domain().surroundings()).unwrap();
    // Nobody cancels it: it ends when it is dropped.
    let endpoint = BundleEndpoint::start(&domain, &CancellationToken::new()).await.unwrap();
    let write = |name: &str, text: String| std::fs::write(stage.directory.path().join(name), text).unwrap();
    write("partner-ca.crt", endpoint.ca_pem());
    write("first.json", domain.spiffe_bundle().to_string());
    if profile.contains("https_spiffe") {
        endpoint.show_svid(&domain, SERVER).unwrap();
    }
    let source = format!(
        "  - name: partner\n    spiffe: {{ trust_domain: partner.example, bundle: {{ url: \"{}\", {profile} }} }}\n",
        endpoint.url()
    );
    let config = format!(
        "{}{}{source}{}{RESOURCES_AND_RULES}{RULE}",
        server_config(&stage.issuer),
        spiffe_source(&stage.world),
        cluster_source(stage.world.cluster("eu1").unwrap())
    );
    stage.reconfigure(&config).await;
    within(10, "the partner's bundle has come", || status(&stage, "partner").keys > 0).await;
    (stage, endpoint)
}

fn svid(stage: &Stage, endpoint: &BundleEndpoint) -> String {
    endpoint.domain().mint(PARTNER, &[&stage.issuer], Lifetime::from_hours(1)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_02_sca_22_sca_23_bun_02_a_bundle_is_followed_by_either_profile() {
    let spiffe = format!("profile: https_spiffe, server_id: \"{SERVER}\", first: first.json");
    // Once everything is withdrawn nobody can vouch for an endpoint that shows an X.509-SVID.
    let profiles =
        [("profile: https_web, ca: partner-ca.crt", 400, "key_unknown"), (spiffe.as_str(), 503, "keys_unreachable")];
    for (profile, code, withdrawn) in profiles {
        let (stage, endpoint) = federated(profile).await;
        let old = svid(&stage, &endpoint);
        assert_eq!(stage.exchange_svid(&old).await.claims()["sub"], PARTNER, "{profile}");
        // BUN-09: it speaks for itself alone.
        let forged = endpoint.domain().mint(API, &[&stage.issuer], Lifetime::from_minutes(5)).unwrap();
        refused(&stage, &stage.exchange_svid(&forged).await, 400, "key_unknown").await;
        endpoint.domain().rotate(Algorithm::ES256).unwrap();
        next_attempt(&stage, "partner").await;
        let new = svid(&stage, &endpoint);
        assert_eq!(stage.exchange_svid(&new).await.status, 200, "{profile}: within its hint");
        assert_eq!(stage.exchange_svid(&old).await.status, 200, "{profile}: published still");
        endpoint.domain().publish_empty(true);
        next_attempt(&stage, "partner").await;
        stage.advance(INTERVAL).await;
        refused(&stage, &stage.exchange_svid(&new).await, code, withdrawn).await;
        assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "{profile}: the other is untouched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_08_fed_12_whoever_is_removed_is_refused_at_once() {
    let (stage, endpoint) = federated("profile: https_web, ca: partner-ca.crt").await;
    let logged = |line: &str| {
        let log = File::open(evidence::directory().join("logs.txt")).unwrap();
        let address = endpoint.url().trim_start_matches("https://");
        let line = format!("the bundle endpoint {address} {line}");
        BufReader::new(log).lines().map_while(Result::ok).any(|found| found.contains("INFO") && found.contains(&line))
    };
    assert!(logged("answered"));
    endpoint.behave(BUNDLE_PATH, Behaviour::Status(500));
    next_attempt(&stage, "partner").await;
    within(10, "a fetch that brought nothing is logged too", || logged("gave no bundle: GET")).await;
    endpoint.behave_well();
    let svid = svid(&stage, &endpoint);
    assert_eq!(stage.exchange_svid(&svid).await.status, 200);
    let kept = stage.directory.path().join("state/keys/partner.json");
    within(10, "its keys are kept", || kept.exists()).await;
    stage.reconfigure(&standard_config(&stage.world, &stage.issuer)).await;
    refused(&stage, &stage.exchange_svid(&svid).await, 400, "source_unknown").await;
    within(10, "its file is gone", || !kept.exists()).await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
}
