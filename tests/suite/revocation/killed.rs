//! What was acknowledged is there after a kill, and a store that cannot be read stops the service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::operator;
use crate::faults::served::{Process, Town};
use crate::stage::{API, client_builder, free_address};

/// Revokes one identity after another until the process is gone. Those that were acknowledged.
async fn revoke_until_killed(
    socket: std::path::PathBuf,
    prefix: String,
    over: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
) -> Vec<String> {
    let client = client_builder().unix_socket(socket).build().unwrap();
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let name = format!("spiffe://prod.example/{prefix}/{number}");
        let body = json!({ "kind": "identity", "name": name }).to_string();
        let request = client.post("http://operator/revocations").header("content-type", "application/json").body(body);
        match request.send().await {
            Ok(answer) if answer.status() == 200 => {
                acknowledged.push(name);
                count.fetch_add(1, Ordering::SeqCst);
            }
            Ok(answer) => panic!("{}", answer.status()),
            Err(_) if over.load(Ordering::SeqCst) => break,
            Err(error) => panic!("{error}"),
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_09_kill_9_loses_nothing_that_was_acknowledged() {
    let town = Town::new().await;
    let state = town.directory.path().join("state-one");
    let mut one = town.serve("one").await;
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..4_usize {
        let over = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (socket, over, count) = (state.join("operator.sock"), Arc::clone(&over), Arc::clone(&count));
                tokio::spawn(revoke_until_killed(socket, format!("{round}/{writer}"), over, count))
            })
            .collect();
        // Killed in the middle of writing, each time at another point.
        let enough = async {
            while count.load(Ordering::SeqCst) < 6 + 5 * round {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), enough).await.expect("revocations are acknowledged");
        over.store(true, Ordering::SeqCst);
        one.signal("KILL");
        one.ended(5).await;
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        one.start();
        one.ready().await;
        let list = operator(&state, None).await;
        let listed: std::collections::BTreeSet<&str> =
            list.body["revocations"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        let lost: Vec<_> = acknowledged.iter().filter(|name| !listed.contains(name.as_str())).collect();
        assert!(lost.is_empty(), "round {round}: {} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    }
    assert!(acknowledged.len() > 20, "{} were acknowledged", acknowledged.len());
    // The one that counts: revoked, killed at once, refused afterwards.
    assert_eq!(town.exchange_svid(&one, &town.svid()).await.unwrap().status, 200);
    assert_eq!(operator(&state, Some(&json!({ "kind": "identity", "name": API }))).await.status, 200);
    one.signal("KILL");
    one.ended(5).await;
    one.start();
    one.ready().await;
    let refused = town.exchange_svid(&one, &town.svid()).await.unwrap();
    assert_eq!((refused.status, refused.error()), (400, "invalid_client"), "{}", refused.text);
    assert_eq!(town.exchange_pod(&one, &town.pod_token("eu1")).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_09_nothing_is_served_over_a_store_that_cannot_be_read() {
    let town = Town::new().await;
    let mut one = town.serve("one").await;
    // A second process on the same state folder: two would not know of each other's revocations.
    let elsewhere = free_address().to_string();
    let config = town.config("two", &elsewhere, &free_address().to_string());
    let text = std::fs::read_to_string(&config).unwrap().replace("./state-two", "./state-one");
    std::fs::write(&config, text).unwrap();
    let mut two = Process::new("two", config, &elsewhere, "");
    two.start();
    assert!(!two.ended(20).await.success());
    assert!(two.errors().contains("store.redb is in use by another process"), "{}", two.errors());

    one.signal("TERM");
    assert!(one.ended(20).await.success());
    let file = town.directory.path().join("state-one/store.redb");
    let good = std::fs::read(&file).unwrap();
    for damaged in [vec![], good[..good.len() / 2].to_vec(), vec![7; 8192]] {
        std::fs::write(&file, &damaged).unwrap();
        one.start();
        assert!(!one.ended(20).await.success());
        for part in ["store.redb is damaged", "Put a good copy back"] {
            assert!(one.errors().contains(part), "{}", one.errors());
        }
        assert_eq!(std::fs::read(&file).unwrap(), damaged, "it is left as it is");
    }
    std::fs::write(&file, good).unwrap();
    one.start();
    one.ready().await;
    town.grants(&one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_revokes_lists_and_lifts() {
    let town = Town::new().await;
    let _one = town.serve("one").await;
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"));
        let output = command.args(arguments).args(["--state", "state-one"]).current_dir(town.directory.path()).output();
        let output = output.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = run(&["revoke", "identity", API, "--for", "2h", "--reason", "leaked in a log"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with(&format!("identity {API}  revoked until ")) && out.contains("leaked in a log"), "{out}");
    let (code, out, _) = run(&["revoke", "--list", "-o", "json"]);
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &list["revocations"][0]["name"], &list["tokens"]), (Some(0), &json!(API), &json!(0)));
    let (_, out, _) = run(&["status"]);
    assert!(out.contains("identities 1, sources 0, keys 0, tokens 0"), "{out}");
    let (code, out, _) = run(&["revoke", "identity", API, "--lift"]);
    assert!(code == Some(0) && out.contains("lifted"), "{out}");
    let (code, _, err) = run(&["revoke", "source", "prod", "--lift"]);
    assert!(code == Some(1) && err.contains("is not revoked"), "{err}");
    for usage in [&["revoke"][..], &["revoke", "identity"], &["revoke", "--list", "--lift"], &["revoke", "rule", "x"]] {
        assert_eq!(run(usage).0, Some(2), "{usage:?}");
    }
}
