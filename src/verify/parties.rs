//! Everybody who takes part in a request, verified.

use crate::clock::Timestamp;
use crate::identity::{ScopeSet, VerifiedSubject, WorkloadIdentity};

use super::VerifiedIdentity;

/// The verified participants of one request.
#[derive(Debug)]
pub struct Parties {
    /// Who authenticated.
    pub client: VerifiedIdentity,
    /// Who acts, when it is not the client.
    pub actor: Option<VerifiedIdentity>,
    /// For whom it acts.
    pub subject: Option<Subject>,
    /// A key that the client proved to hold on this request.
    pub binding: Option<Binding>,
}

/// A verified subject of a delegation, with what its token allowed.
#[derive(Debug)]
pub struct Subject {
    /// Who.
    pub who: VerifiedSubject,
    /// Who acted for it before, newest first.
    pub acted_by: Vec<WorkloadIdentity>,
    /// The scopes of its token; `None` when it had none of ours.
    pub scopes: Option<ScopeSet>,
    /// When its token ends.
    pub ends: Timestamp,
}

/// A proof of possession. No door takes one yet, so there is no value of this type.
#[derive(Clone, Copy, Debug)]
pub enum Binding {}
