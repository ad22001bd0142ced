//! What the handshake asks for, and what becomes of a connection that stays open.

use countersign::clock::Lifetime;
use countersign::world::spiffe_agent::Answer as AgentAnswer;
use rustls::version::{TLS12, TLS13};

use super::client::{Connection, Identity};
use super::ground::{Ground, LIFE, alone, ask};
use crate::stage::{API, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn sca_11_a_web_certificate_is_served_and_svids_are_asked_for_in_both_versions_of_tls() {
    let ground = Ground::new().await;
    for version in [&TLS12, &TLS13] {
        let open = Connection::open(&ground.issuer, ground.roots(), Some(ground.good()), version).await;
        let mut connection = open.unwrap();
        let answer = ask(&mut connection, API).await;
        assert_eq!(answer.claims()["sub"], API);
        assert_eq!(answer.claims()["kind"], "x509_svid");
        assert!(answer.claims().get("cnf").is_none(), "a certificate binds where resource or rule say so");
        // Nobody needs one.
        let mut open = Connection::open(&ground.issuer, ground.roots(), None, version).await.unwrap();
        let answer = ask(&mut open, API).await;
        assert_eq!(ground.reason(&answer).await, "credential_missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_its_key_ends_the_handshake() {
    let ground = Ground::new().await;
    let (good, other) = (ground.good(), ground.good());
    for version in [&TLS12, &TLS13] {
        let stolen = Identity { chain: good.chain.clone(), key: other.key.clone_key() };
        // rustls compares the two before it speaks, so the client is built by hand.
        let opened = super::client::open_unchecked(&ground.issuer, ground.roots(), stolen, version).await;
        assert!(opened.is_err());
    }
    ground.good_is_granted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_a_chain_of_ten_is_taken_and_one_of_eleven_ends_the_handshake() {
    let ground = Ground::new().await;
    let chain = |length: usize| {
        let good = ground.good();
        let filler = ground.servers.der();
        let chain = good.chain.iter().chain(std::iter::repeat_n(filler, length - 1)).cloned().collect();
        Identity { chain, key: good.key }
    };
    assert_eq!(ground.ask(chain(10), API).await.status, 200);
    let opened = Connection::open(&ground.issuer, ground.roots(), Some(chain(11)), &TLS13).await;
    assert!(opened.is_err());
    ground.good_is_granted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_expires_on_an_open_connection_is_refused_at_the_next_request() {
    let ground = Ground::new().await;
    let mut connection = ground.connect(Some(ground.good())).await;
    assert_eq!(ask(&mut connection, API).await.status, 200);
    ground.stage.advance(Lifetime::from_minutes(59)).await;
    assert_eq!(ask(&mut connection, API).await.status, 200, "a minute before its end");
    ground.stage.advance(Lifetime::from_seconds(61)).await;
    let answer = ask(&mut connection, API).await;
    assert_eq!(ground.reason(&answer).await, "token_expired");
    ground.good_is_granted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_leaves_the_bundle_is_refused_on_open_connections() {
    let ground = Ground::new().await;
    let mut connection = ground.connect(Some(ground.good())).await;
    ground.prod().rotate_x509().unwrap();
    ground.authorities("prod", 2).await;
    assert_eq!(ask(&mut connection, API).await.status, 200, "both authorities are in the bundle");
    ground.prod().withdraw_old_x509();
    ground.authorities("prod", 1).await;
    let answer = ask(&mut connection, API).await;
    assert_eq!(ground.reason(&answer).await, "signature_invalid");
    ground.good_is_granted().await;
    // And all of them: everything by the trust domain is withdrawn (BUN-02).
    let mut connection = ground.connect(Some(ground.good())).await;
    ground.prod().publish_empty(true);
    ground.authorities("prod", 0).await;
    let answer = ask(&mut connection, API).await;
    assert_eq!(ground.reason(&answer).await, "key_unknown");
    ground.prod().publish_empty(false);
    ground.authorities("prod", 1).await;
    assert_eq!(ask(&mut connection, API).await.status, 200, "on the same connection again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_gone_takes_no_authorities_away_and_one_that_says_no_does_in_time() {
    let ground =
        Ground::with(|text| text.replacen("  - name: prod\n", "  - name: prod\n    max_stale: 10m\n", 1)).await;
    let mut connection = ground.connect(Some(alone(&ground.prod().x509_svid(API, LIFE).unwrap()))).await;
    let trouble = || ground.stage.app.trust().status().iter().any(|source| source.authorities_error.is_some());
    ground.stage.world.agent().stop().await;
    eventually("the stream's end is noticed", trouble).await;
    ground.stage.advance(Lifetime::from_minutes(9)).await;
    assert_eq!(ask(&mut connection, API).await.status, 200, "last good authorities serve");
    ground.stage.advance(Lifetime::from_minutes(2)).await;
    let answer = ask(&mut connection, API).await;
    assert_eq!((answer.status, ground.stage.reason(&answer).await.as_str()), (503, "keys_stale"));
    ground.stage.world.agent().start_again().await.unwrap();
    for _ in 0..20 {
        ground.stage.advance(Lifetime::from_seconds(10)).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if !trouble() {
            break;
        }
    }
    assert_eq!(ask(&mut connection, API).await.status, 200, "the agent is back");

    ground.stage.world.agent().answer(AgentAnswer::PermissionDenied);
    eventually("the refusal is noticed", trouble).await;
    assert_eq!(ask(&mut connection, API).await.status, 200, "an agent can forget a registration for a moment");
    ground.stage.advance(Lifetime::from_seconds(61)).await;
    let answer = ask(&mut connection, API).await;
    assert_eq!(ground.reason(&answer).await, "key_unknown", "WAP-09");
}
