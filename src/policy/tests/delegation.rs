//! What the policy promises of acting for others.

use super::*;
use crate::identity::{Confirmation, Instance, VerifiedSubject};
use crate::jose::{Object, parse_object};
use crate::trust::Reuse;
use crate::verify::{Binding, LONGEST_CHAIN, Parties, Subject, VerifiedIdentity};

const API: &str = "spiffe://prod.example/ns/shop/sa/api";
const ORDERS: &str = "spiffe://prod.example/ns/shop/sa/orders";
const OLD: &str = "spiffe://prod.example/ns/shop/sa/old";

fn person() -> Subject {
    Subject {
        who: VerifiedSubject::Person { source: SourceName::parse("login").unwrap(), sub: "alice".to_owned() },
        acted_by: Vec::new(),
        scopes: None,
        ends: Timestamp::from_seconds(1_790_000_100),
        addressed_to: None,
        may_act: None,
        confirmation: None,
        rests_on: Vec::new(),
    }
}

fn on_behalf_of(subjects: &[&str]) -> OnBehalfOf {
    let subjects = subjects.iter().map(|name| (*name).to_owned()).collect();
    OnBehalfOf { subjects, depth: 1, scopes: None, impersonate: false }
}

/// The shop's API may read and write orders for people, and its owner serves them.
fn delegating(settings: OnBehalfOf) -> Given {
    let mut own = rule("own", "/ns/shop/sa/api", "read");
    own.alias = Some("shop".to_owned());
    let for_people =
        RuleSettings { on_behalf_of: Some(settings), ..rule("for people", "/ns/shop/sa/api", "read write") };
    let mut given = given(vec![own, for_people]);
    given.resources[0].served_by = Some(FromSettings {
        sources: vec![SourceName::parse("prod").unwrap()],
        paths: vec!["/ns/shop/sa/orders".to_owned()],
        ..FromSettings::default()
    });
    given
}

fn decide_as(
    id: &str,
    given: &Given,
    subject: &Subject,
    scope: Option<&str>,
    proof: Option<&Binding>,
) -> Result<Grant, String> {
    let ask = Ask {
        audience: Some("orders".to_owned()),
        scopes: scope.map(|scope| ScopeSet::parse(scope).unwrap()),
        ..Ask::default()
    };
    let decided = given.policy().decide_for(&caller(id, &[]), Some(subject), proof, &ask, &mut PolicyTrace::default());
    decided.map_err(|refusal| refusal.reason().code().to_owned())
}

fn decide(given: &Given, subject: &Subject) -> Result<Grant, String> {
    decide_as(API, given, subject, None, None)
}

fn ids(actors: &[SpiffeId]) -> Vec<&str> {
    actors.iter().map(SpiffeId::as_str).collect()
}

#[test]
fn tx_13_the_token_speaks_of_the_subject_and_names_who_acts() {
    let given = delegating(on_behalf_of(&["login"]));
    let grant = decide(&given, &person()).unwrap();
    assert_eq!(grant.subject().to_string(), "login|alice");
    assert_eq!(ids(grant.actors()), [API]);
    assert_eq!(grant.scopes().to_string(), "read write");
    assert_eq!(grant.client_id(), API);
    assert_eq!(grant.not_after(), Timestamp::from_seconds(1_790_000_100), "never longer than the subject's token");
}

#[test]
fn rules_for_others_and_rules_for_oneself_grant_nothing_to_each_other() {
    let given = delegating(on_behalf_of(&["edge"]));
    assert_eq!(decide(&given, &person()).err().as_deref(), Some("not_granted"));
    let grant = given.policy().decide(&caller(API, &[]), &ask("orders"), &mut PolicyTrace::default()).unwrap();
    assert_eq!(grant.scopes().to_string(), "read");
    let only_for_people = Given { rules: delegating(on_behalf_of(&["login"])).rules.split_off(1), ..given };
    let refused = only_for_people.policy().decide(&caller(API, &[]), &ask("orders"), &mut PolicyTrace::default());
    assert_eq!(refused.map_err(|refusal| refusal.reason().code()).err(), Some("not_granted"));
}

#[test]
fn subjects_are_named_by_source_or_group() {
    let workload = Subject { who: VerifiedSubject::Workload(caller("spiffe://edge.example/x", &[])), ..person() };
    for (names, granted) in [(&["edge"][..], true), (&["fleet"], true), (&["login", "edge"], true), (&["prod"], false)]
    {
        let given = delegating(on_behalf_of(names));
        assert_eq!(decide(&given, &workload).is_ok(), granted, "{names:?}");
    }
    let unknown = delegating(on_behalf_of(&["nobody"])).refused();
    assert_eq!(unknown, ["there is no source, group or issuer of people \"nobody\""]);
}

#[test]
fn tx_14_and_16_the_chain_grows_by_one_and_ends() {
    let earlier =
        |ids: &[&str]| Subject { acted_by: ids.iter().map(|id| SpiffeId::parse(id).unwrap()).collect(), ..person() };
    let given = delegating(OnBehalfOf { depth: 2, ..on_behalf_of(&["login"]) });
    assert_eq!(ids(decide(&given, &earlier(&[ORDERS])).unwrap().actors()), [API, ORDERS]);
    assert_eq!(decide(&given, &earlier(&[ORDERS, OLD])).err().as_deref(), Some("delegation_denied"));
    for depth in [0, 9] {
        let refused = delegating(OnBehalfOf { depth, ..on_behalf_of(&["login"]) }).refused();
        assert_eq!(refused, ["a chain has 1 to 8 actors, the caller included"]);
    }
}

#[test]
fn tx_15_who_acted_before_decides_nothing() {
    let given = delegating(OnBehalfOf { depth: 8, ..on_behalf_of(&["login"]) });
    let by_api = Subject { acted_by: vec![SpiffeId::parse(API).unwrap()], ..person() };
    assert_eq!(decide_as(OLD, &given, &by_api, None, None).err().as_deref(), Some("not_granted"));
}

#[test]
fn tx_19_scopes_only_shrink() {
    let given = delegating(OnBehalfOf { scopes: ScopeSet::parse("write").ok(), ..on_behalf_of(&["login"]) });
    assert_eq!(decide(&given, &person()).unwrap().scopes().to_string(), "write");
    assert_eq!(decide_as(API, &given, &person(), Some("read"), None).err().as_deref(), Some("scope_denied"));
    let reader = Subject { scopes: ScopeSet::parse("read other").ok(), ..person() };
    assert_eq!(decide(&given, &reader).err().as_deref(), Some("scope_denied"), "nothing is left");
    let given = delegating(on_behalf_of(&["login"]));
    assert_eq!(decide(&given, &reader).unwrap().scopes().to_string(), "read");
    assert_eq!(decide_as(API, &given, &reader, Some("read write"), None).err().as_deref(), Some("scope_denied"));
}

#[test]
fn tx_12_a_token_of_ours_is_exchanged_by_whom_it_was_made_for() {
    let given = delegating(on_behalf_of(&["login"]));
    let for_audience = |audience: &str| Subject { addressed_to: Some(audience.to_owned()), ..person() };
    assert!(decide(&given, &for_audience(API)).is_ok(), "its audience is the caller");
    assert_eq!(decide(&given, &for_audience("https://orders.example")).err().as_deref(), Some("delegation_denied"));
    // Who serves the resource is tied to it, and still needs a rule.
    let served = decide_as(ORDERS, &given, &for_audience("https://orders.example"), None, None);
    assert_eq!(served.err().as_deref(), Some("not_granted"));
    let elsewhere = decide_as(ORDERS, &given, &for_audience("https://search.example"), None, None);
    assert_eq!(elsewhere.err().as_deref(), Some("delegation_denied"));
    let policy = given.policy();
    assert!(policy.serves(&caller(ORDERS, &[]), "https://orders.example"));
    assert!(!policy.serves(&caller(API, &[]), "https://orders.example"));
    assert!(!policy.serves(&caller(ORDERS, &[]), "https://search.example"));
}

#[test]
fn tx_17_may_act_names_the_caller_or_refuses_it() {
    let given = delegating(on_behalf_of(&["login"]));
    let says = |text: &str| -> Option<Object> { Some(parse_object(text.as_bytes()).unwrap()) };
    for (text, granted) in [
        (r#"{"sub":"spiffe://prod.example/ns/shop/sa/api"}"#, true),
        (r#"{"sub":"spiffe://prod.example/ns/shop/sa/api","iss":"https://id.example"}"#, true),
        (r#"{"client_id":"spiffe://prod.example/ns/shop/sa/api"}"#, true),
        (r#"{"sub":"spiffe://prod.example/ns/shop/sa/other"}"#, false),
        (r#"{"sub":"spiffe://prod.example/ns/shop/sa/api","iss":"https://other.example"}"#, false),
        (r#"{"sub":"spiffe://prod.example/ns/shop/sa/api","role":"x"}"#, false),
        (r#"{"sub":["spiffe://prod.example/ns/shop/sa/api"]}"#, false),
        (r#"{"iss":"https://id.example"}"#, false),
        ("{}", false),
    ] {
        let decided = decide(&given, &Subject { may_act: says(text), ..person() });
        assert_eq!(decided.err().as_deref(), (!granted).then_some("delegation_denied"), "{text}");
    }
}

#[test]
fn tx_18_nobody_is_impersonated_unless_every_rule_says_so() {
    let silent = OnBehalfOf { impersonate: true, ..on_behalf_of(&["login"]) };
    let mut given = delegating(silent);
    let grant = decide(&given, &person()).unwrap();
    assert_eq!((grant.subject().to_string().as_str(), grant.actors().len()), ("login|alice", 0));
    given.rules.push(RuleSettings {
        on_behalf_of: Some(on_behalf_of(&["login"])),
        ..rule("and openly", "/ns/shop/sa/*", "read")
    });
    assert_eq!(ids(decide(&given, &person()).unwrap().actors()), [API]);
}

#[test]
fn tx_24_a_bound_subject_token_comes_with_its_key() {
    let given = delegating(on_behalf_of(&["login"]));
    let bound = Subject { confirmation: Some(Confirmation::Key("one".to_owned())), ..person() };
    let proof = |key: &str| Binding { confirmation: Confirmation::Key(key.to_owned()), ends: None };
    assert_eq!(decide(&given, &bound).err().as_deref(), Some("binding_required"));
    assert_eq!(decide_as(API, &given, &bound, None, Some(&proof("two"))).err().as_deref(), Some("binding_required"));
    assert!(decide_as(API, &given, &bound, None, Some(&proof("one"))).is_ok());
}

#[test]
fn a_token_of_ones_own_is_no_delegation_and_bounds_all_the_same() {
    let given = delegating(on_behalf_of(&["login"]));
    let own = Subject { who: VerifiedSubject::Workload(caller(API, &[])), ..person() };
    let grant = decide(&given, &own).unwrap();
    assert_eq!((grant.subject().to_string().as_str(), grant.actors().len()), (API, 0));
    assert_eq!(grant.scopes().to_string(), "read");
    assert_eq!(grant.not_after(), own.ends);
    let less = Subject { scopes: ScopeSet::parse("write").ok(), ..own };
    assert_eq!(decide(&given, &less).err().as_deref(), Some("scope_denied"));
}

#[test]
fn lim_04_a_token_rests_on_no_more_than_introspection_reads() {
    let given = delegating(on_behalf_of(&["login"]));
    let one = |uid: usize| Instance {
        source: SourceName::parse("eu1").unwrap(),
        namespace: "shop".to_owned(),
        service_account: crate::identity::Object { name: "api".to_owned(), uid: uid.to_string() },
        pod: None,
    };
    let evaluated = |subject: Subject, rests_on: usize| {
        let subject = Subject { rests_on: (0..rests_on).map(one).collect(), ..subject };
        let client = VerifiedIdentity::assumed(caller(API, &[]), Reuse::Allowed);
        let parties = Parties { client, actor: None, subject: Some(subject), binding: None };
        let evaluated = given.policy().evaluate(&parties, &ask("orders"), &mut PolicyTrace::default());
        evaluated.map(|grant| grant.rests_on().len()).map_err(|refusal| refusal.reason().code())
    };
    // A chain of others, and pods of one account that hand on a token of their own: no actor is added there.
    let own = || Subject { who: VerifiedSubject::Workload(caller(API, &[])), ..person() };
    for subject in [person, own] {
        assert_eq!(evaluated(subject(), LONGEST_CHAIN + 1), Ok(LONGEST_CHAIN + 1));
        assert_eq!(evaluated(subject(), LONGEST_CHAIN + 2), Err("delegation_denied"));
    }
}
