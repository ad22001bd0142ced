//! What a thousand open streams cost, and that a change reaches them all.

use std::time::Duration;

use countersign::clock::{Clock, Lifetime, SystemClock};
use countersign::issue::NewKey;
use countersign::world::keys::Algorithm;
use futures_util::future::join_all;

use super::watch::Open;
use super::{Call, Client};
use crate::evidence;
use crate::faults::served::Town;
use crate::stage::part;

const STREAMS: usize = 1_000;

/// Fewer than the streams that a connection may have.
const ON_A_CONNECTION: usize = 25;

/// Resident memory of one stream at most, in KiB.
const MOST: u64 = 32;

async fn open(clients: &[Client], call: &Call) -> Vec<Open> {
    let mut streams = Vec::new();
    for client in clients {
        let opened = (0..ON_A_CONNECTION).map(|_| async {
            let mut open = Open::new(client, call).await;
            open.token().await;
            open
        });
        streams.extend(join_all(opened).await);
    }
    streams
}

/// Everybody's next token has it.
async fn reaches_all(streams: &mut [Open], what: &str, has: impl Fn(&str, &[String]) -> bool) {
    let one = async |open: &mut Open| {
        for _ in 0..3 {
            let token = open.token().await;
            if has(&token.access_token, &token.scopes) {
                return true;
            }
        }
        false
    };
    let reached = join_all(streams.iter_mut().map(one)).await;
    let missed = reached.iter().filter(|reached| !**reached).count();
    assert_eq!(missed, 0, "{what} did not reach {missed} streams");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streams_are_small_and_changes_reach_all_of_them() {
    let town = Town::new().await;
    let process = town.serve("a").await;
    let call = Call::pod(&town.pod_token("eu1"));
    let clients: Vec<Client> = (0..STREAMS / ON_A_CONNECTION).map(|_| Client::of(&town.issuer)).collect();
    // What the first requests cost once is not the streams': code, and the threads' own memory.
    drop(open(&clients[..4], &call).await);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = process.resident();
    let mut streams = open(&clients, &call).await;
    assert_eq!(streams.len(), STREAMS);
    let each = process.resident().saturating_sub(before) / STREAMS as u64;
    evidence::keep("grpc.txt", &format!("{each} KiB resident for each of {STREAMS} streams"));
    assert!(each <= MOST, "{each} KiB for each stream");

    let config = town.directory.path().join("a.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("group: fleet, namespace: shop, service_account: api }\n    to: { resource: orders, scopes: [read, write] }", "group: fleet, namespace: shop, service_account: api }\n    to: { resource: orders, scopes: [read] }")).unwrap();
    reaches_all(&mut streams, "the policy", |_, scopes| scopes == ["read"]).await;

    let key = NewKey::make(Algorithm::ES256, Lifetime::ZERO, SystemClock.now()).unwrap();
    key.write(&town.directory.path().join("keys").join(&key.name)).unwrap();
    let kid = key.key_id.to_string();
    reaches_all(&mut streams, "the key", |token, _| part(token, 0)["kid"] == kid.as_str()).await;
    let after = process.resident().saturating_sub(before) / STREAMS as u64;
    evidence::keep("grpc.txt", &format!("{after} KiB resident for each after both changes"));
    assert!(after <= MOST, "{after} KiB for each stream after both changes");
}
