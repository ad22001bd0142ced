//! OIDC sources and people's issuers: forms, what is refused, and what is remarked.

use super::{load_text, refused, said, with_source};
use crate::identity::IdentityTemplate;
use crate::trust::{IssuerKeys, Reuse, SourceKind};

const GITHUB: &str = "name: a\nidentity: \"spiffe://id.example/ci/{repository_id}\"\noidc:\n  issuers: [https://token.actions.githubusercontent.com]\n  keys: { discovery: https://token.actions.githubusercontent.com }\n  claims: [repository_id, repository, environment, ref]";
const LOGIN: &str = "{ name: login, issuers: [https://login.example], keys: { url: https://login.example/keys }, audiences: [orders-app] }";

/// The configuration around GitHub as the only source, with one rule.
fn rule(from: &str) -> String {
    with_source(GITHUB).replace("source: a, everyone: true", &format!("source: a, {from}"))
}

fn subjects(list: &str) -> String {
    format!("{}subjects: [{list}]\n", with_source(GITHUB))
}

/// What is refused, without the remark that the rule of these files gets.
fn problems(name: &str, text: &str) -> Vec<String> {
    let all = refused(name, text);
    all.into_iter().filter(|line| !line.contains("rules[0].from")).collect()
}

fn lints(from: &str) -> Vec<String> {
    said(&load_text("oidc-lints", &rule(from)).unwrap_or_else(|report| panic!("{report}")).lints)
}

#[test]
fn forms_of_an_oidc_source() {
    let loaded = load_text("oidc", &with_source(GITHUB)).unwrap_or_else(|report| panic!("{report}"));
    let source = &loaded.configuration.sources[0];
    let SourceKind::Oidc { issuers, keys: IssuerKeys::Discovery(keys), claims } = &source.kind else { panic!() };
    assert!(issuers.contains("https://token.actions.githubusercontent.com"));
    assert_eq!((keys.url.as_str(), &keys.token), ("https://token.actions.githubusercontent.com/", &None));
    let claims: Vec<&str> = claims.iter().map(|claim| claim.as_str()).collect();
    assert_eq!(claims, ["environment", "ref", "repository", "repository_id"]);
    assert_eq!(source.identity, IdentityTemplate::parse("spiffe://id.example/ci/{repository_id}").ok());
    for keys in [
        "{ file: jwks.json }",
        "{ url: https://x.example/keys, ca: ca.crt }",
        "{ discovery: https://x.example, token: /t }",
    ] {
        let text = with_source(GITHUB).replace("{ discovery: https://token.actions.githubusercontent.com }", keys);
        assert!(load_text("oidc-keys", &text).is_ok(), "{keys}");
    }
}

#[test]
fn an_oidc_source_is_refused_whose_claims_or_identity_cannot_be_used_nor_02() {
    let with = |from: &str, to: &str| {
        let text = with_source(&GITHUB.replace(from, to));
        assert_ne!(text, with_source(GITHUB), "{from}");
        problems("oidc-faults", &text).join("\n")
    };
    for (from, to, says) in [
        (
            "repository, ",
            "https://x/groups, ",
            "the claim \"https://x/groups\" cannot be used: rules and templates have no name for it",
        ),
        ("repository, ", "kubernetes.io, ", "cannot be used: rules and templates have no name for it"),
        ("repository, ", "\"agent_tag:queue\", ", "cannot be used: rules and templates have no name for it"),
        ("repository, ", "group, ", "the claim group cannot be used: the name is ours"),
        ("repository, ", "jti, ", "the claim jti is checked for every token"),
        ("claims: [repository_id, repository, environment, ref]", "claims: []", "at least one claim is needed"),
        (
            "{ discovery: https://token.actions.githubusercontent.com }",
            "{ api_server: {} }",
            "`api_server` is for clusters",
        ),
        (
            "{ discovery: https://token.actions.githubusercontent.com }",
            "{}",
            "exactly one of `file`, `url`, `discovery` is needed",
        ),
        (
            "identity: \"spiffe://id.example/ci/{repository_id}\"\n",
            "",
            "trust[0].identity: an oidc source needs an identity template",
        ),
        ("{repository_id}", "{owner}", "{owner} is no listed claim"),
        ("{repository_id}", "all", "everybody whom this issuer vouches for would be one identity"),
        (
            "issuers: [https://token.actions.githubusercontent.com]",
            "issuers: [https://id.example]",
            "is our own issuer",
        ),
    ] {
        let said = with(from, to);
        assert!(said.contains(says), "{to}: {said}");
    }
}

#[test]
fn two_sources_never_make_one_identity_unless_said_nor_02() {
    let other = |identity: &str, more: &str| {
        let second = GITHUB
            .replace("name: a", &format!("name: b\n{more}"))
            .replace("spiffe://id.example/ci/{repository_id}", identity)
            .replace("https://token.actions", "https://ghes");
        format!("{}  - {}\n", with_source(GITHUB), second.replace('\n', "\n    "))
    };
    let said = problems("nor-02", &other("spiffe://id.example/ci/{repository_id}", "max_age: 1h")).join("\n");
    assert!(said.contains("sources a and b could give one identity to two workloads"), "{said}");
    for good in [
        other("spiffe://id.example/ghes/{repository_id}", "max_age: 1h"),
        other("spiffe://id.example/ci/{repository_id}", "shares_identities_with: [a]"),
    ] {
        assert!(load_text("nor-02-good", &good).is_ok(), "{}", load_text("nor-02", &good).unwrap_err());
    }
}

#[test]
fn a_template_of_claims_that_change_hands_is_remarked() {
    let lints = |template: &str, claims: &str| {
        let text = GITHUB.replace("{repository_id}", template).replace("[repository_id, repository,", claims);
        said(&load_text("oidc-template", &with_source(&text)).unwrap_or_else(|report| panic!("{report}")).lints)
            .join("\n")
    };
    for (claim, why) in [
        ("repository", "can be changed and taken over"),
        ("repository_owner", "can be changed and taken over"),
        ("actor", "can be changed and taken over"),
        ("sub", "can be changed and taken over"),
        ("head_ref", "may be chosen by a pull request"),
        ("workflow", "may be chosen by a pull request"),
    ] {
        let said = lints(&format!("{{{claim}}}"), &format!("[{claim}, x_{claim},"));
        assert!(said.contains(&format!("{{{claim}}} of GitHub Actions {why}")), "{said}");
    }
    assert!(lints("{environment}", "[repository_id, repository,").contains("nothing in this template says for good"));
    assert!(!lints("{repository_id}", "[repository_id, repository,").contains("trust[0]"));
    // A server of one's own has an issuer that nobody can list: its claims tell.
    let own = GITHUB
        .replace("https://token.actions.githubusercontent.com", "https://git.example")
        .replace("repository_id, repository", "project_path")
        .replace("repository_id", "project_path");
    let said = said(&load_text("oidc-own", &with_source(&own)).unwrap().lints).join("\n");
    assert!(
        said.contains("{project_path} of GitLab CI/CD can be changed") && said.contains("{project_id} is given once"),
        "{said}"
    );
}

#[test]
fn a_rule_that_a_pull_request_fulfils_is_remarked() {
    let may = "a pull request of GitHub Actions may fulfil this rule";
    for (from, wanted) in [
        ("repository_id: \"1\", ref: refs/heads/main", vec![]),
        ("repository_id: \"1\", environment: production", vec![]),
        ("path: /ci/1, ref: refs/heads/main", vec![]),
        ("repository_id: \"1\"", vec![may]),
        ("repository_id: \"1\", ref: refs/pull/7/merge", vec![may]),
        ("repository: org/name, ref: refs/heads/main", vec!["repository of GitHub Actions can change hands"]),
        ("environment: production", vec!["this rule is for jobs of everybody who uses GitHub Actions"]),
        ("everyone: true", vec!["this rule is for jobs of everybody who uses GitHub Actions", may]),
    ] {
        let said = lints(from);
        assert_eq!(said.len(), wanted.len(), "{from}: {said:?}");
        assert!(wanted.iter().all(|part| said.iter().any(|line| line.contains(part))), "{from}: {said:?}");
    }
}

#[test]
fn people_stand_beside_trust_and_never_in_it() {
    let loaded = load_text("subjects", &subjects(LOGIN)).unwrap_or_else(|report| panic!("{report}"));
    let configuration = loaded.configuration;
    let login = &configuration.subjects[0];
    assert!(matches!(&login.kind, SourceKind::People { keys: IssuerKeys::Url(_), .. }));
    assert_eq!((configuration.sources.len(), configuration.authorities().len(), login.reuse), (1, 2, Reuse::Allowed));
    assert!(login.audiences.as_ref().is_some_and(|audiences| audiences.contains("orders-app")));
}

#[test]
fn people_share_neither_name_nor_issuer_with_a_source() {
    let with = |from: &str, to: &str| problems("subjects-faults", &subjects(&LOGIN.replace(from, to))).join("\n");
    for (from, to, says) in [
        ("name: login", "name: a", "subjects[0].name: a is also the name of a source"),
        (
            "[https://login.example]",
            "[https://token.actions.githubusercontent.com]",
            "an issuer of login is also one of the source a",
        ),
        ("[https://login.example]", "[https://id.example]", "https://id.example is our own issuer"),
        (", audiences: [orders-app]", "", "subjects[0]: `audiences` is missing"),
        ("audiences: [orders-app]", "audiences: []", "at least one audience is needed"),
        ("audiences: [orders-app]", "audiences: [orders-app], groups: [x]", "subjects[0].groups"),
        ("audiences: [orders-app]", "audiences: [orders-app], identity: \"spiffe://a/b\"", "subjects[0].identity"),
        ("{ url: https://login.example/keys }", "{ api_server: {} }", "`api_server` is for clusters"),
    ] {
        let said = with(from, to);
        assert!(said.contains(says), "{to}: {said}");
    }
    let twice = problems("subjects-twice", &subjects(&format!("{LOGIN}, {LOGIN}"))).join("\n");
    assert!(twice.contains("subjects[1].name: login is also the name"), "{twice}");
    let group = subjects(LOGIN).replace("name: a\n", "name: a\n    groups: [login]\n");
    assert!(problems("subjects-group", &group).join("\n").contains("login is also the name of a source, a group"));
    let caller = subjects(LOGIN).replace("source: a,", "source: login,");
    assert!(refused("subjects-rule", &caller).join("\n").contains("there is no source login"));
}
