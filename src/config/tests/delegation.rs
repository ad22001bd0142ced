//! Who serves a resource, whom callers act for, and the assertion grant.

use super::{load_text, refused, with_source};
use crate::identity::ScopeSet;
use crate::policy::OnBehalfOf;

fn text(served_by: &str, on_behalf_of: &str) -> String {
    with_source("name: a\ngroups: [all]\nspiffe: { trust_domain: p.example, bundle: { file: b } }")
        .replace("scopes: [read] }]\nrules", &format!("scopes: [read, write]{served_by} }}]\nrules"))
        .replace("name: a rule,", &format!("name: a rule,{on_behalf_of}"))
}

fn behalf(on_behalf_of: &str) -> OnBehalfOf {
    let text = text("", &format!(" on_behalf_of: {on_behalf_of},"));
    let loaded = load_text("delegation", &text).unwrap_or_else(|report| panic!("{on_behalf_of}: {report}"));
    loaded.configuration.rules[0].on_behalf_of.clone().unwrap()
}

#[test]
fn forms_of_a_delegation() {
    let standard = OnBehalfOf { subjects: vec!["a".to_owned()], depth: 1, scopes: None, impersonate: false };
    assert_eq!(behalf("{ subjects: a }"), standard);
    assert_eq!(
        behalf("{ subjects: [all], depth: 8 }"),
        OnBehalfOf { subjects: vec!["all".to_owned()], depth: 8, ..standard.clone() }
    );
    assert_eq!(
        behalf("{ subjects: a, scopes: [read], impersonate: true }"),
        OnBehalfOf { scopes: Some(ScopeSet::parse("read").unwrap()), impersonate: true, ..standard }
    );
    let served = load_text("served", &text(", served_by: { source: a, path: /orders }", "")).unwrap();
    assert_eq!(served.configuration.resources[0].served_by.as_ref().unwrap().paths, ["/orders"]);
    let with = |line: &str| load_text("grant", &format!("{}{line}\n", text("", ""))).unwrap().configuration;
    assert!(with("assertion_grant: { enabled: true }").assertion_grant);
    assert!(!with("assertion_grant: { enabled: false }").assertion_grant && !with("").assertion_grant);
}

#[test]
fn delegations_that_make_no_sense() {
    for (form, place, what) in [
        ("{}", "rules[0].on_behalf_of", "`subjects` is missing"),
        ("{ subjects: [] }", "rules[0].on_behalf_of.subjects", "an empty list matches nobody"),
        ("{ subjects: b }", "rules[0].on_behalf_of.subjects", "there is no source or group"),
        ("{ subjects: a, depth: 0 }", "rules[0].on_behalf_of.depth", "1 to 8 actors"),
        ("{ subjects: a, depth: 9 }", "rules[0].on_behalf_of.depth", "1 to 8 actors"),
        ("{ subjects: a, scopes: [write] }", "rules[0].on_behalf_of.scopes", "does not grant \"write\""),
        ("{ subjects: a, scopes: [] }", "rules[0].on_behalf_of.scopes", "at least one scope"),
        ("{ subjects: a, impersonate: true, depth: 2 }", "rules[0].on_behalf_of.depth", "no chain"),
    ] {
        let found = refused("nonsense", &text("", &format!(" on_behalf_of: {form},")));
        assert!(found.iter().any(|said| said.contains(place) && said.contains(what)), "{form}: {found:?}");
    }
    for (form, what) in [
        ("{}", "names a `source`"),
        ("{ source: b, everyone: true }", "there is no source b"),
        ("{ source: a }", "at least one field"),
        ("{ source: a, path: /* }", "everyone: true"),
        ("{ source: a, node: n }", "never have node"),
    ] {
        let found = refused("nonsense", &text(&format!(", served_by: {form}"), ""));
        let is_said = |said: &String| said.contains("resources[0].served_by") && said.contains(what);
        assert!(found.iter().any(is_said), "{form}: {found:?}");
    }
}
