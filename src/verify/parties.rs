//! Everybody who takes part in a request, verified.

use crate::clock::Timestamp;
use crate::identity::{Confirmation, Instance, ScopeSet, SpiffeId, VerifiedSubject, WorkloadIdentity};
use crate::jose::Object;

use super::VerifiedIdentity;

/// The longest chain of actors that a token of ours names (LIM-04). A rule may allow less, and none more.
pub const LONGEST_CHAIN: usize = 8;

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
    /// Who acted for it before, newest first: SPIFFE IDs of earlier callers.
    pub acted_by: Vec<SpiffeId>,
    /// The scopes of its token; `None` when it had none of ours.
    pub scopes: Option<ScopeSet>,
    /// When its token ends.
    pub ends: Timestamp,
    /// The audience of its token, where that is one of ours; a platform's token is addressed to us, or was refused.
    pub addressed_to: Option<String>,
    /// Who may act for it, as its token says (RFC 8693 §4.4).
    pub may_act: Option<Object>,
    /// The key that its token is bound to.
    pub confirmation: Option<Confirmation>,
    /// The objects of clusters that its token rests on.
    pub rests_on: Vec<Instance>,
}

impl Parties {
    /// The objects of clusters without which nothing that comes of this request may count: the caller's, and the subject's token's.
    pub fn rests_on(&self) -> Vec<Instance> {
        let mut all: Vec<Instance> = self.client.rests_on().into_iter().cloned().collect();
        for one in self.subject.iter().flat_map(|subject| &subject.rests_on) {
            if !all.contains(one) {
                all.push(one.clone());
            }
        }
        all
    }
}

impl Subject {
    /// Whether it is the caller itself: then nobody acts for anybody.
    pub fn is(&self, caller: &WorkloadIdentity) -> bool {
        matches!(&self.who, VerifiedSubject::Workload(workload) if workload.id == caller.id) && self.acted_by.is_empty()
    }
}

/// A key that the client proved to hold on this request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The key.
    pub confirmation: Confirmation,
    /// When it ends: a certificate's `notAfter`, which no token bound to it outlives (MTL-09).
    pub ends: Option<Timestamp>,
}

impl Binding {
    /// Whether the caller asked for a bound token by what it sent. A certificate is there on every connection of a mesh, and asks
    /// for nothing; a DPoP proof does (RFC 9449 §5).
    pub const fn is_asked_for(&self) -> bool {
        matches!(self.confirmation, Confirmation::Key(_))
    }
}
