//! `countersign feed` as a process in the cluster, with the kubelet's part played by the test.

use std::process::{Child, Command, Stdio};

use countersign::clock::Lifetime;
use countersign::world::keys::Algorithm;

use super::Ground;
use crate::evidence;
use crate::stage::eventually;

/// A running feeder, ended when dropped.
struct Feeder(Child);

impl Drop for Feeder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Its files as the kubelet mounts them, and how it is started.
fn command(ground: &Ground, issuer: &str) -> Command {
    let files = ground.first.path();
    std::fs::write(files.join("ca.crt"), ground.edge().ca_pem()).unwrap();
    std::fs::write(files.join("api-token"), ground.edge().admin_token().expose()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .args(["feed", "--issuer", issuer, "--source", "edge-2", "--token", "token", "--every", "1s"])
        .args(["--api-server", ground.edge().url(), "--api-ca", "ca.crt", "--api-token", "api-token"])
        .current_dir(files)
        .env_clear()
        .stdin(Stdio::null());
    command
}

/// The kubelet brings another token: later than the one before, and the whole file at once.
async fn renew(ground: &Ground) {
    ground.stage.advance(Lifetime::from_seconds(2)).await;
    let token = ground.feeder();
    evidence::secret(&token);
    let (file, beside) = (ground.first.path().join("token"), ground.first.path().join("token.new"));
    std::fs::write(&beside, token).unwrap();
    std::fs::rename(beside, file).unwrap();
}

/// The times at which pushes were taken, as far as they can be told apart.
fn key_ids(ground: &Ground) -> Vec<String> {
    ground.status().last_push.map(|last| last.key_ids).unwrap_or_default()
}

fn pushes(ground: &Ground) -> usize {
    let lines = ground.stage.records.lines();
    lines.iter().filter(|line| line["grant_type"] == "push" && line["outcome"] == "allow").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_21_the_feeder_survives_a_rotation_of_the_clusters_keys_with_nobodys_help() {
    let ground = Ground::new().await;
    let old = ground.edge().active_key();
    renew(&ground).await;
    let log = std::fs::File::create(ground.first.path().join("log")).unwrap();
    let _feeder = Feeder(command(&ground, &ground.stage.issuer).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    eventually("the first push", || pushes(&ground) == 1).await;
    // A known set is confirmed by a token that was replaced, and the newest is kept back.
    renew(&ground).await;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(pushes(&ground), 1, "the last token is not spent without need");
    renew(&ground).await;
    eventually("the confirmation", || pushes(&ground) == 2).await;
    // eu1 has the same issuer, and is asked whether a new key is its own.
    ground.stage.advance(Lifetime::from_seconds(31)).await;
    // The cluster publishes a new key and signs by it at once: the token that was kept back is of the old key.
    let new = ground.edge().rotate(Algorithm::ES256).unwrap();
    eventually("the new key is known", || key_ids(&ground) == [old.kid(), new.kid()]).await;
    assert_eq!(ground.pod().await, "granted");
    // Tokens of the new key confirm, and then the old key goes.
    renew(&ground).await;
    renew_after_look(&ground).await;
    eventually("a token of the new key confirms", || pushes(&ground) == 4).await;
    ground.edge().withdraw(old.kid()).unwrap();
    eventually("the old key is gone", || key_ids(&ground) == [new.kid()]).await;
    assert_eq!(ground.pod().await, "granted");
    let refused = ground.stage.records.lines();
    let refused: Vec<_> =
        refused.iter().filter(|line| line["grant_type"] == "push" && line["outcome"] != "allow").collect();
    assert!(refused.is_empty(), "{refused:?}");
    let log = std::fs::read_to_string(ground.first.path().join("log")).unwrap();
    evidence::keep("processes.txt", &log);
    assert!(log.contains("the keys were pushed"), "{log}");
}

/// As [`renew`], once the feeder has seen the token before.
async fn renew_after_look(ground: &Ground) {
    let asked = ground.edge().requests(countersign::world::cluster::JWKS_PATH);
    eventually("the feeder looked twice", || {
        ground.edge().requests(countersign::world::cluster::JWKS_PATH) >= asked + 2
    })
    .await;
    renew(ground).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_push_tells_by_its_exit_code_what_came_of_it() {
    let ground = Ground::new().await;
    let run = async |issuer: String| {
        let mut command = command(&ground, &issuer);
        command.arg("--once");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        evidence::keep("processes.txt", &said);
        (output.status.code().unwrap(), said)
    };
    let issuer = || ground.stage.issuer.clone();
    let (code, said) = run(issuer()).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("the token file token cannot be read"), "{said}");
    renew(&ground).await;
    let (code, said) = run("http://127.0.0.1:1".to_owned()).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("Connection refused"), "the cause, not that there was one: {said}");
    let (code, said) = run("http://id.example".to_owned()).await;
    assert_eq!(code, 2, "a token goes nowhere in the clear: {said}");
    assert!(said.contains("https"), "{said}");
    let (code, said) = run(issuer()).await;
    assert_eq!((code, ground.status().last_push.is_some()), (0, true), "{said}");
    let (code, said) = run(issuer()).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("answers 401") && said.contains("has pushed keys before"), "{said}");
    assert!(said.contains("with the next token"), "{said}");
    ground.edge().stop().await;
    let (code, said) = run(issuer()).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("the cluster's keys: GET https://"), "{said}");
}
