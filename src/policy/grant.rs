//! The outcome of policy: what a token may say.
//!
//! Made only here, by [`super::Policy::evaluate`]; nothing later adds to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rule::Resource;
use super::settings::{Require, TokenType};
use crate::clock::{Lifetime, Timestamp};
use crate::identity::{Audience, Confirmation, ResourceName, ScopeSet, WorkloadIdentity};
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
}

impl Grant {
    /// The caller, who is the subject of the token.
    pub const fn client(&self) -> &WorkloadIdentity {
        &self.client
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

    /// The end of what the token rests on, which it does not outlive: the credential, and the certificate that it is bound to.
    pub fn not_after(&self) -> Timestamp {
        let ends = self.client.credential.expires_at;
        self.binding.as_ref().and_then(|binding| binding.ends).map_or(ends, |end| end.min(ends))
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
