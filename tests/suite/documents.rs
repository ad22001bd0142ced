//! The documents: what they show works, and what they point at is there.

use std::path::{Path, PathBuf};

use countersign::config::{Environment, load};
use countersign::world::ScratchDirectory;

use crate::stage::{JWT_BEARER, JWT_SPIFFE, Stage};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document that people read, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<_> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)).into();
    for entry in std::fs::read_dir(root().join("src/docs")).unwrap() {
        paths.push(entry.unwrap().path());
    }
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The fenced blocks of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

#[test]
fn configurations_in_documents_are_taken_without_a_remark() {
    let mut seen = Vec::new();
    for (path, text) in documents() {
        for block in blocks(&text, "yaml").into_iter().filter(|block| block.starts_with("issuer:")) {
            let scratch = ScratchDirectory::new().unwrap();
            let file = scratch.path().join("countersign.yaml");
            std::fs::write(&file, format!("{block}\n")).unwrap();
            let loaded = load(&file, &Environment::default());
            let loaded = loaded.unwrap_or_else(|report| panic!("{}:\n{}", path.display(), report.render(false)));
            assert!(loaded.lints.findings().is_empty(), "{}:\n{}", path.display(), loaded.lints.render(false));
            seen.push(path.file_name().unwrap().to_owned());
        }
    }
    for expected in ["README.md", "configuration.md"] {
        assert!(seen.iter().any(|name| name == expected), "{expected} shows no configuration");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_of_the_readme_gets_a_token() {
    let stage = Stage::standard().await;
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let requests: Vec<_> = blocks(&readme, "sh").into_iter().filter(|block| block.contains("/token")).collect();
    assert!(!requests.is_empty(), "the README shows no request");
    for request in requests {
        let words: Vec<_> = request.split_whitespace().collect();
        let given: Vec<_> = words.windows(2).filter(|pair| pair[0] == "-d").map(|pair| pair[1]).collect();
        let mut parameters: Vec<_> = given.iter().map(|pair| pair.split_once('=').unwrap()).collect();
        let kind = parameters.iter().find(|(name, _)| *name == "client_assertion_type").unwrap().1;
        let credential = match kind {
            JWT_SPIFFE => stage.svid(),
            JWT_BEARER => stage.pod_token("eu1"),
            other => panic!("the README shows the assertion type {other}"),
        };
        assert!(request.contains("--data-urlencode client_assertion@"), "the credential comes from a file: {request}");
        parameters.push(("client_assertion", &credential));
        let answer = stage.form(&parameters, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[test]
fn what_documents_point_at_is_there() {
    let mut broken = Vec::new();
    for (path, text) in documents() {
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let here = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
        for link in here.map(|link| link.split('#').next().unwrap()) {
            if !path.parent().unwrap().join(link).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
