//! What holds for every policy: rules only add, `require` only binds, and no token outlives what it rests on.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::identity::{Confirmation, IdentityTemplate, Scope, VerifiedSubject};
use crate::trust::Reuse;
use crate::verify::{Binding, Parties, Subject, VerifiedIdentity};

const CALLERS: [&str; 4] = [
    "spiffe://prod.example/ns/shop/sa/api",
    "spiffe://prod.example/ns/shop/sa/orders",
    "spiffe://prod.example/ns/other/sa/api",
    "spiffe://edge.example/ns/shop/sa/api",
];
const PATHS: [&str; 5] = ["/ns/shop/sa/api", "/ns/shop/sa/*", "/ns/*/sa/api", "/ns/shop/*", "/ns/*/sa/orders"];
const SCOPES: [&str; 2] = ["read", "write"];

/// A rule that says nothing of binding, defaults and life.
fn plain_rule() -> impl Strategy<Value = RuleSettings> {
    let sources = subsequence(vec!["prod", "edge"], 1..=2);
    let whom = option::of(select(vec!["login", "edge", "fleet"]));
    let scopes = subsequence(SCOPES.to_vec(), 1..=2);
    (sources, select(PATHS.to_vec()), select(vec!["orders", "search"]), scopes, any::<bool>(), whom, any::<bool>())
        .prop_map(|(sources, path, resource, scopes, observes, whom, impersonate)| RuleSettings {
            from: FromSettings {
                sources: sources.into_iter().map(|name| SourceName::parse(name).unwrap()).collect(),
                paths: vec![path.to_owned()],
                ..FromSettings::default()
            },
            resource: resource.to_owned(),
            mode: if observes { Mode::Observe } else { Mode::Enforce },
            on_behalf_of: whom.map(|name| OnBehalfOf {
                subjects: vec![name.to_owned()],
                depth: 1,
                scopes: None,
                impersonate,
            }),
            ..rule("", path, &scopes.join(" "))
        })
}

/// A rule with any life, and one that may want a key.
fn any_rule() -> impl Strategy<Value = RuleSettings> {
    (plain_rule(), option::of(30_u32..40_000), any::<bool>()).prop_map(|(rule, seconds, bound)| RuleSettings {
        lifetime: seconds.map(Lifetime::from_seconds),
        require: if bound { Require::Bound } else { Require::Nothing },
        ..rule
    })
}

/// The policy of these rules, each under a name of its own.
fn policy(rules: &[RuleSettings], require: Require) -> Policy {
    let named = rules.iter().enumerate();
    let rules = named.map(|(place, rule)| RuleSettings { name: format!("rule {place}"), ..rule.clone() }).collect();
    let mut given = given(rules);
    given.resources[0].require = require;
    given.policy()
}

fn an_ask() -> impl Strategy<Value = Ask> {
    let scopes = option::of(subsequence(SCOPES.to_vec(), 1..=2));
    (option::of(select(vec!["orders", "search"])), scopes).prop_map(|(audience, scopes)| Ask {
        audience: audience.map(str::to_owned),
        scopes: scopes.map(|scopes| ScopeSet::parse(&scopes.join(" ")).unwrap()),
        ..Ask::default()
    })
}

fn a_subject() -> impl Strategy<Value = Option<Subject>> {
    let person = VerifiedSubject::Person { source: SourceName::parse("login").unwrap(), sub: "alice".to_owned() };
    let workload = VerifiedSubject::Workload(caller("spiffe://edge.example/w", &[]));
    (option::of(select(vec![person, workload])), 1_i64..100_000).prop_map(|(who, ends)| {
        who.map(|who| Subject {
            who,
            acted_by: Vec::new(),
            scopes: None,
            ends: Timestamp::from_seconds(NOW + ends),
            addressed_to: None,
            may_act: None,
            confirmation: None,
            rests_on: Vec::new(),
        })
    })
}

fn a_binding() -> impl Strategy<Value = Option<Binding>> {
    let certificate = (1_i64..100_000).prop_map(|ends| Binding {
        confirmation: Confirmation::Certificate("certificate".to_owned()),
        ends: Some(Timestamp::from_seconds(NOW + ends)),
    });
    let key = Just(Binding { confirmation: Confirmation::Key("key".to_owned()), ends: None });
    option::of(prop_oneof![certificate, key])
}

const NOW: i64 = 1_790_000_000;

/// Everything about a request but the policy.
#[derive(Debug)]
struct Asked {
    caller: usize,
    ends: i64,
    reuse: Reuse,
    subject: Option<Subject>,
    binding: Option<Binding>,
    ask: Ask,
}

fn asked() -> impl Strategy<Value = Asked> {
    let reuse = select(vec![Reuse::Allowed, Reuse::Once, Reuse::Bound]);
    (0..CALLERS.len(), 1_i64..100_000, reuse, a_subject(), a_binding(), an_ask())
        .prop_map(|(caller, ends, reuse, subject, binding, ask)| Asked { caller, ends, reuse, subject, binding, ask })
}

impl Asked {
    fn of(self, policy: &Policy) -> (Self, Result<Grant, Reason>) {
        let mut identity = caller(CALLERS[self.caller], &[]);
        identity.credential.expires_at = Timestamp::from_seconds(NOW + self.ends);
        let client = VerifiedIdentity::assumed(identity, self.reuse);
        let Self { subject, binding, .. } = self;
        let parties = Parties { client, actor: None, subject, binding };
        let granted = policy.evaluate(&parties, &self.ask, &mut PolicyTrace::default());
        let Parties { subject, binding, .. } = parties;
        (Self { subject, binding, ..self }, granted.map_err(|refusal| refusal.reason()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Adding one never removes a grant, so removing one never adds any.
    #[test]
    fn a_plain_rule_only_adds(
        rules in vec(plain_rule(), 0..6), more in plain_rule(), place in any::<prop::sample::Index>(), asked in asked(),
    ) {
        let (asked, before) = asked.of(&policy(&rules, Require::Nothing));
        let mut longer = rules;
        longer.insert(place.index(longer.len() + 1), more);
        let (_, after) = asked.of(&policy(&longer, Require::Nothing));
        if let Ok(before) = before {
            let after = after.map_err(|reason| TestCaseError::fail(format!("a rule more, and {reason}")))?;
            prop_assert_eq!(before.scopes().missing_from(after.scopes()).count(), 0);
            prop_assert_eq!(before.lifetime(), after.lifetime());
            prop_assert_eq!(before.confirmation(), after.confirmation());
            prop_assert_eq!(before.subject().to_string(), after.subject().to_string());
        }
    }

    /// With a rule that wants a key nobody gets a token that is bound less.
    #[test]
    fn a_rule_with_require_never_loosens(
        rules in vec(any_rule(), 0..6), more in any_rule(), of_resource in any::<bool>(), asked in asked(),
    ) {
        let require = if of_resource { Require::Bound } else { Require::Nothing };
        let (asked, before) = asked.of(&policy(&rules, require));
        let mut longer = rules;
        longer.push(RuleSettings { require: Require::Bound, ..more });
        let (asked, after) = asked.of(&policy(&longer, require));
        if let Ok(after) = after {
            match before {
                Ok(before) => {
                    prop_assert!(before.confirmation().is_none() || after.confirmation() == before.confirmation());
                }
                // What it adds is bound.
                Err(_) => prop_assert!(after.confirmation().is_some()),
            }
            if let Some(confirmation) = after.confirmation() {
                prop_assert_eq!(Some(confirmation), asked.binding.as_ref().map(|binding| &binding.confirmation));
            }
        }
    }

    /// The resource's life, each granting rule's, and every end that is known.
    #[test]
    fn no_token_outlives_a_cap(rules in vec(any_rule(), 1..6), asked in asked(), key_ends in 1_i64..100_000) {
        let policy = policy(&rules, Require::Nothing);
        let (asked, granted) = asked.of(&policy);
        let Ok(grant) = granted else { return Ok(()) };
        let (now, key_ends) = (Timestamp::from_seconds(NOW), Timestamp::from_seconds(NOW + key_ends));
        let ends = grant.ends(now, key_ends);
        let lives = policy.rules.iter().filter(|rule| grant.rules().contains(&rule.name)).filter_map(|rule| rule.lifetime);
        for life in lives.chain([Lifetime::from_minutes(5)]) {
            prop_assert!(ends <= now.plus(life));
        }
        prop_assert!(ends <= key_ends);
        prop_assert!(ends <= Timestamp::from_seconds(NOW + asked.ends));
        prop_assert!(asked.subject.is_none_or(|subject| ends <= subject.ends));
        let bound = asked.binding.filter(|_| grant.confirmation().is_some());
        prop_assert!(bound.and_then(|binding| binding.ends).is_none_or(|end| ends <= end));
    }

    /// What is written is what is read: IDs, patterns, templates, scopes.
    #[test]
    fn ids_and_patterns_are_read_as_they_are_written(
        domain in "[a-z0-9][a-z0-9._-]{0,20}", segments in vec("[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,8}", 1..6),
        stars in vec(any::<bool>(), 6), below in any::<bool>(),
    ) {
        let id = format!("spiffe://{domain}/{}", segments.join("/"));
        let read = SpiffeId::parse(&id).unwrap();
        prop_assert_eq!((read.to_string(), SpiffeId::parse(&read.to_string())), (id, Ok(read)));
        let put = |mark: &dyn Fn(usize) -> String| {
            let marked = segments.iter().enumerate().map(|(place, text)| match stars[place] {
                true => mark(place),
                false => text.clone(),
            });
            marked.map(|segment| format!("/{segment}")).collect::<String>()
        };
        let pattern = put(&|_| "*".to_owned()) + if below { "/*" } else { "" };
        if let Ok(read) = PathPattern::parse(&pattern) {
            prop_assert_eq!((read.to_string(), PathPattern::parse(&read.to_string())), (pattern, Ok(read)));
        }
        let template = put(&|place| format!("{{name{place}}}"));
        let read = PathTemplate::parse(&template).unwrap();
        prop_assert_eq!((read.to_string(), PathTemplate::parse(&read.to_string())), (template.clone(), Ok(read)));
        let template = format!("spiffe://{domain}{template}");
        if let Ok(read) = IdentityTemplate::parse(&template) {
            prop_assert_eq!((read.to_string(), IdentityTemplate::parse(&read.to_string())), (template, Ok(read)));
        }
    }

    #[test]
    fn scopes_are_read_as_they_are_written(scopes in vec("[!#-\\[\\]-~]{1,12}", 1..8)) {
        let read: ScopeSet = scopes.iter().map(|scope| Scope::parse(scope).unwrap()).collect();
        prop_assert_eq!(ScopeSet::parse(&read.to_string()), Ok(read));
        prop_assert_eq!(ScopeSet::parse(&scopes.join(" ")), Ok(scopes.iter().map(|scope| Scope::parse(scope).unwrap()).collect()));
    }
}
