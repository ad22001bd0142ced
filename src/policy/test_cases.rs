//! `tests:` of the configuration: the policy answers them at every load.
//!
//! A test makes up a caller of a configured source; it proves nothing about credentials.

use super::compile::PolicyInput;
use super::evaluate::PolicyTrace;
use super::settings::{Expectation, TestCaller, TestSettings};
use super::{Ask, Policy};
use crate::clock::Timestamp;
use crate::identity::{
    Assurance, AttributeName, Attributes, CredentialFacts, CredentialKind, SourceName, SpiffeId, WorkloadIdentity,
};
use crate::problem::{Place, Problem};
use crate::trust::{SourceKind, SourceSettings};

pub(super) fn run(policy: &Policy, input: &PolicyInput<'_>, problems: &mut Vec<Problem>) {
    for (index, test) in input.tests.iter().enumerate() {
        let place = Place::element("tests", index);
        let caller = match caller(test, input) {
            Ok(caller) => caller,
            Err((key, message, hint)) => {
                problems.push(Problem::new(place.key(key), message, hint));
                continue;
            }
        };
        // A test names its resource by name or audience, as `audience` does.
        let ask = Ask { audience: Some(test.resource.clone()), scopes: test.scopes.clone(), ..Ask::default() };
        let mut trace = PolicyTrace::default();
        let outcome = policy.decide(&caller, &ask, &mut trace);
        let (met, got) = match (&outcome, test.expect) {
            (Ok(_), Expectation::Allow) => (true, String::new()),
            (Ok(grant), Expectation::Refuse(_)) => (false, format!("allow, by rule {:?}", grant.rules())),
            (Err(refusal), Expectation::Refuse(reason)) => (
                refusal.reason() == reason,
                format!("{}: {} {}", refusal.reason(), refusal.to_caller(), refusal.to_operator()),
            ),
            (Err(refusal), Expectation::Allow) => {
                (false, format!("{}: {} {}", refusal.reason(), refusal.to_caller(), refusal.to_operator()))
            }
        };
        if !met {
            problems.push(Problem::new(
                place.key("expect"),
                format!("{} for {} gives {}", caller.id, test.resource, got.trim_end()),
                "change the rules, or what is expected of them",
            ));
        }
    }
}

type Fault = (&'static str, String, String);

/// The caller that a test describes, as its source would make it.
fn caller(test: &TestSettings, input: &PolicyInput<'_>) -> Result<WorkloadIdentity, Fault> {
    match &test.caller {
        TestCaller::Id(id) => {
            let source = source_of(id, test.via.as_ref(), input)?;
            Ok(identity(id.clone(), source, attributes_of(id, source, input)))
        }
        TestCaller::Attributes { source: name, path, attributes } => {
            let source = input.sources.iter().find(|source| source.name == *name);
            let source =
                source.ok_or_else(|| ("as", format!("there is no source {name}"), "name one of trust".to_owned()))?;
            let mut known = Attributes::default();
            for (name, value) in attributes {
                known.insert(name.clone(), value.as_str());
            }
            complete(&mut known, source);
            let id = match (&source.kind, path) {
                (SourceKind::Spiffe { trust_domain, .. }, Some(path)) => {
                    SpiffeId::parse(&format!("spiffe://{trust_domain}{path}")).ok()
                }
                (SourceKind::Spiffe { trust_domain, paths, .. }, None) => paths.iter().find_map(|template| {
                    crate::identity::IdentityTemplate::parse(&format!("spiffe://{trust_domain}{template}"))
                        .ok()?
                        .render(&known)
                        .ok()
                }),
                (SourceKind::Kubernetes { .. } | SourceKind::Oidc { .. } | SourceKind::People { .. }, _) => {
                    source.identity_template(input.identity_domain).and_then(|template| template.render(&known).ok())
                }
            };
            let id = id.ok_or_else(|| {
                let needed = match &source.kind {
                    SourceKind::Spiffe { .. } => "a path, or the attributes of one of its paths".to_owned(),
                    SourceKind::Kubernetes { .. } => "namespace and service_account".to_owned(),
                    SourceKind::Oidc { .. } | SourceKind::People { .. } => placeholders(source),
                };
                ("as", format!("no identity of source {name} is described"), format!("give {needed}"))
            })?;
            let mut all = attributes_of(&id, source, input);
            for (name, value) in known.iter() {
                all.insert(name.clone(), value);
            }
            Ok(identity(id, source, all))
        }
    }
}

fn source_of<'a>(
    id: &SpiffeId,
    via: Option<&SourceName>,
    input: &PolicyInput<'a>,
) -> Result<&'a SourceSettings, Fault> {
    let makes = |source: &&SourceSettings| match &source.kind {
        SourceKind::Spiffe { trust_domain, .. } => id.is_member_of(trust_domain),
        SourceKind::Kubernetes { .. } | SourceKind::Oidc { .. } | SourceKind::People { .. } => {
            source.identity_template(input.identity_domain).is_some_and(|template| {
                crate::identity::IdentityTemplate::parse(id.as_str()).is_ok_and(|own| own.overlaps(&template))
            })
        }
    };
    let fitting: Vec<&SourceSettings> =
        input.sources.iter().filter(makes).filter(|source| via.is_none_or(|via| source.name == *via)).collect();
    match fitting.as_slice() {
        [only] => Ok(only),
        [] => Err(("as", format!("no source makes {id}"), "check the trust domain, or via".to_owned())),
        _ => {
            let names: Vec<&str> = fitting.iter().map(|source| source.name.as_str()).collect();
            Err(("as", format!("{} make {id}", names.join(" and ")), "add via: <source>".to_owned()))
        }
    }
}

/// What an identity of this source is made of.
fn placeholders(source: &SourceSettings) -> String {
    let names = source.identity.iter().flat_map(crate::identity::IdentityTemplate::names);
    names.map(AttributeName::as_str).collect::<Vec<_>>().join(" and ")
}

fn complete(attributes: &mut Attributes, source: &SourceSettings) {
    let (name, value) = match &source.kind {
        SourceKind::Spiffe { trust_domain, .. } => ("trust_domain", trust_domain.as_str()),
        SourceKind::Kubernetes { .. } => ("cluster", source.name.as_str()),
        SourceKind::Oidc { .. } | SourceKind::People { .. } => return,
    };
    if let Ok(name) = AttributeName::parse(name) {
        attributes.insert(name, value);
    }
}

/// What an identity's own text says of it.
fn attributes_of(id: &SpiffeId, source: &SourceSettings, input: &PolicyInput<'_>) -> Attributes {
    let mut attributes = Attributes::default();
    complete(&mut attributes, source);
    match &source.kind {
        SourceKind::Spiffe { paths, .. } => {
            for (name, value) in paths.iter().find_map(|path| path.read(id)).into_iter().flatten() {
                attributes.insert(name.clone(), value);
            }
        }
        SourceKind::Kubernetes { .. } | SourceKind::Oidc { .. } | SourceKind::People { .. } => {
            let template = source.identity_template(input.identity_domain);
            let path = template.and_then(|template| {
                let text = template.to_string();
                let path = text.strip_prefix("spiffe://")?.split_once('/')?.1.to_owned();
                crate::identity::PathTemplate::parse(&format!("/{path}")).ok()
            });
            for (name, value) in path.iter().filter_map(|path| path.read(id)).flatten() {
                attributes.insert(name.clone(), value);
            }
        }
    }
    attributes
}

fn identity(id: SpiffeId, source: &SourceSettings, attributes: Attributes) -> WorkloadIdentity {
    WorkloadIdentity {
        id,
        source: source.name.clone(),
        kind: match source.kind {
            SourceKind::Spiffe { .. } => CredentialKind::JwtSvid,
            SourceKind::Kubernetes { .. } => CredentialKind::Kubernetes,
            SourceKind::Oidc { .. } | SourceKind::People { .. } => CredentialKind::Oidc,
        },
        attributes,
        credential: CredentialFacts {
            id: "test".to_owned(),
            key_id: None,
            issued_at: None,
            expires_at: Timestamp::MAX,
        },
        assurance: Assurance::Bearer,
    }
}
