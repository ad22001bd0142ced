//! The configuration file.

use std::path::Path;

use countersign::config::{Environment, load};
use countersign::world::ScratchDirectory;

use super::{Target, fuzz};

/// A file is refused with places that are in it, or taken, and then everything that it names is there.
#[test]
fn a_configuration_is_taken_whole_or_refused_with_places() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/ci/gitlab.yaml");
    let samples = vec![SHORT.as_bytes().to_vec(), std::fs::read(sample).unwrap()];
    let target = Target {
        name: "configuration",
        samples,
        words: &[
            ": ",
            "\n",
            "\n  ",
            "\n  - ",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "'",
            "#",
            "&a ",
            "*a",
            "<<: ",
            "!!str ",
            "---\n",
            "...",
            "| ",
            "? ",
            "null",
            "true",
            "1e9",
            "5m",
            "99999999d",
            "-1",
            "\t",
            "\u{feff}",
            "\u{85}",
            "%",
            "spiffe://",
            "https://",
            "{x}",
            "*",
            "/*",
            "trust:",
            "rules:",
            "subjects:",
            "oidc:",
            "name: a",
            "everyone: true",
            "include: [\"*\"]",
        ],
        longest: 8 * 1024,
    };
    let scratch = ScratchDirectory::new().unwrap();
    let file = scratch.path().join("countersign.yaml");
    let environment = Environment::default();
    fuzz(target, |input| {
        std::fs::write(&file, input).unwrap();
        let loaded = match load(&file, &environment) {
            Ok(loaded) => loaded,
            Err(report) => {
                assert!(report.problems() > 0, "refused without a problem");
                return places(&report, input);
            }
        };
        let configuration = loaded.configuration;
        assert_eq!(loaded.lints.problems(), 0);
        assert!(!configuration.sources.is_empty());
        for rule in &configuration.rules {
            let resource = configuration.resources.iter().find(|resource| resource.name.as_str() == rule.resource);
            assert!(rule.scopes.missing_from(&resource.unwrap().scopes).next().is_none(), "a scope from nowhere");
            assert!(
                rule.from.sources.iter().all(|name| configuration.sources.iter().any(|source| source.name == *name))
            );
            assert!(!rule.from.sources.is_empty() || !rule.from.groups.is_empty(), "a rule for everybody");
        }
        for resource in &configuration.resources {
            assert_ne!(resource.audience.as_str(), configuration.issuer.as_str());
        }
        let again = load(&file, &environment).unwrap().configuration;
        assert_eq!(
            (again.hash, again.rules, again.sources),
            (configuration.hash, configuration.rules, configuration.sources)
        );
        places(&loaded.lints, input)
    });
}

/// What was found, without places and values. Every place is in the file, and a report can be shown in both forms.
fn places(report: &countersign::config::Report, input: &[u8]) -> String {
    // A carriage return alone ends a line too (YAML 1.2 §5.4).
    let lines = input.split(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
    let mut kinds: Vec<String> = report
        .findings()
        .iter()
        .map(|finding| {
            assert!(finding.line <= lines + 1, "line {} of {lines}: {}", finding.line, finding.message);
            let words: Vec<&str> = finding.message.split('"').step_by(2).collect();
            words.concat().chars().filter(char::is_ascii_alphabetic).take(24).collect()
        })
        .collect();
    let shown = report.render(false);
    assert!(report.findings().is_empty() || !shown.is_empty());
    assert!(report.to_json().to_string().len() >= 2);
    kinds.sort();
    kinds.dedup();
    kinds.truncate(3);
    kinds.join(" ")
}

const SHORT: &str = r#"issuer: https://id.example
listen: { address: "127.0.0.1:8484" }
trust:
  - name: prod
    groups: [fleet]
    spiffe: { trust_domain: prod.example, workload_api: "unix:/run/agent.sock", paths: ["/ns/{namespace}/sa/{service_account}"] }
  - name: eu1
    groups: [fleet]
    kubernetes: { issuers: [https://kubernetes.default.svc], keys: { api_server: {} } }
    max_age: 1h
  - name: ci
    identity: "spiffe://id.example/ci/{repository_id}"
    oidc: { issuers: [https://ci.example], keys: { url: https://ci.example/keys }, claims: [repository_id, ref] }
subjects:
  - { name: login, issuers: [https://login.example], keys: { discovery: https://login.example }, audiences: [orders-app] }
resources:
  - { name: orders, audience: https://orders.example, scopes: [read, write], lifetime: 5m, owner: team, claims: { azp: x } }
rules:
  - name: shop
    from: { group: fleet, namespace: shop, service_account: [api, worker] }
    to: { resource: orders, scopes: [read] }
  - name: jobs
    from: { source: ci, repository_id: "1", ref: refs/heads/main }
    to: { resource: orders, scopes: [write] }
    lifetime: 1m
tests:
  - { as: spiffe://prod.example/ns/shop/sa/api, for: orders, expect: allow }
"#;
