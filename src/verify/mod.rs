//! From what was shown to a verified identity.
//!
//! The only place that makes a [`VerifiedIdentity`]. The kind is what was declared; an unknown issuer causes no outbound call,
//! and no claim is believed before its signature.

mod audience;
mod evidence;
mod find_key;
mod jwt_svid;
mod kubernetes;
mod parties;
mod validity;

pub use evidence::Evidence;
pub use parties::{Binding, Parties, Subject};

use crate::clock::Timestamp;
use crate::credential::Shown;
use crate::identity::{CredentialFacts, IssuerUrl, KeyId, TrustDomain, WorkloadIdentity};
use crate::jose::{Header, HeaderFault, UnverifiedClaims, VerifiedClaims};
use crate::reason::{Misshapen, Refusal, Unaccepted, Unverified, quoted};
use crate::trust::TrustView;

/// A caller whose credential was verified on this request, at one moment. It is no proof for any other request.
#[derive(Clone, Debug)]
pub struct VerifiedIdentity(WorkloadIdentity);

impl VerifiedIdentity {
    /// Who it is.
    pub const fn identity(&self) -> &WorkloadIdentity {
        &self.0
    }
}

/// What a credential is verified against: one generation of trust, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Verifier<'a> {
    /// The sources.
    pub trust: &'a TrustView,
    /// Our issuer, the audience of credentials unless a source says otherwise.
    pub issuer: &'a IssuerUrl,
    /// The trust domain in which we name callers that have no SPIFFE ID.
    pub identity_domain: &'a TrustDomain,
    /// Now.
    pub at: Timestamp,
}

impl Verifier<'_> {
    /// Verifies a credential: shape, source, key, signature, then claims. `evidence` keeps what became known on the way.
    ///
    /// Waits at most one second, and only for a key id that a source may be asked for. Does not ask whether the workload
    /// is still alive, and does not look at what the caller wants.
    ///
    /// # Errors
    /// The first check that does not hold.
    pub async fn verify(&self, shown: &Shown, evidence: &mut Evidence) -> Result<VerifiedIdentity, Refusal> {
        let jws = shown.jws();
        evidence.fingerprint = Some(jws.fingerprint());
        let header = Header::read(jws).map_err(refuse_header)?;
        evidence.shown_key_id = header.key_id.as_ref().map(KeyId::to_string);
        let claims = UnverifiedClaims::read(jws).map_err(|fault| {
            Refusal::misshapen(
                Misshapen::CredentialMalformed,
                NOT_A_JWT,
                format!("the claims are not a JSON object: {fault}"),
            )
        })?;
        evidence.shown_issuer = claims.unverified_issuer().map(str::to_owned);
        evidence.shown_subject = claims.unverified_subject().map(str::to_owned);
        let identity = match shown {
            Shown::JwtSvid(_) => {
                evidence.kind = Some(crate::identity::CredentialKind::JwtSvid);
                refuse_other_types(&header, &["JWT", "JOSE"])?;
                let sources = jwt_svid::route(self.trust, &claims)?;
                let opened = find_key::open_with(sources, jws, &header, claims, self.at, evidence).await?;
                jwt_svid::accept(self, &opened, evidence)?
            }
            Shown::Federated(_) => {
                evidence.kind = Some(crate::identity::CredentialKind::Kubernetes);
                refuse_other_types(&header, &["JWT", "client-authentication+jwt"])?;
                let sources = kubernetes::route(self.trust, &claims)?;
                let opened = find_key::open_with(sources, jws, &header, claims, self.at, evidence).await?;
                kubernetes::accept(self, &opened, evidence)?
            }
        };
        Ok(VerifiedIdentity(identity))
    }
}

const NOT_A_JWT: &str = "client_assertion must be a signed JWT in compact form.";

fn refuse_header(fault: HeaderFault) -> Refusal {
    match fault {
        HeaderFault::Json(_) | HeaderFault::Type(_) => {
            Refusal::misshapen(Misshapen::CredentialMalformed, NOT_A_JWT, fault.to_string())
        }
        HeaderFault::Algorithm(_) | HeaderFault::Member(_) => {
            Refusal::unverified(Unverified::AlgorithmRefused, fault.to_string())
        }
    }
}

/// A token that says it is of another kind is not looked at (BCJ-10, JSV-03, CA-13).
fn refuse_other_types(header: &Header, allowed: &[&str]) -> Result<(), Refusal> {
    if header.typ_is_one_of(allowed) {
        return Ok(());
    }
    let note = format!("typ is {}, taken are none or {}", quoted(header.typ().unwrap_or_default()), allowed.join(", "));
    Err(Refusal::misshapen(
        Misshapen::CredentialMalformed,
        "The typ of this JWT says that it is not a credential of the declared kind.",
        note,
    ))
}

fn refuse_claims(fault: crate::jose::ClaimFault) -> Refusal {
    Refusal::unaccepted(Unaccepted::ClaimsInvalid, format!("Your platform token is not usable here: {fault}."), "")
}

/// The facts of a credential, for records and caps.
fn facts(claims: &VerifiedClaims, evidence: &Evidence, window: &validity::Window) -> Result<CredentialFacts, Refusal> {
    let jti = claims.optional_text("jti").map_err(refuse_claims)?;
    // An id is for records; one that is longer than any real one is replaced by the fingerprint.
    let id = jti.filter(|id| id.len() <= 256).map(str::to_owned).or_else(|| evidence.fingerprint.clone());
    Ok(CredentialFacts {
        id: id.unwrap_or_default(),
        key_id: evidence.key_id.clone(),
        issued_at: window.issued_at,
        expires_at: window.ends_at,
    })
}
