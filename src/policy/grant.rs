//! The outcome of policy: what a token may say.
//!
//! Made only here, by [`super::Policy::evaluate`]; nothing later adds to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rule::Resource;
use super::settings::TokenType;
use crate::clock::{Lifetime, Timestamp};
use crate::identity::{Audience, ResourceName, ScopeSet, WorkloadIdentity};
use crate::jose::Algorithm;

/// What policy allows one caller, on one request.
#[derive(Debug)]
pub struct Grant {
    pub(super) client: WorkloadIdentity,
    pub(super) client_id: String,
    pub(super) resource: Arc<Resource>,
    pub(super) scopes: ScopeSet,
    pub(super) lifetime: Lifetime,
    pub(super) rules: Vec<Arc<str>>,
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

    /// The end of the credential, which no token outlives.
    pub const fn not_after(&self) -> Timestamp {
        self.client.credential.expires_at
    }

    /// The rules that granted it.
    pub fn rules(&self) -> &[Arc<str>] {
        &self.rules
    }
}
