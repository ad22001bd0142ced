//! Whether the configured sources fit each other: one name once, one issuer for people or for workloads, one identity from one source.
//!
//! Reads no key and judges no credential.

use std::collections::BTreeSet;

use super::{IssuerKeys, SourceKind, SourceSettings, known_issuers, push_endpoint};
use crate::identity::{AttributeName, IssuerUrl, TrustDomain};
use crate::problem::{Place, Problem};

/// Compares the sources with each other: one name once, one trust domain once, no identity from two sources unless said so (NOR-02).
///
/// Places are `trust[i]…`. Keys in files are compared by [`super::check_key_files`].
pub fn check(
    sources: &[SourceSettings],
    subjects: &[SourceSettings],
    issuer: &IssuerUrl,
    identity_domain: &TrustDomain,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let place = Place::element("trust", index);
        check_one(source, &place, sources, identity_domain, &mut problems);
        for earlier in sources.iter().take(index) {
            check_pair(source, earlier, &place, identity_domain, &mut problems);
        }
        check_own_issuer(source, &place, issuer, &mut problems);
        check_push_audience(source, &place, sources, issuer, &mut problems);
    }
    for (index, subject) in subjects.iter().enumerate() {
        let place = Place::element("subjects", index);
        check_subject(subject, &place, sources, subjects.get(..index).unwrap_or_default(), &mut problems);
        check_own_issuer(subject, &place, issuer, &mut problems);
    }
    problems
}

/// Our own tokens are credentials nowhere but where design §4 says so, and their keys are never asked for.
fn check_own_issuer(source: &SourceSettings, place: &Place, issuer: &IssuerUrl, problems: &mut Vec<Problem>) {
    if source.kind.issuers().is_some_and(|issuers| issuers.contains(issuer.as_str())) {
        problems.push(Problem::new(
            place.clone(),
            format!("{issuer} is our own issuer, and what we sign is no credential of {}", source.name),
            "name the platform's issuer",
        ));
    }
}

/// A token that pushes keys is good for nothing else, and no other token pushes any (design §7).
fn check_push_audience(
    source: &SourceSettings,
    place: &Place,
    sources: &[SourceSettings],
    issuer: &IssuerUrl,
    problems: &mut Vec<Problem>,
) {
    let is_pushed =
        |other: &&SourceSettings| matches!(other.kind, SourceKind::Kubernetes { keys: IssuerKeys::Push { .. }, .. });
    for pushed in sources.iter().filter(is_pushed) {
        let audience = push_endpoint(issuer, &pushed.name);
        if source.audiences.as_ref().is_some_and(|audiences| audiences.contains(&audience)) {
            problems.push(Problem::new(
                place.clone().key("audiences"),
                format!(
                    "{audience} is the audience of tokens that push the keys of {}, and of nothing else",
                    pushed.name
                ),
                "name another audience",
            ));
        }
    }
}

/// People's names and issuers are their own: no token leads both to a caller and to a person (design §3).
fn check_subject(
    subject: &SourceSettings,
    place: &Place,
    sources: &[SourceSettings],
    earlier: &[SourceSettings],
    problems: &mut Vec<Problem>,
) {
    let name = subject.name.as_str();
    if earlier.iter().chain(sources).any(|other| other.name == subject.name)
        || sources.iter().flat_map(|source| &source.groups).any(|group| group.as_str() == name)
    {
        problems.push(Problem::new(
            place.key("name"),
            format!("{name} is also the name of a source, a group or other subjects"),
            "give it a name of its own: rules name all of them in on_behalf_of",
        ));
    }
    for source in sources.iter().filter(|source| source.shares_issuer_with(subject)) {
        problems.push(Problem::new(
            place.key("issuers"),
            format!("an issuer of {name} is also one of the source {}", source.name),
            "an issuer vouches for people or for workloads; a platform that signs for both needs two issuers",
        ));
    }
}

fn check_one(
    source: &SourceSettings,
    place: &Place,
    sources: &[SourceSettings],
    identity_domain: &TrustDomain,
    problems: &mut Vec<Problem>,
) {
    for named in &source.shares_identities_with {
        if *named == source.name || !sources.iter().any(|other| other.name == *named) {
            problems.push(Problem::new(
                place.key("shares_identities_with"),
                format!("there is no other source {named}"),
                "name sources of this file",
            ));
        }
    }
    match &source.kind {
        SourceKind::Spiffe { trust_domain, .. } => {
            if source.identity.is_some() {
                problems.push(Problem::new(
                    place.key("identity"),
                    "a SPIFFE source has no identity template: its callers bring their SPIFFE ID",
                    "remove it",
                ));
            }
            if trust_domain == identity_domain {
                problems.push(Problem::new(
                    place.key("spiffe").key("trust_domain"),
                    format!("{trust_domain} is also the identity_domain, in which we name callers ourselves"),
                    "set identity_domain to a name that no trust domain has",
                ));
            }
        }
        SourceKind::Kubernetes { .. } => {
            let needed = ["namespace", "service_account"];
            if let Some(template) = &source.identity {
                let names: Vec<&str> = template.names().map(AttributeName::as_str).collect();
                if needed.iter().any(|name| !names.contains(name)) || names.len() != needed.len() {
                    problems.push(Problem::new(
                        place.key("identity"),
                        "an identity template of a cluster has {namespace} and {service_account}, each once, and no other placeholder",
                        "for example spiffe://id.example/ns/{namespace}/sa/{service_account}",
                    ));
                }
            }
        }
        SourceKind::Oidc { claims, .. } => check_claims(source, claims, place, problems),
        SourceKind::People { .. } => {
            problems.push(Problem::new(place.clone(), "people are no callers", "their issuers stand under subjects"))
        }
    }
}

/// An identity is made of listed claims, and no caller has the identity of every other.
fn check_claims(source: &SourceSettings, claims: &BTreeSet<AttributeName>, place: &Place, problems: &mut Vec<Problem>) {
    let place = place.key("identity");
    let Some(template) = &source.identity else {
        problems.push(Problem::new(
            place,
            "an oidc source needs an identity template",
            "for example spiffe://id.example/ci/github/{repository_id}, of claims that never change hands",
        ));
        return;
    };
    let unlisted: Vec<String> =
        template.names().filter(|name| !claims.contains(name)).map(|name| format!("{{{name}}}")).collect();
    if !unlisted.is_empty() {
        problems.push(Problem::new(
            place.clone(),
            format!("{} is no listed claim", unlisted.join(", ")),
            "list it under oidc.claims",
        ));
    }
    if template.names().next().is_none() {
        problems.push(Problem::new(
            place.clone(),
            "without a placeholder everybody whom this issuer vouches for would be one identity",
            "name a claim that says which workload it is",
        ));
    }
    problems.extend(known_issuers::lint_template(source, template, &place));
}

fn check_pair(
    source: &SourceSettings,
    earlier: &SourceSettings,
    place: &Place,
    identity_domain: &TrustDomain,
    problems: &mut Vec<Problem>,
) {
    if source.name == earlier.name {
        problems.push(Problem::new(
            place.key("name"),
            format!("there are two sources {}", source.name),
            "give it a name of its own",
        ));
        return;
    }
    let agreed =
        source.shares_identities_with.contains(&earlier.name) || earlier.shares_identities_with.contains(&source.name);
    if agreed {
        return;
    }
    let templates = (source.identity_template(identity_domain), earlier.identity_template(identity_domain));
    let collide = match (&source.kind, &earlier.kind, templates) {
        (SourceKind::Spiffe { trust_domain: one, .. }, SourceKind::Spiffe { trust_domain: two, .. }, _) => one == two,
        (SourceKind::Spiffe { trust_domain, .. }, _, (_, Some(template)))
        | (_, SourceKind::Spiffe { trust_domain, .. }, (Some(template), _)) => template.trust_domain() == trust_domain,
        (_, _, (Some(one), Some(two))) => one.overlaps(&two),
        _ => false,
    };
    if collide {
        problems.push(Problem::new(
            place.clone(),
            format!("sources {} and {} could give one identity to two workloads", earlier.name, source.name),
            format!("give one of them another identity template, or, if they are the same workloads, shares_identities_with: [{}]", earlier.name),
        ));
    }
}
