//! Files that are refused, with everything that is said of them.

use super::{Environment, Folder, load, load_text, refused, said, with_source};

const MANY: &str = r#"issuer: https://id.example/?tenant=1
identity_domain: Prod.Example
listen:
  address: 0.0.0.0:8484
limits: { per_identity: 50/h, in_flight: 0, in_fligth: 5 }
trust:
  - name: Prod
    spiffe: { trust_domain: prod.example, workload_api: auto, bundle: { file: b.json } }
    max_age: 0s
    leeway: 1h
  - name: eu1
    kubernetes:
      issuers: []
      keys: { url: http://10.0.0.1/keys, tokn: /x }
      liveness: off
    reuse: twice
resources:
  - name: orders
    audience: orders
    scopes: [read, "a b"]
    claims: { sub: me, azp: x }
  - audience: https://search.example
    scopes: [read]
    algorithm: HS256
    lifetime: 5 m
rules:
  - name: shop
    from: { source: [prod, Eu 1], everyone: no, name-space: shop, service_account: "a*" }
    to: { resource: orders, scopes: read }
    alias: SPIFFE://x
    mode: obsreve
tests:
  - as: spiffe://prod.example
    for: orders
    expect: not_grantd
"#;

#[test]
fn everything_wrong_with_a_file_is_said_at_once() {
    let found = refused("many", MANY);
    let wanted = [
        "1:9 issuer: \"https://id.example/?tenant=1\" is not an issuer (it has no query and no user information)",
        "2:18 identity_domain: \"Prod.Example\" is not a trust domain (a trust domain has 1 to 255 characters of a-z 0-9 . - _)",
        "4:12 listen.address: without TLS the listener must be on a loopback address, and 0.0.0.0:8484 is none (set `listen.tls`, or listen on 127.0.0.1)",
        "5:25 limits.per_identity: \"50/h\" is not a rate (50/s or 90/m, from 1 to 1000000)",
        "5:42 limits.in_flight: 0 requests at a time are too few or too many (from 1 to 100000)",
        "5:45 limits.in_fligth: unknown key \"in_fligth\" (did you mean `in_flight`?)",
        "7:11 trust[0].name: \"Prod\" is not a source name (a source name has 1 to 63 characters of a-z 0-9 -)",
        "8:5 trust[0].spiffe: exactly one of `workload_api`, `bundle` is needed, 2 are given: workload_api, bundle",
        "8:57 trust[0].spiffe.workload_api: `auto` reads the variable SPIFFE_ENDPOINT_SOCKET, and it is not set (set it, or write the socket here: unix:/path/to.sock)",
        "9:14 trust[0].max_age: this must be longer than no time at all",
        "10:13 trust[0].leeway: a leeway over 5m is not taken (set the clocks right)",
        "13:7 trust[1].kubernetes.issuers: at least one issuer is needed here",
        "14:20 trust[1].kubernetes.keys.url: this is not an https URL (keys are fetched over https alone, such as https://10.0.0.1:6443)",
        "14:42 trust[1].kubernetes.keys.tokn: unknown key \"tokn\" (did you mean `token`?)",
        "15:17 trust[1].kubernetes.liveness: \"off\" is not `none` (or `{ token_review: {} }`: the API server is asked)",
        "16:12 trust[1].reuse: \"twice\" is not one of `allowed`, `once`, `bound`",
        "19:15 resources[0].audience: \"orders\" is not an audience (it is an absolute URI such as https://orders.example)",
        "20:20 resources[0].scopes[1]: \"a b\" is not a scope (a scope has 1 to 128 printable ASCII characters without space, quote and backslash)",
        "21:20 resources[0].claims.sub: the claim `sub` is made by countersign or registered for another use (give it another name)",
        "22:5 resources[1]: `name` is missing",
        "24:16 resources[1].algorithm: \"HS256\" is not one of `ES256`, `RS256` (did you mean `ES256`?)",
        "25:15 resources[1].lifetime: \"5 m\" is not a length of time (a whole number and one of s, m, h, d: 30s, 5m, 12h, 7d; ten years at most)",
        "28:28 rules[0].from.source[1]: \"Eu 1\" is not a source name (a source name has 1 to 63 characters of a-z 0-9 -)",
        "28:45 rules[0].from.everyone: `everyone` is `true`, or is left out",
        "28:61 rules[0].from.name-space: \"name-space\" is not the name of an attribute (an attribute name starts with a-z and has at most 32 characters of a-z 0-9 _)",
        "29:37 rules[0].to.scopes: a list is needed here, not text (put it in brackets: a list of one)",
        "31:11 rules[0].mode: \"obsreve\" is not one of `enforce`, `observe` (did you mean `observe`?)",
        "33:9 tests[0].as: \"spiffe://prod.example\" is not a SPIFFE ID (a workload's SPIFFE ID has a path)",
        "35:13 tests[0].expect: \"not_grantd\" is not an answer (did you mean `not_granted`?)",
    ];
    assert_eq!(found, wanted, "\n{}", found.join("\n"));
}

#[test]
fn keys_of_later_releases_are_unknown() {
    let spiffe = "spiffe: { trust_domain: p.example, bundle: { file: b } }";
    let top = |line: &str| format!("{}{line}\n", with_source(&format!("name: a\n{spiffe}")));
    for (text, key) in [
        (top("telemetry: { zipkin: https://x }"), "telemetry.zipkin"),
        (top("state: { postgres: x }"), "state.postgres"),
        (top("only: { resources: [orders] }"), "only"),
        (with_source("name: a\noidc: { issuers: [x], liveness: none }"), "trust[0].oidc.liveness"),
        (with_source(&format!("name: a\n{spiffe}\nclaims: [x]")), "trust[0].claims"),
    ] {
        let report = load_text("later", &text).expect_err(key);
        assert!(report.findings().iter().any(|finding| finding.path == key), "{key}: {report}");
    }
}

#[test]
fn issuer_and_listener_fit_each_other_md_01_tok_09() {
    let base = with_source("name: a\nspiffe: { trust_domain: p.example, bundle: { file: b } }");
    let with = |issuer: &str, listen: &str| {
        base.replace("https://id.example", issuer).replace("listen: { tls: { certificate: a, key: b } }", listen)
    };
    let tls = "listen: { tls: { certificate: a, key: b } }";
    for (issuer, listen) in [
        ("https://id.example", tls),
        ("https://id.example/tenant", "listen: { address: \"[::1]:80\" }"),
        ("http://localhost:8484", "listen: {}"),
        ("http://127.0.0.1:8484", "listen: { address: 127.0.0.1:0 }"),
    ] {
        let loaded = load_text("fit", &with(issuer, listen));
        assert!(loaded.is_ok(), "{issuer} {listen}: {}", loaded.unwrap_err());
    }
    for (issuer, listen, path) in [
        ("http://id.example", "listen: {}", "issuer"),
        ("http://localhost", tls, "issuer"),
        ("\"https://id.example \"", tls, "issuer"),
        ("\"https://id.example\\n\"", tls, "issuer"),
        ("https://id.example?x", tls, "issuer"),
        ("\"https://id.example#x\"", tls, "issuer"),
        ("https://u:p@id.example", tls, "issuer"),
        ("https://[::1]", tls, "issuer"),
        ("id.example", tls, "issuer"),
        ("https://id.example", "listen: { address: 0.0.0.0:80 }", "listen.address"),
        ("https://id.example", "listen: { address: localhost:80 }", "listen.address"),
        ("https://id.example", "listen: { tls: { key: b } }", "listen.tls"),
        ("https://id.example", "listen: { address: 127.0.0.1:9443 }\nadmin: {}", "admin"),
        ("https://id.example", "state: { directory: a }\nsigning: { directory: a/b }", "signing"),
        ("https://id.example", "state: { directory: a }\nsigning: { files: a/b }", "signing"),
        ("https://id.example", "signing: { directory: a, files: b }", "signing"),
        ("https://id.example", "signing: { files: b, rotate: 30d }", "signing"),
        ("https://id.example", "signing: { files: \"\" }", "signing.files"),
        ("https://id.example", "signing: { canary_ca: \"\" }", "signing.canary_ca"),
        ("https://id.example", "signing: { rotate: 59m }", "signing.rotate"),
        ("https://id.example", "signing: { rotate: 367d }", "signing.rotate"),
        ("https://id.example", "signing: { rotate: 30 }", "signing.rotate"),
    ] {
        let report = load_text("fit", &with(issuer, listen)).expect_err(issuer);
        assert_eq!(report.findings()[0].path, path, "{issuer} {listen}: {report}");
        assert_eq!(report.findings().len(), 1, "{issuer} {listen}: {report}");
    }
}

#[test]
fn names_are_unique_and_audiences_apart() {
    let source = |name: &str, domain: &str| {
        format!(
            "  - {{ name: {name}, spiffe: {{ trust_domain: {domain}, bundle: {{ file: b }} }}, audiences: [https://in.example] }}\n"
        )
    };
    let resource =
        |name: &str, audience: &str| format!("  - {{ name: {name}, audience: {audience}, scopes: [read] }}\n");
    let text = format!(
        "issuer: https://id.example\nidentity_domain: one.example\ntrust:\n{}{}resources:\n{}{}{}{}rules:\n  - {{ name: x, from: {{ source: a, path: /x }}, to: {{ resource: o, scopes: [read] }} }}\n",
        source("a", "one.example"),
        source("a", "two.example"),
        resource("o", "https://o.example"),
        resource("o", "https://o.example"),
        resource("p", "https://id.example"),
        resource("q", "https://in.example"),
    );
    let found = refused("unique", &text);
    let wanted = [
        "4:40 trust[0].spiffe.trust_domain: one.example is also the identity_domain",
        "5:13 trust[1].name: there are two sources a",
        "8:13 resources[1].name: there are two resources o",
        "8:26 resources[1].audience: two resources have the audience https://o.example",
        "9:26 resources[2].audience: a resource's audience is never our issuer",
        "10:26 resources[3].audience: a resource's audience is never our issuer, nor one that a source takes",
    ];
    assert_eq!(found.len(), wanted.len(), "{}", found.join("\n"));
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found}\n{wanted}");
    }
}

/// Rules and tests are counted over all files where they are checked, and reported where they stand.
#[test]
fn problems_of_other_modules_get_a_line_sca_17_sca_18_sca_19_at_10() {
    let folder = Folder::new("semantics");
    let rule = |name: &str, from: &str, more: &str| {
        format!("  - {{ name: {name}, from: {{ {from} }}, to: {{ resource: orders, scopes: [read] }}{more} }}\n")
    };
    let main = with_source("name: a\nspiffe: { trust_domain: p.example, bundle: { file: b } }")
        .replace("resources:", "include: [more.yaml]\nresources:");
    let main = folder.write("main.yaml", &main);
    let more = [
        "rules:\n".to_owned(),
        rule("one", "source: b, path: /x", ""),
        rule("two", "source: a, path: /x*", ""),
        rule("three", "source: a, path: /*", ""),
        rule("four", "source: a, namespace: x", ""),
        rule("five", "source: a, path: [/x, '/*/y/*']", ", alias: 'spiffe:x'"),
        rule("a rule", "source: a, everyone: true", ""),
        rule("six", "path: /x", ""),
    ];
    folder.write("more.yaml", &more.concat());
    let found = said(&load(&main, &Environment::default()).unwrap_err());
    let places: Vec<&str> = found.iter().map(|said| said.split_once(": ").unwrap().0).collect();
    let wanted = [
        "2:34 rules[0].from.source",
        "3:43 rules[1].from.path",
        "4:45 rules[2].from.path",
        "5:49 rules[3].from.namespace",
        "6:111 rules[4].alias",
        "7:13 rules[5].name",
        "8:18 rules[6].from",
    ];
    assert_eq!(places, wanted, "{}", found.join("\n"));
    // A test that fails is said at what it expects.
    folder.write("more.yaml", "tests:\n  - { as: spiffe://p.example/x, for: orders, expect: not_granted }\n  - { as: spiffe://q.example/x, for: orders, expect: allow }\n");
    let found = said(&load(&main, &Environment::default()).unwrap_err());
    assert!(found[0].starts_with("2:54 tests[0].expect: spiffe://p.example/x for orders gives allow"), "{found:?}");
    assert!(found[1].starts_with("3:11 tests[1].as: "), "{found:?}");
    assert_eq!(found.len(), 2);
}

#[test]
fn an_issuer_is_needed_ca_07() {
    let whole = with_source("name: a\nspiffe: { trust_domain: p.example, bundle: { file: b } }");
    assert!(load_text("issuer", &whole).is_ok());
    let found = refused("issuer", &whole.replace("issuer: https://id.example\n", ""));
    assert!(found.iter().any(|said| said.contains("`issuer` is missing")), "{found:?}");
}

/// Two sources never make one identity, unless one of them names the other.
#[test]
fn two_sources_of_one_identity_are_refused_nor_02_k8s_22_sca_25() {
    let cluster = |name: &str, more: &str| {
        format!("name: {name}\nkubernetes: {{ issuers: [{name}], keys: {{ file: b }} }}\n{more}")
    };
    let domain = |name: &str, more: &str| {
        format!("name: {name}\nspiffe: {{ trust_domain: p.example, bundle: {{ file: b }} }}\n{more}")
    };
    let same = "identity: \"spiffe://p.example/ns/{namespace}/sa/{service_account}\"";
    let agreed = format!("{same}\nshares_identities_with: [a]");
    let load = |one: String, two: String| {
        let two = two.trim().replace('\n', "\n    ");
        load_text("identities", &format!("{}  - {two}\n", with_source(&one)))
    };
    for (what, one, two) in [
        ("two clusters", cluster("a", ""), cluster("b", "")),
        ("a trust domain and a cluster of another", domain("a", ""), cluster("b", "")),
        ("a cluster that shares with a trust domain", domain("a", ""), cluster("b", &agreed)),
        ("clusters that share", cluster("a", same), cluster("b", &agreed)),
        ("two sources of one trust domain that share", domain("a", ""), domain("b", "shares_identities_with: [a]")),
    ] {
        assert!(load(one, two).is_ok(), "{what}");
    }
    for (what, one, two) in [
        ("a cluster mapped into a trust domain", domain("a", ""), cluster("b", same)),
        ("two clusters of one template", cluster("a", same), cluster("b", same)),
        ("two sources of one trust domain", domain("a", ""), domain("b", "")),
    ] {
        let report = load(one, two).expect_err(what);
        assert_eq!((report.problems(), report.findings()[0].path.as_str()), (1, "trust[1]"), "{what}: {report}");
    }
}

/// What follows from a problem is not reported beside it.
#[test]
fn a_bad_source_does_not_make_rules_bad() {
    let text = with_source("name: a\nspiffe: { trust_domain: P.example, bundle: { file: b } }");
    let found = refused("follows", &text);
    assert_eq!(found.len(), 1, "{found:?}");
    let found =
        refused("follows", &text.replace("https://orders.example", "orders").replace("name: a rule", "nam: a rule"));
    let places: Vec<&str> = found.iter().map(|said| said.split_once(": ").unwrap().0).collect();
    assert_eq!(
        places,
        ["3:39 resources[0].audience", "4:9 rules[0]", "4:11 rules[0].nam", "7:29 trust[0].spiffe.trust_domain"],
        "{found:?}"
    );
}

#[test]
fn a_file_that_is_no_tree_is_one_problem() {
    assert_eq!(
        refused("tree", "issuer: &x https://id.example\nidentity_domain: *x\n"),
        ["1:12 : anchors and aliases are not taken (write the value out at each place)"]
    );
    assert_eq!(
        refused("list", "- a\n"),
        [
            "1:1 : a map with `issuer`, `identity_domain`, `listen`, `admin`, `signing`, `state`, `audit`, `limits`, `assertion_grant`, `dpop`, `grpc`, `telemetry`, `include`, `trust`, `subjects`, `resources`, `rules`, `tests` is needed here, not a list"
        ]
    );
    let report = load(std::path::Path::new("/nowhere/countersign.yaml"), &Environment::default()).unwrap_err();
    assert!(
        report.to_string().starts_with("problem: the file cannot be read: ")
            && report.to_string().ends_with("/nowhere/countersign.yaml"),
        "{report}"
    );
}

/// A password that somebody wrote into a URL must not travel on with the report.
#[test]
fn a_line_with_a_password_is_not_shown() {
    for text in [
        with_source("name: a\nkubernetes: { issuers: [x], keys: { ur: 1, url: https://u:hunter2@x.example } }"),
        with_source("name: a\nkubernetes: { issuers: [x], keys: { file: y } }")
            .replace("https://id.", "https://u:hunter2@id."),
    ] {
        let report = load_text("password", &text).unwrap_err();
        let all = format!("{report} {} {}", report.render(true), report.to_json());
        assert!(all.contains("user information") && !all.contains("hunter2"), "{all}");
    }
}

/// Control characters of a file never reach a terminal.
#[test]
fn a_report_is_safe_to_print() {
    let text =
        with_source("name: \"a\\e[31m\"\n\"k\\e[1m\": 1\nspiffe: { trust_domain: p.example, bundle: { file: b } }");
    let report = load_text("control", &text).unwrap_err();
    assert_eq!(report.problems(), 2, "{report}");
    let report = format!("{report}{}", refused("control", "a\u{9b}31m: 1\n").join("\n"));
    assert!(report.chars().all(|c| c == '\n' || !c.is_control()), "{report:?}");
}

/// More problems than anybody reads are counted.
#[test]
fn a_flood_of_problems_has_an_end() {
    let text: String = (0..1500).map(|number| format!("key_{number}: 1\n")).collect();
    let report = load_text("flood", &text).unwrap_err();
    assert_eq!(report.findings().len(), 1000);
    assert!(report.to_string().ends_with("and 504 more"), "{}", report.to_string().lines().last().unwrap());
}

/// A file that is cut off or spoiled anywhere gives a report: never a panic, and never a problem without a line.
#[test]
fn every_spoiled_file_is_reported() {
    let folder = Folder::new("spoiled");
    let ends = MANY.char_indices().map(|(at, _)| at).step_by(13);
    let spoiled = ends.flat_map(|at| {
        let (head, tail) = MANY.split_at(at);
        [
            head.to_owned(),
            format!("{head}[{tail}"),
            format!("{head}: {tail}"),
            format!("{head}\"{tail}"),
            format!("{head}\n{tail}"),
            format!("{head}ä\u{0}{tail}"),
        ]
    });
    for text in spoiled {
        let report = load(&folder.write("main.yaml", &text), &Environment::default()).expect_err(&text);
        assert!(report.problems() > 0 && report.findings().iter().all(|finding| finding.line > 0), "{text}");
        let lines = text.lines().count() as u64 + 1;
        assert!(report.findings().iter().all(|finding| finding.line <= lines), "{text}\n{report}");
        assert!(!report.render(true).is_empty());
    }
}

#[test]
fn a_placeholder_takes_no_name_that_is_ours() {
    for name in ["trust_domain", "cluster", "source", "kind", "group", "path", "everyone", "subject"] {
        let source = format!(
            "name: a\nspiffe: {{ trust_domain: a.example, bundle: {{ file: b }}, paths: [\"/x/{{{name}}}\"] }}"
        );
        let found = refused("placeholder", &with_source(&source));
        assert!(found.len() == 1 && found[0].contains("the name is ours"), "{name}: {found:?}");
    }
}
