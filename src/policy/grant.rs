//! The outcome of policy: what a token may say.
//!
//! Made only here, by [`super::Policy::evaluate`]; nothing later adds to it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::rule::{Resource, Rule};
use super::settings::{Require, TokenType};
use crate::clock::{Lifetime, Timestamp};
use crate::identity::{
    Audience, Confirmation, Instance, ResourceName, ScopeSet, SourceName, SpiffeId, VerifiedSubject, WorkloadIdentity,
};
use crate::jose::Algorithm;
use crate::verify::{Binding, Subject};

/// What policy allows one caller, on one request.
#[derive(Debug)]
pub struct Grant {
    pub(super) client: WorkloadIdentity,
    pub(super) client_id: String,
    pub(super) resource: Arc<Resource>,
    pub(super) scopes: ScopeSet,
    pub(super) lifetime: Lifetime,
    pub(super) rules: Vec<Arc<str>>,
    pub(super) require: Require,
    pub(super) binding: Option<Binding>,
    pub(super) behalf: Option<Behalf>,
    pub(super) rests_on: Vec<Instance>,
}

/// Whose token the caller showed besides its own credential.
#[derive(Debug)]
pub(super) struct Behalf {
    /// Who, unless it is the caller itself.
    who: Option<VerifiedSubject>,
    /// The chain of actors that the token names, newest first.
    actors: Vec<SpiffeId>,
    /// When the shown token ends.
    ends: Timestamp,
}

impl Behalf {
    /// The caller is the newest actor, and none is lost (TX-14); unless every granting rule lets the token be silent about it.
    pub(super) fn of(subject: &Subject, caller: &WorkloadIdentity, granting: &[&Arc<Rule>]) -> Self {
        if subject.is(caller) {
            return Self { who: None, actors: Vec::new(), ends: subject.ends };
        }
        let silent = |rule: &&Arc<Rule>| rule.on_behalf_of.as_ref().is_some_and(|delegation| delegation.impersonate);
        let impersonates = subject.acted_by.is_empty() && granting.iter().all(silent);
        let actors = match impersonates {
            true => Vec::new(),
            false => std::iter::once(&caller.id).chain(&subject.acted_by).cloned().collect(),
        };
        Self { who: Some(subject.who.clone()), actors, ends: subject.ends }
    }
}

impl Grant {
    /// The caller.
    pub const fn client(&self) -> &WorkloadIdentity {
        &self.client
    }

    /// Whom the token speaks of: the caller, or the workload or person that it acts for.
    pub fn subject(&self) -> GrantSubject<'_> {
        match self.behalf.as_ref().and_then(|behalf| behalf.who.as_ref()) {
            None => GrantSubject::Workload(&self.client),
            Some(VerifiedSubject::Workload(workload)) => GrantSubject::Workload(workload),
            Some(VerifiedSubject::Person { source, sub }) => GrantSubject::Person { source, sub },
        }
    }

    /// Who acts for the subject, newest first: the chain of `act`. Empty when nobody does, or the token is silent about it.
    pub fn actors(&self) -> &[SpiffeId] {
        self.behalf.as_ref().map_or(&[], |behalf| &behalf.actors)
    }

    /// `client_id` of the token.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// `aud` of the token.
    pub fn audience(&self) -> &Audience {
        &self.resource.settings.audience
    }

    /// The resource's name.
    pub fn resource(&self) -> &ResourceName {
        &self.resource.settings.name
    }

    /// `scope` of the token.
    pub const fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// Further claims that the resource wants.
    pub fn claims(&self) -> &BTreeMap<String, serde_json::Value> {
        &self.resource.settings.claims
    }

    /// The algorithm that signs it.
    pub fn algorithm(&self) -> Algorithm {
        self.resource.settings.algorithm
    }

    /// The header `typ`.
    pub fn typ(&self) -> TokenType {
        self.resource.settings.typ
    }

    /// Longest life by resource and rules.
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// The end of what the token rests on, which it does not outlive: the credential, a subject's token, the certificate that it is bound to.
    pub fn not_after(&self) -> Timestamp {
        let others =
            [self.binding.as_ref().and_then(|binding| binding.ends), self.behalf.as_ref().map(|shown| shown.ends)];
        others.into_iter().flatten().fold(self.client.credential.expires_at, std::cmp::Ord::min)
    }

    /// When a token that is made at `at` ends: the least of its longest life, of the end of what it rests on, and of that of the
    /// key that signs it.
    pub fn ends(&self, at: Timestamp, key_ends: Timestamp) -> Timestamp {
        at.plus(self.lifetime).min(self.not_after()).min(key_ends)
    }

    /// The key that the token is bound to: `cnf`.
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.binding.as_ref().map(|binding| &binding.confirmation)
    }

    /// The objects of clusters without which the token does not count, where their clusters are asked.
    pub fn rests_on(&self) -> &[Instance] {
        &self.rests_on
    }

    /// The rules that granted it.
    pub fn rules(&self) -> &[Arc<str>] {
        &self.rules
    }
}

/// Whom a token speaks of.
#[derive(Clone, Copy, Debug)]
pub enum GrantSubject<'a> {
    /// A workload.
    Workload(&'a WorkloadIdentity),
    /// A person, by the issuer that vouches and its `sub` there.
    Person {
        /// The name of the issuer under `subjects`.
        source: &'a SourceName,
        /// `sub` as that issuer gave it.
        sub: &'a str,
    },
}

impl fmt::Display for GrantSubject<'_> {
    /// `sub` of the token (design §3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(workload) => f.write_str(workload.id.as_str()),
            Self::Person { source, sub } => write!(f, "{source}|{sub}"),
        }
    }
}
