//! `deploy/spire`: the entries are for us and for a client that the rules of the service know. `tests/real/spire` has a real SPIRE.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use countersign::identity::SpiffeId;
use countersign::world::ScratchDirectory;
use serde_json::Value;

use super::{documents, object, root, service_configuration};

const AGENT: &str = "spiffe://prod.example/spire/agent/node-1";

/// Runs `entries.sh` with a `spire-server` that writes its arguments down.
fn entries() -> Vec<Vec<String>> {
    let scratch = ScratchDirectory::new().unwrap();
    let written = scratch.path().join("written");
    let pretend = scratch.path().join("spire-server");
    std::fs::write(&pretend, format!("#!/bin/sh\necho \"$@\" >>'{}'\n", written.display())).unwrap();
    std::fs::set_permissions(&pretend, std::fs::Permissions::from_mode(0o700)).unwrap();
    let done = Command::new(root().join("deploy/spire/entries.sh"))
        .args([AGENT, "-socketPath", "/run/spire/server.sock"])
        .env("PATH", format!("{}:/usr/bin:/bin", scratch.path().display()))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = std::fs::read_to_string(written).unwrap();
    text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

fn after<'a>(words: &'a [String], option: &str) -> &'a str {
    let at = words.iter().position(|word| word == option).unwrap_or_else(|| panic!("{option} in {words:?}"));
    &words[at + 1]
}

/// Callers that the configuration's tests allow, as SPIFFE IDs.
fn allowed() -> Vec<String> {
    let (text, _) = service_configuration();
    let configuration: Value = serde_saphyr::from_str(&text).unwrap();
    let tests = configuration["tests"].as_array().unwrap().iter().filter(|test| test["expect"] == "allow");
    tests.filter_map(|test| test["as"].as_str()).map(str::to_owned).collect()
}

#[test]
fn entries_on_machines_are_for_us_and_for_a_client_that_the_rules_know() {
    let entries = entries();
    let [ours, client] = entries.as_slice() else { panic!("two entries: {entries:?}") };
    for entry in [ours, client] {
        assert_eq!(entry[..2], ["entry", "create"]);
        assert_eq!((after(entry, "-parentID"), after(entry, "-socketPath")), (AGENT, "/run/spire/server.sock"));
        SpiffeId::parse(after(entry, "-spiffeID")).unwrap();
    }
    assert!(after(ours, "-spiffeID").ends_with("/countersign"));
    assert!(allowed().contains(&after(client, "-spiffeID").to_owned()), "{client:?}");
}

#[test]
fn entries_in_a_cluster_are_for_us_and_for_a_client_that_the_rules_know() {
    let entries = documents("spire/cluster-spiffe-ids.yaml");
    let [ours, client] = entries.as_slice() else { panic!("two entries: {entries:?}") };
    let (deployment, pod) = (object("kubernetes/service.yaml", "Deployment"), object("kubernetes/client.yaml", "Pod"));
    let template = &deployment["spec"]["template"];
    let id = |entry: &Value, namespace: &Value, account: &Value| {
        assert_eq!(
            (entry["apiVersion"].as_str(), entry["kind"].as_str()),
            (Some("spire.spiffe.io/v1alpha1"), Some("ClusterSPIFFEID"))
        );
        let labels = &entry["spec"]["namespaceSelector"]["matchLabels"];
        assert_eq!(labels["kubernetes.io/metadata.name"], *namespace);
        let id = entry["spec"]["spiffeIDTemplate"].as_str().unwrap();
        let id = id.replace("{{ .TrustDomain }}", "prod.example");
        let id = id.replace("{{ .PodMeta.Namespace }}", namespace.as_str().unwrap());
        let id = id.replace("{{ .PodSpec.ServiceAccountName }}", account.as_str().unwrap());
        SpiffeId::parse(&id).unwrap();
        id
    };
    id(ours, &deployment["metadata"]["namespace"], &template["spec"]["serviceAccountName"]);
    assert_eq!(ours["spec"]["podSelector"]["matchLabels"], template["metadata"]["labels"]);
    let client = id(client, &pod["metadata"]["namespace"], &pod["spec"]["serviceAccountName"]);
    assert!(allowed().contains(&client), "{client}");
}
