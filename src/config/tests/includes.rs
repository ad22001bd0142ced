//! Rules in further files.

use super::super::{Environment, load};
use super::{Folder, said};

const MAIN: &str = "issuer: https://id.example\nlisten: { tls: { certificate: a, key: b } }\ninclude: [rules/*.yaml, extra.yaml, none-*.yaml]\n\
trust:\n  - { name: a, spiffe: { trust_domain: p.example, bundle: { file: b } } }\n\
resources:\n  - { name: orders, audience: https://o.example, scopes: [read] }\n  - { name: search, audience: https://s.example, scopes: [read] }\n";

fn rule(name: &str, resource: &str) -> String {
    format!("  - {{ name: {name}, from: {{ source: a, path: /x }}, to: {{ resource: {resource}, scopes: [read] }} }}\n")
}

#[test]
fn rules_of_all_files_come_together_in_order() {
    let folder = Folder::new("together");
    let main = folder.write("main.yaml", &format!("{MAIN}rules:\n{}", rule("main", "search")));
    folder.write("rules/b.yaml", &format!("rules:\n{}", rule("b", "search")));
    folder.write("rules/a.yaml", &format!("only: {{ resources: [orders] }}\nrules:\n{}", rule("a", "orders")));
    folder.write("extra.yaml", "tests: [{ as: { source: a, path: /x }, for: search, expect: allow }]");
    let loaded = load(&main, &Environment::default()).unwrap_or_else(|report| panic!("{report}"));
    let names: Vec<&str> = loaded.configuration.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["main", "a", "b"]);
    assert_eq!((loaded.configuration.tests.len(), loaded.configuration.files.len()), (1, 4));
    assert_eq!(said(&loaded.lints), ["3:37 include[2]: no file fits this pattern"]);
    // The hash is of the content alone, and of all of it.
    let hash = loaded.configuration.hash;
    assert_eq!(load(&main, &Environment::default()).unwrap().configuration.hash, hash);
    folder.write("rules/b.yaml", &format!("rules:\n{}# changed\n", rule("b", "search")));
    assert_ne!(load(&main, &Environment::default()).unwrap().configuration.hash, hash);
}

#[test]
fn problems_of_an_included_file_stand_in_that_file() {
    let folder = Folder::new("included");
    let main = folder.write("main.yaml", &format!("{MAIN}rules:\n{}", rule("one", "search")));
    let text = format!(
        "only: {{ resources: [orders, nothing] }}\nrules:\n{}{}trust: []\n",
        rule("two", "search"),
        rule("one", "orders")
    );
    folder.write("rules/a.yaml", &text);
    let report = load(&main, &Environment::default()).unwrap_err();
    let extra = folder.path().join("extra.yaml");
    assert_eq!(
        said(&report),
        [
            &*format!(
                "3:25 include[1]: {}: the file cannot be read: No such file or directory (os error 2)",
                extra.display()
            ),
            "3:37 include[2]: no file fits this pattern",
            "1:29 only.resources[1]: there is no resource \"nothing\"",
            "3:65 rules[0].to.resource: this file may not grant the resource \"search\" (its `only` names: \"orders\", \"nothing\")",
            "4:13 rules[1].name: there are two rules \"one\" (the name is the sentence; say what is different)",
            "5:1 trust: unknown key \"trust\" (known here: only, rules, tests)",
        ]
    );
    assert!(report.findings()[2].file.ends_with("rules/a.yaml"));
    assert!(report.to_string().contains("a.yaml:1:29"), "{report}");
}
