//! What a push did and what its record says are one, whatever becomes of its sender or of the record.

use std::time::Duration;

use countersign::clock::Lifetime;
use countersign::world::Behaviour;
use countersign::world::cluster::JWKS_PATH;
use countersign::world::keys::Algorithm;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Ground;
use crate::evidence;
use crate::stage::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_has_arrived_runs_to_its_end_without_its_sender() {
    let ground = Ground::new().await;
    ground.stage.advance(Lifetime::from_seconds(40)).await;
    let (eu1, token) = (ground.stage.cluster("eu1"), ground.feeder());
    evidence::secret(&token);
    ground.edge().rotate(Algorithm::ES256).unwrap();
    // The key is new: eu1 is asked first, and takes its time.
    eu1.behave(JWKS_PATH, Behaviour::Slow(Lifetime::from_millis(500)));
    let asked = eu1.requests(JWKS_PATH);
    let (address, jwks) = (ground.stage.issuer.trim_start_matches("http://"), ground.jwks());
    let request = format!(
        "PUT /sources/edge-2/keys HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/jwk-set+json\r\ncontent-length: {}\r\n\r\n{jwks}",
        jwks.len()
    );
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    eventually("eu1 is asked", || eu1.requests(JWKS_PATH) > asked).await;
    drop(connection);
    // The server notices; nothing else says so.
    tokio::time::sleep(Duration::from_millis(200)).await;
    ground.stage.advance(Lifetime::from_millis(600)).await;
    let find = || ground.stage.records.lines().into_iter().find(|line| line["grant_type"] == "push");
    eventually("the push is recorded", || find().is_some()).await;
    let record = find().unwrap();
    assert_eq!((&record["outcome"], ground.status().keys), (&"allow".into(), 2), "{record}");
    assert_eq!(record["push"]["keys"].as_array().unwrap().len(), 2, "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_01_no_record_no_keys() {
    let required = |server: &str| {
        server.replace(
            "state: { directory: ./state }",
            "state: { directory: ./state, decisions: 1MiB }\naudit: { required: true }",
        )
    };
    let ground = Ground::with_server(required).await;
    ground.pushed(&ground.feeder()).await;
    let kept = ground.stage.written().into_iter().filter(|line| line["grant_type"] == "push").count();
    assert_eq!(kept, 1, "one push, one record");
    // The disk takes no more grants, once the file that is open is full.
    std::fs::remove_dir_all(ground.stage.directory.path().join("state/decisions")).unwrap();
    while ground.stage.exchange_svid(&ground.stage.svid()).await.status == 200 {}
    let before = ground.status();
    ground.stage.advance(Lifetime::from_seconds(1)).await;
    let token = ground.feeder();
    let refused = ground.push(&token, &ground.jwks()).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    // The one that could not be kept comes first, where it comes at all; the last one counts.
    let mut records = ground.stage.written().into_iter().filter(|line| line["ref"] == refused.body["error_ref"]);
    let record = records.next_back().unwrap();
    assert_eq!((&record["outcome"], &record["reason"]), (&"deny".into(), &"audit_unavailable".into()), "{record}");
    assert_eq!(record["push"]["keys"], Value::Null, "{record}");
    assert_eq!(ground.status().last_push, before.last_push, "the keys are what they were");
}
