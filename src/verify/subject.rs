//! From a platform's token to a verified subject: whose word a `…:jwt` is, and what it allows (RFC 8693 §3).
//!
//! The caller did not show it as its own: nothing here authenticates anybody. A token of ours is never taken under this name (TX-08).

use super::{Declared, Evidence, VerifiedIdentity, Verifier, refuse_claims, refuse_header};
use crate::clock::Timestamp;
use crate::credential::CompactJws;
use crate::identity::VerifiedSubject;
use crate::jose::{Header, Object, UnverifiedClaims};
use crate::reason::{Misshapen, Refusal};

/// A subject by the word of its platform.
#[derive(Debug)]
pub struct PlatformSubject {
    /// Who.
    pub who: VerifiedSubject,
    /// `jti` of its token, or the SHA-256 of its signing input.
    pub token_id: String,
    /// When its token ends.
    pub ends: Timestamp,
    /// `may_act`: who may act for it (RFC 8693 §4.4).
    pub may_act: Option<Object>,
}

impl Verifier<'_> {
    /// Verifies a subject token, or the assertion of a grant, by the rules of its platform. A `sub` that begins with `spiffe:` leads to
    /// its trust domain, every other one to the source that has its `iss`. It must be addressed to us as a credential would be.
    ///
    /// # Errors
    /// The first check that does not hold.
    pub async fn verify_subject_jwt(
        &self,
        jws: &CompactJws,
        evidence: &mut Evidence,
    ) -> Result<PlatformSubject, Refusal> {
        refuse_client_assertion(jws)?;
        let claims = UnverifiedClaims::read(jws).ok();
        let sub = claims.as_ref().and_then(UnverifiedClaims::unverified_subject).unwrap_or_default();
        // People come here: where `iss` is that of a source of `subjects:`, by their own rules.
        let declared = if sub.starts_with("spiffe:") { Declared::Svid } else { Declared::Federated };
        let (VerifiedIdentity { identity, .. }, claims) = self.jwt(jws, declared, evidence).await?;
        Ok(PlatformSubject {
            token_id: identity.credential.id.clone(),
            ends: identity.credential.expires_at,
            may_act: claims.optional_object("may_act").map_err(refuse_claims)?.cloned(),
            who: VerifiedSubject::Workload(identity),
        })
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
