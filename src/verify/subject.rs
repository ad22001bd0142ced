//! From a platform's token to a verified subject: whose word a `…:jwt` is, and what it allows (RFC 8693 §3).
//!
//! The caller did not show it as its own: nothing here authenticates anybody. A token of ours is never taken under this name (TX-08).

use super::{Declared, Evidence, Subject, VerifiedIdentity, Verifier, Vouched, person, refuse_claims, refuse_header};
use crate::clock::Timestamp;
use crate::credential::CompactJws;
use crate::identity::VerifiedSubject;
use crate::jose::{Header, UnverifiedClaims};
use crate::reason::{Misshapen, Refusal};

/// The token of a subject, verified.
#[derive(Debug)]
pub struct SubjectToken {
    /// Whom it names, and what it allows.
    pub subject: Subject,
    /// Its `jti`, or the SHA-256 of its signing input.
    pub id: String,
    /// When it was issued, if it says so.
    pub issued_at: Option<Timestamp>,
    /// The workload that a platform's token names: how often the token may be shown is its source's to say.
    pub workload: Option<VerifiedIdentity>,
}

/// The same, before its cluster is asked whether the workload lives.
#[derive(Debug)]
pub struct VouchedSubject {
    token: SubjectToken,
    workload: Option<Vouched>,
}

impl VouchedSubject {
    /// Whom it names.
    pub const fn who(&self) -> &VerifiedSubject {
        &self.token.subject.who
    }

    /// When it was issued, if it says so.
    pub const fn issued_at(&self) -> Option<Timestamp> {
        self.token.issued_at
    }

    /// As [`Vouched::alive`]. Of a person nobody is asked.
    ///
    /// # Errors
    /// As there.
    pub async fn alive(self) -> Result<SubjectToken, Refusal> {
        let Self { mut token, workload } = self;
        if let Some(vouched) = workload {
            let verified = vouched.alive().await?;
            token.subject.rests_on = verified.rests_on().into_iter().cloned().collect();
            token.workload = Some(verified);
        }
        Ok(token)
    }
}

impl Verifier<'_> {
    /// Verifies a subject token, or the assertion of a grant, by the rules of its platform. A `sub` that begins with `spiffe:` leads to
    /// its trust domain; every other one to the issuer of people, or else to the source, that has its `iss`. No issuer is both. It must
    /// be addressed to us as a credential would be, or to an audience of the issuer of people.
    ///
    /// # Errors
    /// The first check that does not hold.
    pub async fn verify_subject_jwt(
        &self,
        jws: &CompactJws,
        evidence: &mut Evidence,
    ) -> Result<VouchedSubject, Refusal> {
        refuse_client_assertion(jws)?;
        let claims = UnverifiedClaims::read(jws).ok();
        let sub = claims.as_ref().and_then(UnverifiedClaims::unverified_subject).unwrap_or_default();
        let issuer = claims.as_ref().and_then(UnverifiedClaims::unverified_issuer).unwrap_or_default();
        if !sub.starts_with("spiffe:") && !self.trust.people_of_issuer(issuer).is_empty() {
            return Ok(VouchedSubject { token: person::verify(self, jws, evidence).await?, workload: None });
        }
        let declared = if sub.starts_with("spiffe:") { Declared::Svid } else { Declared::Federated };
        let (vouched, claims) = self.jwt(jws, declared, evidence).await?;
        let identity = vouched.identity();
        let token = SubjectToken {
            id: identity.credential.id.clone(),
            issued_at: identity.credential.issued_at,
            subject: Subject {
                who: VerifiedSubject::Workload(identity.clone()),
                acted_by: Vec::new(),
                scopes: None,
                ends: identity.credential.expires_at,
                addressed_to: None,
                may_act: claims.optional_object("may_act").map_err(refuse_claims)?.cloned(),
                confirmation: None,
                rests_on: Vec::new(),
            },
            workload: None,
        };
        Ok(VouchedSubject { token, workload: Some(vouched) })
    }
}

/// A token whose type says that it authenticates a client is no word about a subject (CA-13, BCJ-10).
fn refuse_client_assertion(jws: &CompactJws) -> Result<(), Refusal> {
    let header = Header::read(jws).map_err(refuse_header)?;
    if header.typ() != Some("application/client-authentication+jwt") {
        return Ok(());
    }
    let sentence = "The typ of this JWT says that it authenticates a client, and speaks of no subject.";
    Err(Refusal::misshapen(Misshapen::CredentialMalformed, sentence, ""))
}
