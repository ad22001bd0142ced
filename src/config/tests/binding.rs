//! Keys of binding: `require`, `dpop`.

use super::{load_text, said};
use crate::policy::Require;

fn text(resource: &str, rule: &str, more: &str) -> String {
    format!(
        "issuer: http://127.0.0.1:8484\nidentity_domain: id.example\n\
         trust: [{{ name: a, spiffe: {{ trust_domain: p.example, bundle: {{ file: b }} }} }}]\n\
         resources: [{{ name: o, audience: https://o.example, scopes: [r, w]{resource} }}]\n\
         rules: [{{ name: n, from: {{ source: a, path: /x }}, to: {{ resource: o, scopes: [r, w] }}{rule} }}]\n{more}"
    )
}

#[test]
fn dpo_12_resources_and_rules_may_want_a_key() {
    for (resource, rule, wanted) in [
        ("", "", (Require::Nothing, Require::Nothing)),
        (", require: bound", "", (Require::Bound, Require::Nothing)),
        ("", ", require: bound", (Require::Nothing, Require::Bound)),
    ] {
        let loaded =
            load_text("binding", &text(resource, rule, "")).unwrap_or_else(|report| panic!("{:?}", said(&report)));
        // Plain HTTP is no objection: a proof of possession needs no TLS, and certificates are not the only keys.
        assert!(loaded.lints.findings().is_empty(), "{:?}", said(&loaded.lints));
        let configuration = loaded.configuration;
        assert_eq!((configuration.resources[0].require, configuration.rules[0].require), wanted);
    }
    for (resource, rule) in [(", require: dpop", ""), (", require: true", ""), ("", ", require: [bound]")] {
        let report = load_text("binding-faults", &text(resource, rule, "")).expect_err(resource);
        assert!(said(&report).join("\n").contains("require"), "{:?}", said(&report));
    }
}

#[test]
fn dpo_08_nonces_are_asked_for_where_it_says_so() {
    for (lines, asks) in
        [("", false), ("dpop: {}\n", false), ("dpop: { nonce: false }\n", false), ("dpop: { nonce: true }\n", true)]
    {
        let loaded = load_text("nonces", &text("", "", lines)).unwrap_or_else(|report| panic!("{:?}", said(&report)));
        assert_eq!(loaded.configuration.dpop_nonce, asks, "{lines}");
    }
    let report = load_text("nonces-faults", &text("", "", "dpop: { nonce: sometimes }\n")).expect_err("no boolean");
    assert!(said(&report).join("\n").contains("dpop.nonce"), "{:?}", said(&report));
}
