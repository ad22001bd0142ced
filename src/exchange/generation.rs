//! One loaded configuration. A request uses exactly one from its first step to its last.

use std::fmt;

use super::{Grants, LimitSettings};
use crate::clock::Timestamp;
use crate::identity::{IssuerUrl, TrustDomain};
use crate::policy::Policy;
use crate::trust::TrustView;
use crate::verify::Verifier;

/// The name of a generation: the start of the SHA-256 of its configuration's text.
#[derive(Clone, PartialEq, Eq)]
pub struct GenerationId(String);

impl GenerationId {
    /// From the hash of all configuration files, in hexadecimal.
    pub fn from_hash(hash: &str) -> Self {
        Self(hash.chars().take(12).collect())
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sources, resources and policy that belong together.
#[derive(Debug)]
pub struct Generation {
    id: GenerationId,
    issuer: IssuerUrl,
    identity_domain: TrustDomain,
    trust: TrustView,
    policy: Policy,
    limits: LimitSettings,
    grants: Vec<Grants>,
    asks_for_nonces: bool,
}

impl Generation {
    /// Puts one together.
    pub const fn new(
        id: GenerationId,
        issuer: IssuerUrl,
        identity_domain: TrustDomain,
        trust: TrustView,
        policy: Policy,
        limits: LimitSettings,
        grants: Vec<Grants>,
    ) -> Self {
        Self { id, issuer, identity_domain, trust, policy, limits, grants, asks_for_nonces: false }
    }

    /// With nonces in proofs of possession, or without.
    #[must_use]
    pub const fn asking_for_nonces(mut self, asks: bool) -> Self {
        self.asks_for_nonces = asks;
        self
    }

    /// Whether a proof of possession must repeat a nonce of ours (RFC 9449 §8).
    pub const fn asks_for_nonces(&self) -> bool {
        self.asks_for_nonces
    }

    /// The grants that it serves.
    pub fn grants(&self) -> &[Grants] {
        &self.grants
    }

    /// What credentials are verified against at `at`.
    pub const fn verifier(&self, at: Timestamp) -> Verifier<'_> {
        Verifier {
            trust: &self.trust,
            issuer: &self.issuer,
            identity_domain: &self.identity_domain,
            token_endpoint: None,
            at,
        }
    }

    /// Its name.
    pub const fn id(&self) -> &GenerationId {
        &self.id
    }

    /// Our issuer identifier.
    pub const fn issuer(&self) -> &IssuerUrl {
        &self.issuer
    }

    /// The trust domain in which we name callers.
    pub const fn identity_domain(&self) -> &TrustDomain {
        &self.identity_domain
    }

    /// Its sources.
    pub const fn trust(&self) -> &TrustView {
        &self.trust
    }

    /// How many requests it takes.
    pub const fn limits(&self) -> &LimitSettings {
        &self.limits
    }

    /// Its rules.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }
}
