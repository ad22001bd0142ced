//! The case this product exists for: the pod of `client.yaml` gets a token, by the configuration of `service.yaml`.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{object, service_configuration};
use crate::evidence;
use crate::stage::{Answer, Stage};

fn pod() -> Value {
    object("kubernetes/client.yaml", "Pod")
}

fn identity(pod: &Value) -> &Value {
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "identity").unwrap();
    &volume["projected"]["sources"][0]["serviceAccountToken"]
}

fn variable<'a>(pod: &'a Value, name: &str) -> &'a str {
    let variables = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    variables.iter().find(|variable| variable["name"] == name).unwrap()["value"].as_str().unwrap()
}

#[test]
fn the_token_of_the_pod_is_for_the_issuer_of_the_service() {
    let (pod, (_, configuration)) = (pod(), service_configuration());
    let issuer = configuration.issuer.as_str();
    let token = identity(&pod);
    assert_eq!(token["audience"], issuer, "byte for byte");
    assert_eq!(variable(&pod, "TOKEN_ENDPOINT"), format!("{issuer}/token"));
    let longest = configuration.sources.iter().map(|source| source.max_life.seconds()).min().unwrap();
    assert!((600..=longest).contains(&token["expirationSeconds"].as_i64().unwrap()), "{token}");
    let resource = variable(&pod, "RESOURCE");
    assert!(configuration.resources.iter().any(|known| known.audience.as_str() == resource), "{resource}");
}

#[test]
fn the_account_of_the_pod_is_one_that_a_test_of_the_service_allows() {
    let (text, _) = service_configuration();
    let configuration: Value = serde_saphyr::from_str(&text).unwrap();
    let pod = pod();
    let account = object("kubernetes/client.yaml", "ServiceAccount");
    assert_eq!(pod["spec"]["serviceAccountName"], account["metadata"]["name"]);
    for namespaced in [&pod, &account] {
        let namespace = object("kubernetes/client.yaml", "Namespace");
        assert_eq!(namespaced["metadata"]["namespace"], namespace["metadata"]["name"]);
    }
    let allowed = configuration["tests"].as_array().unwrap().iter().any(|test| {
        test["as"]["namespace"] == pod["metadata"]["namespace"]
            && test["as"]["service_account"] == account["metadata"]["name"]
            && test["expect"] == "allow"
    });
    assert!(allowed, "{}", configuration["tests"]);
}

/// Runs the loop of the pod once: its `sleep` says how long it would have slept, and ends it.
async fn turn(stage: &Stage, token: String) -> Output {
    let pod = pod();
    let container = &pod["spec"]["containers"][0];
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mount = |name: &str| mounts.iter().find(|mount| mount["name"] == name).unwrap()["mountPath"].as_str().unwrap();
    let (identity_folder, work) = (stage.directory.path().join("identity"), stage.directory.path().join("work"));
    for folder in [&identity_folder, &work] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let token_file = identity(&pod)["path"].as_str().unwrap();
    evidence::secret(&token);
    std::fs::write(identity_folder.join(token_file), token).unwrap();
    let script = container["command"][2].as_str().unwrap();
    assert!(script.contains(&format!("@{}/{token_file}", mount("identity"))), "{script}");
    assert!(script.starts_with(&format!("cd {}\n", mount("tmp"))), "{script}");
    let script = script
        .replace(mount("identity"), identity_folder.to_str().unwrap())
        .replace(&format!("cd {}\n", mount("tmp")), &format!("cd {}\n", work.display()));
    let shell = container["command"][0].as_str().unwrap().to_owned();
    let (endpoint, api) = (format!("{}/token", stage.issuer), format!("http://{}/healthz", stage.app.admin_address()));
    let resource = variable(&pod, "RESOURCE").to_owned();
    let run = move || {
        Command::new(shell)
            .args(["-c", &format!("sleep() {{ echo \"sleep $1\"; exit 0; }}\n{script}")])
            .env("TOKEN_ENDPOINT", endpoint)
            .env("RESOURCE", resource)
            .env("API", api)
            .env("no_proxy", "*")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let ended = tokio::task::spawn_blocking(run).await.unwrap();
    if let Ok(answer) = std::fs::read_to_string(work.join("answer"))
        && let Some(token) = serde_json::from_str::<Value>(&answer).unwrap()["access_token"].as_str()
    {
        evidence::secret(token);
        let header = std::fs::read_to_string(work.join("header")).unwrap();
        assert!(header.trim_end() == format!("Authorization: Bearer {token}"), "another header than the token's");
    }
    for written in [&ended.stdout, &ended.stderr] {
        evidence::keep("processes.txt", &String::from_utf8_lossy(written));
    }
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_of_the_pod_gets_a_token_and_calls_the_api() {
    let stage = Stage::standard().await;
    let ended = turn(&stage, stage.pod_token("eu1")).await;
    assert_eq!(
        String::from_utf8(ended.stdout).unwrap(),
        "200\nsleep 240\n",
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_of_the_pod_shows_why_it_is_refused() {
    let stage = Stage::standard().await;
    let ask = countersign::world::cluster::TokenAsk::new("shop", "api", "https://id.example/");
    let ended = turn(&stage, stage.cluster("eu1").mint(&ask).unwrap()).await;
    let said = String::from_utf8(ended.stdout).unwrap();
    let (answer, rest) = said.split_once("sleep").unwrap();
    let body: Value = serde_json::from_str(answer).unwrap();
    assert_eq!((body["error"].as_str().unwrap(), rest), ("invalid_client", " 10\n"));
    let answer = Answer { status: 400, headers: Default::default(), text: answer.to_owned(), body };
    assert_eq!(stage.reason(&answer).await, "audience_mismatch");
}
