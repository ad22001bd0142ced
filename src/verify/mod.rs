//! From what was shown to a verified identity.
//!
//! The only place that makes a [`VerifiedIdentity`]. The kind is what was declared; an unknown issuer causes no outbound call,
//! and no claim is believed before its signature.

mod audience;
mod certificate;
mod endpoint;
mod evidence;
mod federated;
mod find_key;
mod jwt_svid;
mod kubernetes;
mod liveness;
mod nonces;
mod oidc;
mod own_token;
mod parties;
pub mod person;
mod proof;
mod pusher;
pub mod rests_on;
mod subject;
mod validity;
mod x509_svid;

pub use certificate::{certificate_binding, x5t_s256};
pub use evidence::Evidence;
pub use liveness::Vouched;
pub use nonces::{NonceAge, Nonces};
pub use own_token::{FLAT_CLAIMS, OwnToken};
pub use parties::{Binding, LONGEST_CHAIN, Parties, Subject};
pub use proof::{ProvenKey, invalid as proof_invalid};
pub use rests_on::RESTS_ON;
pub use subject::{SubjectToken, VouchedSubject};

use crate::clock::Timestamp;
use crate::credential::{CompactJws, Shown};
use crate::identity::{CredentialFacts, CredentialKind, Instance, IssuerUrl, KeyId, TrustDomain, WorkloadIdentity};
use crate::jose::{Header, HeaderFault, UnverifiedClaims, VerifiedClaims};
use crate::reason::{Misshapen, Refusal, Unaccepted, Unverified, quoted};
use crate::trust::{Reuse, TrustView};

/// A caller whose credential was verified on this request, at one moment. It is no proof for any other request.
#[derive(Clone, Debug)]
pub struct VerifiedIdentity {
    identity: WorkloadIdentity,
    reuse: Reuse,
    rests_on: Option<Instance>,
}

impl VerifiedIdentity {
    /// Who it is.
    pub const fn identity(&self) -> &WorkloadIdentity {
        &self.identity
    }

    /// How often its source lets one credential be shown. Whether it was shown before is the store's to say.
    pub const fn reuse(&self) -> Reuse {
        self.reuse
    }

    /// The objects that its cluster said are there, where the cluster was asked.
    pub const fn rests_on(&self) -> Option<&Instance> {
        self.rests_on.as_ref()
    }
}

#[cfg(test)]
impl VerifiedIdentity {
    /// As if it had been verified, for tests of what comes after.
    pub(crate) const fn assumed(identity: WorkloadIdentity, reuse: Reuse) -> Self {
        Self { identity, reuse, rests_on: None }
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
    /// The URL of our token endpoint, where it is an audience too: for the assertion of a grant, and for nothing else (CA-16).
    pub token_endpoint: Option<&'a str>,
    /// Now.
    pub at: Timestamp,
}

impl Verifier<'_> {
    /// Verifies a credential: shape, source, key, signature, then claims. `evidence` keeps what became known on the way.
    ///
    /// Waits at most one second for a key id that a source may be asked for. Does not look at what the caller wants, and does not
    /// ask whether it lives: [`Vouched::alive`] does.
    ///
    /// # Errors
    /// The first check that does not hold.
    pub async fn verify(&self, shown: &Shown, evidence: &mut Evidence) -> Result<Vouched, Refusal> {
        match shown {
            Shown::JwtSvid(jws) => Ok(self.jwt(jws, Declared::Svid, evidence).await?.0),
            Shown::Federated(jws) => Ok(self.jwt(jws, Declared::Federated, evidence).await?.0),
            Shown::X509Svid(chain) => x509_svid::verify(self, chain, evidence),
        }
    }

    async fn jwt(
        &self,
        jws: &CompactJws,
        declared: Declared,
        evidence: &mut Evidence,
    ) -> Result<(Vouched, VerifiedClaims), Refusal> {
        evidence.kind = Some(declared.kind());
        let (header, claims) = shown(jws, declared.types(), evidence)?;
        let sources = match declared {
            Declared::Svid => jwt_svid::route(self.trust, &claims)?,
            Declared::Federated => {
                let sources = federated::route(self.trust, &claims)?;
                evidence.kind = Some(federated::kind_of(sources));
                sources
            }
        };
        let opened = find_key::open_with(sources, jws, &header, claims, self.at, evidence).await?;
        let identity = match declared {
            Declared::Svid => jwt_svid::accept(self, &opened, evidence)?,
            Declared::Federated => {
                evidence.kind = Some(federated::kind_of(std::slice::from_ref(&opened.source)));
                federated::accept(self, &opened, evidence)?
            }
        };
        Ok((Vouched::by_token(&opened, jws, identity)?, opened.claims))
    }
}

/// Reads header and claims of a JWT, believes nothing, and notes what was shown.
fn shown(jws: &CompactJws, types: &[&str], evidence: &mut Evidence) -> Result<(Header, UnverifiedClaims), Refusal> {
    evidence.fingerprint = Some(jws.fingerprint());
    let header = Header::read(jws).map_err(refuse_header)?;
    evidence.shown_key_id = header.key_id.as_ref().map(KeyId::to_string);
    let claims = UnverifiedClaims::read(jws).map_err(|fault| {
        let note = format!("the claims are not a JSON object: {fault}");
        Refusal::misshapen(Misshapen::CredentialMalformed, NOT_A_JWT, note)
    })?;
    evidence.shown_issuer = claims.unverified_issuer().map(str::to_owned);
    evidence.shown_subject = claims.unverified_subject().map(str::to_owned);
    refuse_other_types(&header, types)?;
    Ok((header, claims))
}

/// What a JWT was declared as.
#[derive(Clone, Copy)]
enum Declared {
    Svid,
    Federated,
}

impl Declared {
    /// For the record, until its source is known.
    const fn kind(self) -> CredentialKind {
        match self {
            Self::Svid => CredentialKind::JwtSvid,
            Self::Federated => CredentialKind::Kubernetes,
        }
    }

    const fn types(self) -> &'static [&'static str] {
        match self {
            Self::Svid => &["JWT", "JOSE"],
            Self::Federated => &["JWT", "client-authentication+jwt"],
        }
    }
}

const NOT_A_JWT: &str = "This is no signed JWT in compact form.";

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
