//! Authorities from a bundle endpoint, and what is left of them after a restart.

use countersign::clock::Lifetime;
use countersign::world::spiffe_agent::BundleEndpoint;
use tokio_util::sync::CancellationToken;

use super::ground::{Ground, PARTNER, alone};

const SERVER: &str = "spiffe://partner.example/spire/server";

#[tokio::test(flavor = "multi_thread")]
async fn fed_05_bun_02_xsv_06_authorities_come_from_a_bundle_endpoint_and_outlive_a_restart() {
    let mut ground = Ground::new().await;
    let endpoint = BundleEndpoint::start(&ground.partner, &CancellationToken::new()).await.unwrap();
    endpoint.show_svid(&ground.partner, SERVER).unwrap();
    let folder = ground.stage.directory.path().to_owned();
    std::fs::write(folder.join("first.json"), ground.partner.spiffe_bundle().to_string()).unwrap();
    let config = std::fs::read_to_string(folder.join("countersign.yaml")).unwrap();
    let by_agent = format!("trust_domain: partner.example, workload_api: \"{}\"", ground.stage.world.agent().address());
    assert!(config.contains(&by_agent));
    let by_endpoint = format!(
        "trust_domain: partner.example, bundle: {{ url: \"{}\", profile: https_spiffe, server_id: \"{SERVER}\", first: first.json }}",
        endpoint.url()
    );
    ground.stage.reconfigure(&config.replace(&by_agent, &by_endpoint)).await;
    ground.authorities("partner", 1).await;
    let theirs = || alone(&ground.partner.x509_svid(PARTNER, Lifetime::from_hours(1)).unwrap());
    let old = theirs();
    assert_eq!(ground.ask(theirs(), PARTNER).await.status, 200);
    ground.partner.rotate_x509().unwrap();
    ground.partner.withdraw_old_x509();
    poll(&ground).await;
    assert_eq!(ground.ask(theirs(), PARTNER).await.status, 200, "by the new authority");
    let answer = ground.ask(old, PARTNER).await;
    assert_eq!(ground.reason(&answer).await, "signature_invalid");
    let leaf = theirs();
    endpoint.stop().await;
    ground.stage.restart().await;
    ground.authorities("partner", 1).await;
    assert_eq!(ground.ask(leaf, PARTNER).await.status, 200, "last good authorities");
    endpoint.start_again().await.unwrap();
    endpoint.show_svid(&ground.partner, SERVER).unwrap();
    ground.partner.publish_empty(true);
    poll(&ground).await;
    let leaf = alone(&ground.partner.x509_svid(PARTNER, Lifetime::from_hours(1)).unwrap());
    let answer = ground.ask(leaf, PARTNER).await;
    assert_eq!(ground.reason(&answer).await, "key_unknown", "every X.509-SVID is withdrawn");
}

/// Lets the next regular attempt pass.
async fn poll(ground: &Ground) {
    crate::faults::next_attempt(&ground.stage, "partner").await;
}
