//! The outcome of policy: what a token may say.
//!
//! Made only here, by [`super::Policy::evaluate`]; nothing later adds to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rule::Resource;
use super::settings::{Require, TokenType};
use crate::clock::{Lifetime, Timestamp};
use crate::identity::{Audience, Confirmation, ResourceName, ScopeSet, SpiffeId, VerifiedSubject, WorkloadIdentity};
use crate::jose::Algorithm;
use crate::verify::Binding;

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
    /// Somebody else for whom the caller acts.
    pub(super) subject: Option<VerifiedSubject>,
    pub(super) actors: Vec<SpiffeId>,
    /// The end of the subject's token.
    pub(super) subject_ends: Option<Timestamp>,
}

impl Grant {
    /// The caller: the subject of the token, unless it acts for somebody else.
    pub const fn client(&self) -> &WorkloadIdentity {
        &self.client
    }

    /// Somebody else who is the subject of the token.
    pub const fn subject(&self) -> Option<&VerifiedSubject> {
        self.subject.as_ref()
    }

    /// `act` of the token: who acts for the subject, newest first. Empty when the caller acts for itself, and where a rule says that it
    /// impersonates.
    pub fn actors(&self) -> &[SpiffeId] {
        &self.actors
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

    /// The end of what the token rests on, which it does not outlive: the credential, the certificate that it is bound to, and the
    /// subject's token.
    pub fn not_after(&self) -> Timestamp {
        let bound = self.binding.as_ref().and_then(|binding| binding.ends);
        [bound, self.subject_ends].into_iter().flatten().fold(self.client.credential.expires_at, std::cmp::Ord::min)
    }

    /// The key that the token is bound to: `cnf`.
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.binding.as_ref().map(|binding| &binding.confirmation)
    }

    /// The rules that granted it.
    pub fn rules(&self) -> &[Arc<str>] {
        &self.rules
    }
}
