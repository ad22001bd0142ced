//! What the policy promises.

use std::collections::{BTreeMap, BTreeSet};

mod delegation;
mod properties;

use super::*;
use crate::clock::{Lifetime, Timestamp};
use crate::identity::{
    Assurance, AttributeName, Attributes, CredentialFacts, CredentialKind, GroupName, IssuerUrl, PathTemplate,
    ResourceName, ScopeSet, SpiffeId, TrustDomain, WorkloadIdentity,
};
use crate::jose::Algorithm;
use crate::problem::{Problem, Severity};
use crate::reason::Reason;
use crate::trust::{SourceKind, SourceSettings, SpiffeKeys};

/// Everything that a policy is made of, to be changed by a test.
struct Given {
    sources: Vec<SourceSettings>,
    subjects: Vec<SourceSettings>,
    resources: Vec<ResourceSettings>,
    rules: Vec<RuleSettings>,
    tests: Vec<TestSettings>,
}

fn source(name: &str) -> SourceSettings {
    let day = Lifetime::from_hours(24);
    SourceSettings {
        name: SourceName::parse(name).unwrap(),
        groups: BTreeSet::from([GroupName::parse("fleet").unwrap()]),
        kind: SourceKind::Spiffe {
            trust_domain: TrustDomain::parse(&format!("{name}.example")).unwrap(),
            keys: SpiffeKeys::BundleFile("bundle.json".into()),
            paths: vec![PathTemplate::parse("/ns/{namespace}/sa/{service_account}").unwrap()],
        },
        audiences: None,
        max_age: day,
        max_life: day,
        max_stale: day,
        leeway: Lifetime::from_seconds(30),
        reuse: crate::trust::Reuse::Allowed,
        algorithms: Algorithm::ALL.into_iter().collect(),
        identity: None,
        shares_identities_with: BTreeSet::new(),
    }
}

fn resource(name: &str) -> ResourceSettings {
    ResourceSettings {
        name: ResourceName::parse(name).unwrap(),
        audience: crate::identity::Audience::parse(&format!("https://{name}.example")).unwrap(),
        scopes: ScopeSet::parse("read write").unwrap(),
        lifetime: Lifetime::from_minutes(5),
        owner: Some("team".to_owned()),
        algorithm: Algorithm::ES256,
        typ: TokenType::AccessToken,
        claims: BTreeMap::new(),
        require: Require::Nothing,
        served_by: None,
    }
}

/// A rule of source `prod` for a path, to `orders`.
fn rule(name: &str, path: &str, scopes: &str) -> RuleSettings {
    RuleSettings {
        name: name.to_owned(),
        from: FromSettings {
            sources: vec![SourceName::parse("prod").unwrap()],
            paths: vec![path.to_owned()],
            ..FromSettings::default()
        },
        resource: "orders".to_owned(),
        scopes: ScopeSet::parse(scopes).unwrap(),
        mode: Mode::Enforce,
        alias: None,
        default: false,
        lifetime: None,
        require: Require::Nothing,
        on_behalf_of: None,
    }
}

fn given(rules: Vec<RuleSettings>) -> Given {
    Given {
        sources: vec![source("prod"), source("edge")],
        subjects: vec![SourceSettings { groups: BTreeSet::new(), ..source("login") }],
        resources: vec![resource("orders"), resource("search")],
        rules,
        tests: Vec::new(),
    }
}

impl Given {
    fn compile(&self) -> (Option<Policy>, Vec<Problem>) {
        Policy::compile(&PolicyInput {
            issuer: &IssuerUrl::parse("https://id.example").unwrap(),
            identity_domain: &TrustDomain::parse("id.example").unwrap(),
            sources: &self.sources,
            subjects: &self.subjects,
            resources: &self.resources,
            rules: &self.rules,
            tests: &self.tests,
        })
    }

    fn policy(&self) -> Policy {
        let (policy, problems) = self.compile();
        policy.unwrap_or_else(|| panic!("{problems:?}"))
    }

    /// The messages of what refuses it.
    fn refused(&self) -> Vec<String> {
        let (policy, problems) = self.compile();
        assert!(policy.is_none());
        let refusing = problems.into_iter().filter(|problem| problem.severity == Severity::Problem);
        refusing.map(|problem| problem.message).collect()
    }
}

fn caller(id: &str, attributes: &[(&str, &str)]) -> WorkloadIdentity {
    let id = SpiffeId::parse(id).unwrap();
    let domain = id.trust_domain();
    let mut known = Attributes::default();
    for (name, value) in attributes {
        known.insert(AttributeName::parse(name).unwrap(), *value);
    }
    WorkloadIdentity {
        source: SourceName::parse(domain.as_str().trim_end_matches(".example")).unwrap(),
        id,
        kind: CredentialKind::JwtSvid,
        attributes: known,
        credential: CredentialFacts {
            id: "one".to_owned(),
            key_id: None,
            issued_at: None,
            expires_at: Timestamp::from_seconds(1_790_000_300),
        },
        assurance: Assurance::Bearer,
    }
}

fn ask(audience: &str) -> Ask {
    Ask { audience: Some(audience.to_owned()), ..Ask::default() }
}

fn decide(policy: &Policy, id: &str, ask: &Ask) -> Result<Grant, &'static str> {
    let mut trace = PolicyTrace::default();
    policy.decide(&caller(id, &[]), ask, &mut trace).map_err(|refusal| refusal.reason().code())
}

const A: &str = "spiffe://prod.example/a";

#[test]
fn several_rules_give_the_union_of_scopes_and_the_shortest_life() {
    let mut longer = rule("longer", "/a", "read");
    longer.lifetime = Some(Lifetime::from_minutes(4));
    let mut shorter = rule("shorter", "/a", "write");
    shorter.lifetime = Some(Lifetime::from_minutes(2));
    let elsewhere = RuleSettings { resource: "search".to_owned(), ..rule("elsewhere", "/a", "read") };
    let policy = given(vec![longer, shorter, elsewhere, rule("another path", "/b", "read")]).policy();
    let grant = decide(&policy, A, &ask("orders")).unwrap();
    assert_eq!(grant.scopes().to_string(), "read write");
    assert_eq!(grant.lifetime(), Lifetime::from_minutes(2));
    assert_eq!(grant.rules().iter().map(|name| &**name).collect::<Vec<_>>(), ["longer", "shorter"]);
    // A rule never makes the resource's own life longer.
    let mut long = rule("long", "/a", "read");
    long.lifetime = Some(Lifetime::from_hours(1));
    let grant = decide(&given(vec![long]).policy(), A, &ask("orders")).unwrap();
    assert_eq!(grant.lifetime(), Lifetime::from_minutes(5));
}

#[test]
fn rules_that_observe_grant_nothing_and_are_named() {
    let observing = RuleSettings {
        mode: Mode::Observe,
        alias: Some("old".to_owned()),
        default: true,
        ..rule("watch", "/a", "write")
    };
    let policy = given(vec![observing.clone()]).policy();
    assert_eq!(decide(&policy, A, &ask("orders")).unwrap_err(), "not_granted");
    assert_eq!(decide(&policy, A, &Ask::default()).unwrap_err(), "target_missing", "nor is it anybody's default");
    let aliased = Ask { client_id: Some("old".to_owned()), ..ask("orders") };
    assert_eq!(decide(&policy, A, &aliased).unwrap_err(), "client_id_mismatch", "nor does it give an alias");
    let policy = given(vec![observing, rule("grant", "/a", "read")]).policy();
    let mut trace = PolicyTrace::default();
    let grant = policy.decide(&caller(A, &[]), &ask("orders"), &mut trace).unwrap();
    assert_eq!(grant.scopes().to_string(), "read");
    assert_eq!((trace.rules, trace.observed), (vec!["grant".to_owned()], vec!["watch".to_owned()]));
}

#[test]
fn a_default_is_the_target_only_where_it_is_one_resource_at_05() {
    let default = |name: &str, resource: &str| RuleSettings {
        default: true,
        resource: resource.to_owned(),
        ..rule(name, "/a", "read")
    };
    let asks_nothing =
        |rules| decide(&given(rules).policy(), A, &Ask::default()).map(|grant| grant.resource().to_string());
    assert_eq!(asks_nothing(vec![rule("no default", "/a", "read")]), Err("target_missing"));
    assert_eq!(asks_nothing(vec![default("one", "search"), rule("two", "/a", "read")]), Ok("search".to_owned()));
    assert_eq!(asks_nothing(vec![default("one", "search"), default("two", "search")]), Ok("search".to_owned()));
    assert_eq!(asks_nothing(vec![default("one", "search"), default("two", "orders")]), Err("target_ambiguous"));
    let elsewhere = RuleSettings { from: rule("x", "/b", "read").from, ..default("one", "search") };
    assert_eq!(asks_nothing(vec![elsewhere, default("two", "orders")]), Ok("orders".to_owned()));
}

#[test]
fn client_id_is_the_id_or_an_alias_ca_04_at_10() {
    let aliased = |name: &str, alias: &str| RuleSettings { alias: Some(alias.to_owned()), ..rule(name, "/a", "read") };
    let policy = given(vec![aliased("one", "shop")]).policy();
    let with = |policy: &Policy, id: Option<&str>| {
        let ask = Ask { client_id: id.map(str::to_owned), ..ask("orders") };
        decide(policy, A, &ask).map(|grant| grant.client_id().to_owned())
    };
    assert_eq!(with(&policy, None), Ok("shop".to_owned()));
    assert_eq!(with(&policy, Some("shop")), Ok("shop".to_owned()));
    assert_eq!(with(&policy, Some(A)), Ok(A.to_owned()));
    for other in ["Shop", "sho", "shop ", "spiffe://prod.example/b", ""] {
        assert_eq!(with(&policy, Some(other)), Err("client_id_mismatch"), "{other:?}");
    }
    let policy = given(vec![aliased("one", "shop"), aliased("two", "market")]).policy();
    assert_eq!(with(&policy, None), Ok(A.to_owned()), "two aliases name nobody");
    assert_eq!(with(&policy, Some("market")), Ok("market".to_owned()));
    // An alias names identities, whichever resource they ask for.
    let elsewhere = RuleSettings { resource: "search".to_owned(), ..aliased("two", "market") };
    let policy = given(vec![aliased("one", "shop"), elsewhere]).policy();
    assert_eq!(with(&policy, Some("market")), Ok("market".to_owned()));
    assert_eq!(with(&policy, None), Ok("shop".to_owned()), "unasked, the granting rule's");
    // One alias for two sets of identities, and aliases that look like somebody's ID.
    let stolen = RuleSettings { alias: Some("shop".to_owned()), ..rule("two", "/b", "read") };
    assert_eq!(given(vec![aliased("one", "shop"), stolen]).refused().len(), 1);
    for alias in ["spiffe://prod.example/b", "SPIFFE:x", "", "two words", "ä", &"x".repeat(129)] {
        assert_eq!(given(vec![aliased("one", alias)]).refused().len(), 1, "{alias}");
    }
}

#[test]
fn a_missing_attribute_matches_nothing_and_a_source_is_not_another_nor_01() {
    let mut from = FromSettings { groups: vec![GroupName::parse("fleet").unwrap()], ..FromSettings::default() };
    from.attributes.insert(AttributeName::parse("namespace").unwrap(), vec!["shop".to_owned(), "bank".to_owned()]);
    let both = from.clone();
    let policy = given(vec![RuleSettings { from, ..rule("shop", "/a", "read") }]).policy();
    let decide = |policy: &Policy, id: &str, attributes: &[(&str, &str)]| {
        policy.decide(&caller(id, attributes), &ask("orders"), &mut PolicyTrace::default()).is_ok()
    };
    assert!(decide(&policy, A, &[("namespace", "shop")]));
    assert!(decide(&policy, "spiffe://edge.example/a", &[("namespace", "bank")]));
    for namespace in ["Shop", "shop2", "sho", "", "*", "shop,bank"] {
        assert!(!decide(&policy, A, &[("namespace", namespace)]), "{namespace:?}");
    }
    assert!(!decide(&policy, A, &[]));
    assert!(!decide(&policy, A, &[("service_account", "shop")]));
    let only = FromSettings { groups: Vec::new(), sources: vec![SourceName::parse("edge").unwrap()], ..both };
    let policy = given(vec![RuleSettings { from: only, ..rule("shop", "/a", "read") }]).policy();
    assert!(!decide(&policy, A, &[("namespace", "shop")]), "another source");
}

#[test]
fn all_that_a_rule_names_must_match() {
    let mut narrow = rule("narrow", "/a", "read");
    narrow.from.attributes.insert(AttributeName::parse("namespace").unwrap(), vec!["shop".to_owned()]);
    let policy = given(vec![narrow]).policy();
    let decide = |id: &str, attributes: &[(&str, &str)]| {
        policy.decide(&caller(id, attributes), &ask("orders"), &mut PolicyTrace::default()).is_ok()
    };
    assert!(decide(A, &[("namespace", "shop")]));
    assert!(!decide(A, &[("namespace", "bank")]));
    assert!(!decide("spiffe://prod.example/b", &[("namespace", "shop")]));
}

#[test]
fn targets_are_compared_exactly_ri_05_and_scopes_are_never_dropped_tok_17() {
    let policy = given(vec![rule("one", "/a", "read")]).policy();
    let with = |resource: Option<&str>, audience: Option<&str>, scopes: Option<&str>| {
        let ask = Ask {
            resource: resource.map(str::to_owned),
            audience: audience.map(str::to_owned),
            scopes: scopes.map(|text| ScopeSet::parse(text).unwrap()),
            ..Ask::default()
        };
        decide(&policy, A, &ask).map(|grant| grant.scopes().to_string())
    };
    let read = || Ok("read".to_owned());
    let orders = "https://orders.example";
    assert_eq!(with(Some(orders), None, None), read());
    assert_eq!(with(Some(orders), Some("orders"), None), read());
    assert_eq!(with(None, Some(orders), Some("read")), read());
    assert_eq!(with(Some("orders"), None, None), Err("target_denied"), "a name is no resource value");
    assert_eq!(with(Some(orders), Some("search"), None), Err("target_denied"));
    assert_eq!(with(Some("https://orders.example/"), None, None), Err("target_denied"));
    assert_eq!(with(Some(orders), None, Some("write")), Err("scope_denied"));
    assert_eq!(with(Some(orders), None, Some("read write")), Err("scope_denied"));
    assert_eq!(with(Some(orders), None, Some("admin")), Err("scope_denied"));
    assert_eq!(with(Some("https://search.example"), None, None), Err("not_granted"));
}

#[test]
fn a_refusal_names_no_rule_and_nobody_else() {
    let secret = RuleSettings {
        alias: Some("hidden-alias".to_owned()),
        ..rule("the secret sentence", "/somebody/else", "write")
    };
    let policy = given(vec![secret, rule("mine", "/a", "read")]).policy();
    let scopes = Some(ScopeSet::parse("write").unwrap());
    for (id, ask) in [
        ("spiffe://prod.example/b", ask("orders")),
        ("spiffe://edge.example/somebody/else", ask("orders")),
        (A, Ask { scopes, ..ask("orders") }),
        (A, ask("order")),
        (A, Ask { client_id: Some("x".to_owned()), ..ask("orders") }),
        (A, Ask::default()),
    ] {
        let refusal = policy.decide(&caller(id, &[]), &ask, &mut PolicyTrace::default()).unwrap_err();
        for hidden in ["secret", "somebody", "hidden-alias", "mine"] {
            let own = id.contains(hidden);
            assert!(own || !refusal.to_caller().contains(hidden), "{}", refusal.to_caller());
        }
    }
}

#[test]
fn rules_that_could_only_be_mistakes_are_refused_sca_18_sca_19_nor_03() {
    let changed = |change: fn(&mut RuleSettings)| {
        let mut one = rule("one", "/a", "read");
        change(&mut one);
        given(vec![one]).refused()
    };
    type Mistake = (&'static str, fn(&mut RuleSettings));
    let cases: [Mistake; 12] = [
        ("a star inside a segment", |rule| rule.from.paths = vec!["/a*".to_owned()]),
        ("a whole trust domain", |rule| rule.from.paths = vec!["/*".to_owned()]),
        ("no subject", |rule| rule.from.paths.clear()),
        ("everyone and a path", |rule| rule.from.everyone = true),
        ("no source", |rule| rule.from.sources.clear()),
        ("a source that is not there", |rule| rule.from.sources = vec![SourceName::parse("other").unwrap()]),
        ("a group that is not there", |rule| rule.from.groups = vec![GroupName::parse("other").unwrap()]),
        ("an attribute that the source never gives", |rule| {
            rule.from.attributes.insert(AttributeName::parse("cluster").unwrap(), vec!["x".to_owned()]);
        }),
        ("an attribute without values", |rule| {
            rule.from.attributes.insert(AttributeName::parse("namespace").unwrap(), Vec::new());
        }),
        ("a star in an attribute", |rule| {
            rule.from.attributes.insert(AttributeName::parse("namespace").unwrap(), vec!["*".to_owned()]);
        }),
        ("a resource that is not there", |rule| rule.resource = "nothing".to_owned()),
        ("a scope that the resource does not have", |rule| rule.scopes = ScopeSet::parse("read admin").unwrap()),
    ];
    for (name, change) in cases {
        assert_eq!(changed(change).len(), 1, "{name}");
    }
    let mut everyone = rule("one", "/a", "read");
    everyone.from.paths.clear();
    everyone.from.everyone = true;
    assert!(decide(&given(vec![everyone]).policy(), "spiffe://prod.example/anybody", &ask("orders")).is_ok());
    assert_eq!(given(vec![rule("one", "/a", "read"), rule("one", "/b", "read")]).refused().len(), 1, "two of one name");
}

#[test]
fn no_resource_has_our_issuer_or_a_source_s_audience_as_its_own() {
    let mut ours = given(vec![rule("one", "/a", "read")]);
    ours.resources[1].audience = crate::identity::Audience::parse("https://id.example").unwrap();
    assert_eq!(ours.refused().len(), 1);
    let mut theirs = given(vec![rule("one", "/a", "read")]);
    theirs.sources[1].audiences = Some(BTreeSet::from(["https://search.example".to_owned()]));
    assert_eq!(theirs.refused().len(), 1);
}

#[test]
fn tests_of_the_configuration_are_answered_by_the_policy() {
    let mut asked = given(vec![rule("one", "/a", "read")]);
    let test = |id: &str, resource: &str, expect: Expectation| TestSettings {
        caller: TestCaller::Id(SpiffeId::parse(id).unwrap()),
        via: None,
        resource: resource.to_owned(),
        scopes: None,
        expect,
    };
    let refuse = |code: &str| Expectation::Refuse(Reason::from_code(code).unwrap());
    asked.tests = vec![
        test(A, "orders", Expectation::Allow),
        test("spiffe://prod.example/b", "orders", refuse("not_granted")),
        test(A, "https://nothing.example", refuse("target_denied")),
    ];
    drop(asked.policy());
    asked.tests = vec![
        test(A, "orders", refuse("not_granted")),
        test("spiffe://prod.example/b", "orders", Expectation::Allow),
        test("spiffe://prod.example/b", "orders", refuse("target_denied")),
        test("spiffe://nobody.example/b", "orders", Expectation::Allow),
    ];
    assert_eq!(asked.refused().len(), 4);
}
