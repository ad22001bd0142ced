//! The files of `deploy/`: each is read, they fit each other, and they fit the product.

mod ci;
mod client;
mod image;
mod kubernetes;
mod metrics;
mod readme;
mod spire;
mod systemd;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use countersign::config::{Configuration, Environment, load};
use countersign::world::ScratchDirectory;
use serde_json::Value;

/// The project's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of `deploy/`.
fn text(name: &str) -> String {
    let path = root().join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every document of a YAML file of `deploy/`.
fn documents(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The one document of that kind.
fn object(name: &str, kind: &str) -> Value {
    let mut found: Vec<_> = documents(name).into_iter().filter(|document| document["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{name} has one {kind}");
    found.remove(0)
}

/// The configuration that `service.yaml` brings, as text and as the product reads it.
fn service_configuration() -> (String, Configuration) {
    let map = object("kubernetes/service.yaml", "ConfigMap");
    let text = map["data"]["countersign.yaml"].as_str().unwrap().to_owned();
    let configuration = taken(&text);
    (text, configuration)
}

/// What the product makes of a configuration. That files of keys are not here is the only remark it may have.
fn taken(text: &str) -> Configuration {
    let scratch = ScratchDirectory::new().unwrap();
    let file = scratch.path().join("countersign.yaml");
    std::fs::write(&file, text).unwrap();
    let loaded = load(&file, &Environment::default()).unwrap_or_else(|report| panic!("{}", report.render(false)));
    for finding in loaded.lints.findings() {
        let of_a_file = [".file", ".first", ".ca", ".token", ".certificate", ".key", ".files"];
        assert!(of_a_file.iter().any(|end| finding.path.ends_with(end)), "{}", loaded.lints.render(false));
    }
    loaded.configuration
}

/// Runs the binary until it ends.
fn countersign(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Lines of a shell block: a backslash at the end joins two.
fn commands(block: &str) -> Vec<Vec<String>> {
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|words| !words.is_empty()).collect()
}

/// Every file below a folder, relative to it.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(found.insert(path.strip_prefix(folder).unwrap().to_owned())),
            }
        }
    }
    found
}

#[test]
fn every_file_that_is_data_is_read_whole() {
    for path in files(&root().join("deploy")) {
        let name = path.to_str().unwrap();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml") => assert!(documents(name).iter().all(Value::is_object), "{name}"),
            Some("json") => assert!(serde_json::from_str::<Value>(&text(name)).unwrap().is_object(), "{name}"),
            _ => assert!(!text(name).is_empty(), "{name}"),
        }
    }
}

#[test]
fn the_configuration_of_the_service_passes_check_with_its_tests() {
    let scratch = ScratchDirectory::new().unwrap();
    let (text, configuration) = service_configuration();
    assert!(configuration.tests.len() > 2, "it shows tests of both kinds");
    std::fs::write(scratch.path().join("countersign.yaml"), text).unwrap();
    let checked = countersign(scratch.path(), &["check", "countersign.yaml"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
