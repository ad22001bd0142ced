//! X.509-SVIDs of a trust domain that is gone: out of the agent's messages, or out of the configuration.

use super::client::{Connection, Identity};
use super::ground::{Ground, LIFE, PARTNER, alone, ask};

fn theirs(ground: &Ground) -> Identity {
    alone(&ground.partner.x509_svid(PARTNER, LIFE).unwrap())
}

/// A connection of the partner's workload, which is granted on it.
async fn granted(ground: &Ground) -> Connection {
    let mut connection = ground.connect(Some(theirs(ground))).await;
    let answer = ask(&mut connection, PARTNER).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_06_a_trust_domain_that_is_missing_in_a_message_has_no_authorities() {
    let ground = Ground::new().await;
    let mut connection = granted(&ground).await;
    ground.stage.world.agent().unfederate("partner.example");
    ground.authorities("partner", 0).await;
    for answer in [ask(&mut connection, PARTNER).await, ground.ask(theirs(&ground), PARTNER).await] {
        assert_eq!(ground.reason(&answer).await, "key_unknown");
    }
    ground.good_is_granted().await;
    ground.stage.world.agent().federate(&ground.partner);
    ground.authorities("partner", 1).await;
    assert_eq!(ask(&mut connection, PARTNER).await.status, 200, "on the same connection again");
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_08_a_trust_domain_that_is_removed_is_refused_at_once_on_open_connections() {
    let ground = Ground::new().await;
    let mut connection = granted(&ground).await;
    let with = std::fs::read_to_string(ground.stage.directory.path().join("countersign.yaml")).unwrap();
    let without = without(&without(&with, "  - name: partner", 2), "  - name: the partner may use orders", 3);
    assert!(!without.contains("partner"), "{without}");
    ground.stage.reconfigure(&without).await;
    for answer in [ask(&mut connection, PARTNER).await, ground.ask(theirs(&ground), PARTNER).await] {
        assert_eq!(ground.reason(&answer).await, "source_unknown");
    }
    ground.good_is_granted().await;
    ground.stage.reconfigure(&with).await;
    ground.authorities("partner", 1).await;
    assert_eq!(ask(&mut connection, PARTNER).await.status, 200, "the neighbour: it is back");
}

/// The text without so many lines from `first` on.
fn without(text: &str, first: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| *line == first).unwrap();
    [&lines[..at], &lines[at + count..]].concat().join("\n") + "\n"
}
