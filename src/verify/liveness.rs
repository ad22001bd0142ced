//! Whether what was verified still lives, where its source says that the cluster is asked (K8S-16, K8S-17).
//!
//! Asked after signature and claims hold, never before: junk costs no outbound call. Silence of the cluster is never the caller's fault.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::find_key::Opened;
use super::{VerifiedIdentity, Verifier, refuse_claims};
use crate::clock::Lifetime;
use crate::credential::CompactJws;
use crate::identity::{Instance, Object, WorkloadIdentity};
use crate::jose::VerifiedClaims;
use crate::reason::{Refusal, Unaccepted, Unavailable, Unverified};
use crate::secret::Secret;
use crate::trust::{Expected, Liveness, Reuse, Verdict};

/// How long a caller waits whose cluster cannot be asked now.
const RETRY: Lifetime = Lifetime::from_seconds(5);

/// A workload for which its source vouches, by signature and claims. Where its cluster is asked, it has not been asked yet: who is
/// revoked, or comes too often, is refused before that, and costs the cluster nothing.
#[derive(Debug)]
pub struct Vouched {
    identity: WorkloadIdentity,
    reuse: Reuse,
    question: Option<Question>,
}

/// What is asked of a cluster about a token.
#[derive(Debug)]
struct Question {
    liveness: Arc<Liveness>,
    token: Secret<String>,
    audiences: BTreeSet<String>,
    expected: Expected,
}

impl Vouched {
    /// By a token, whose cluster is to be asked where its source says so. For the token's own audiences, which were found good:
    /// those that a source takes are not always the whole of it (CA-16).
    pub(super) fn by_token(opened: &Opened, jws: &CompactJws, identity: WorkloadIdentity) -> Result<Self, Refusal> {
        let question = match opened.source.liveness() {
            None => None,
            Some(liveness) => Some(Question {
                liveness: Arc::clone(liveness),
                token: Secret::new("token", jws.whole().expose().clone()),
                audiences: opened.claims.audiences().map_err(refuse_claims)?.into_iter().map(str::to_owned).collect(),
                expected: expected(&opened.claims)?,
            }),
        };
        Ok(Self { identity, reuse: opened.source.settings.reuse, question })
    }

    /// By what no cluster knows.
    pub(super) const fn unasked(identity: WorkloadIdentity, reuse: Reuse) -> Self {
        Self { identity, reuse, question: None }
    }

    /// Who it is, if it lives.
    pub const fn identity(&self) -> &WorkloadIdentity {
        &self.identity
    }

    /// Asks the cluster for its word, where it is asked. Waits at most two seconds.
    ///
    /// # Errors
    /// `not_alive`, `audience_mismatch`, `subject_invalid` by the cluster's word, and `liveness_unavailable` without one.
    pub async fn alive(self) -> Result<VerifiedIdentity, Refusal> {
        let Self { identity, reuse, question } = self;
        let Some(Question { liveness, token, audiences, expected }) = question else {
            return Ok(VerifiedIdentity { identity, reuse, rests_on: None });
        };
        refuse(liveness.review(&token, &audiences, expected).await)?;
        let rests_on = Instance::of(&identity);
        Ok(VerifiedIdentity { identity, reuse, rests_on })
    }
}

impl Verifier<'_> {
    /// Whether the objects that a token of ours rests on are there still, all asked for at once: at most two seconds. Those of a
    /// source that is no longer configured, or no longer asked, are not asked for.
    ///
    /// # Errors
    /// `not_alive` when one is gone, `liveness_unavailable` when its cluster cannot be asked.
    pub async fn still_alive(&self, rests_on: &[Instance]) -> Result<(), Refusal> {
        let asked = rests_on.iter().filter_map(|instance| {
            let source = self.trust.sources().find(|source| source.settings.name == instance.source);
            Some((source?.liveness()?, instance))
        });
        let answers = asked.map(|(liveness, instance)| async move { refuse(liveness.objects(instance).await) });
        try_join_all(answers).await.map(drop)
    }
}

/// What the cluster should say, by the token's own verified claims.
fn expected(claims: &VerifiedClaims) -> Result<Expected, Refusal> {
    let platform = claims.optional_object("kubernetes.io").map_err(refuse_claims)?;
    let object = |kind: &str| {
        let object = platform.and_then(|platform| platform.object(kind))?;
        Object::of(object.text("name"), object.text("uid"))
    };
    Ok(Expected {
        username: claims.text("sub").map_err(refuse_claims)?.to_owned(),
        uid: object("serviceaccount").map(|account| account.uid).unwrap_or_default(),
        pod: object("pod"),
        node: object("node"),
        token_id: claims.optional_text("jti").map_err(refuse_claims)?.map(str::to_owned),
    })
}

fn refuse(verdict: Verdict) -> Result<(), Refusal> {
    Err(match verdict {
        Verdict::Alive => return Ok(()),
        Verdict::Gone(why) => Refusal::unaccepted(
            Unaccepted::NotAlive,
            "Your platform says that this token no longer counts: its pod or service account is gone, or it has ended there.",
            why,
        ),
        Verdict::OtherAudience { got, want } => Refusal::unaccepted(
            Unaccepted::AudienceMismatch,
            "Your platform does not say that this token is for us.",
            "TokenReview answers with none of the audiences that were asked for: an authenticator of the API server takes the \
             token and knows no audiences",
        )
        .comparing(got, want),
        Verdict::OtherUser { got, want } => Refusal::unverified(
            Unverified::SubjectInvalid,
            "TokenReview and the token contradict each other: is that the API server whose keys these are?",
        )
        .comparing(got, want),
        Verdict::Unchecked(why) | Verdict::Unknown(why) => Refusal::unavailable(Unavailable::LivenessUnavailable, why, RETRY),
    })
}
