//! Keys of acting for others: `served_by`, `on_behalf_of`, `assertion_grant`.

use super::{load_text, said};
use crate::config::Configuration;
use crate::exchange::Grants;

const LOGIN: &str =
    "subjects: [{ name: login, issuers: [https://login.example], keys: { file: login.json }, audiences: [app] }]\n";

fn text(resource: &str, rule: &str) -> String {
    format!(
        "issuer: http://127.0.0.1:8484\nidentity_domain: id.example\n\
         trust: [{{ name: a, groups: [fleet], spiffe: {{ trust_domain: p.example, bundle: {{ file: b }} }} }}]\n{LOGIN}\
         resources: [{{ name: o, audience: https://o.example, scopes: [r, w]{resource} }}]\n\
         rules: [{{ name: n, from: {{ source: a, path: /x }}, to: {{ resource: o, scopes: [r, w] }}{rule} }}]\n"
    )
}

fn taken(text: &str) -> Configuration {
    load_text("delegation", text).unwrap_or_else(|report| panic!("{}", said(&report).join("\n"))).configuration
}

#[test]
fn who_serves_and_for_whom_callers_act() {
    let configuration = taken(&text(
        ", served_by: { source: a, path: /o }",
        ", on_behalf_of: { subjects: [login, fleet], depth: 2, scopes: [r], impersonate: true }",
    ));
    let served_by = configuration.resources[0].served_by.as_ref().unwrap();
    assert_eq!((served_by.sources[0].as_str(), served_by.paths[0].as_str()), ("a", "/o"));
    let behalf = configuration.rules[0].on_behalf_of.as_ref().unwrap();
    assert_eq!((behalf.subjects.as_slice(), behalf.depth), (&["login".to_owned(), "fleet".to_owned()][..], 2));
    assert_eq!((behalf.scopes.as_ref().unwrap().to_string().as_str(), behalf.impersonate), ("r", true));
    let least = taken(&text("", ", on_behalf_of: { subjects: login }"));
    let behalf = least.rules[0].on_behalf_of.as_ref().unwrap();
    assert_eq!((behalf.depth, &behalf.scopes, behalf.impersonate), (1, &None, false));
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    for (resource, rule, problem) in [
        ("", ", on_behalf_of: {}", "rules[0].on_behalf_of: `subjects` is missing"),
        (
            "",
            ", on_behalf_of: { subjects: [] }",
            "rules[0].on_behalf_of.subjects: at least one name of subjects is needed here",
        ),
        ("", ", on_behalf_of: { subjects: nobody }", "there is no source, group or issuer of people \"nobody\""),
        ("", ", on_behalf_of: { subjects: login, depth: 9 }", "a chain has 1 to 8 actors"),
        (", served_by: { source: login, path: /o }", "", "there is no source login"),
        (", served_by: { source: a }", "", "a rule names at least one field of the caller"),
        (", served_by: { source: a, path: \"/*\" }", "", "everyone: true"),
    ] {
        let report = load_text("delegation-faults", &text(resource, rule)).expect_err(problem);
        let said = said(&report).join("\n");
        assert!(said.contains(problem), "{problem}: {said}");
    }
}

#[test]
fn the_assertion_grant_is_off_unless_switched_on() {
    let served = |line: &str| taken(&format!("{}{line}", text("", ""))).grants;
    let usual = vec![Grants::ClientCredentials, Grants::TokenExchange];
    assert_eq!(served(""), usual);
    assert_eq!(served("assertion_grant: {}\n"), usual);
    assert_eq!(served("assertion_grant: { enabled: false }\n"), usual);
    assert_eq!(served("assertion_grant: { enabled: true }\n"), Grants::ALL);
}
