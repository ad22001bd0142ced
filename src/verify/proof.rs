//! A DPoP proof is judged (RFC 9449 §4.3): for this method and endpoint, made just now, with our nonce where one is asked for.
//!
//! Proves a key, and says nothing about who holds it. That the proof was not shown before is the store's to say.

use super::nonces::{NonceAge, Nonces};
use super::{Binding, Verifier, endpoint};
use crate::clock::{Lifetime, Timestamp};
use crate::credential::Proof;
use crate::identity::Confirmation;
use crate::jose::{ClaimFault, VerifiedClaims, open_proof};
use crate::reason::{Denied, Refusal, quoted};

/// How old a proof may be: a proof is made for one request, and this is the time that a slow network and a retry need
/// ("relatively brief, on the order of seconds or minutes", RFC 9449 §11.1).
const OLDEST: Lifetime = Lifetime::from_seconds(60);
/// How far its maker's clock may be ahead of ours: what credentials have (design §4).
const AHEAD: Lifetime = Lifetime::from_seconds(30);
/// Bytes of a `jti`.
const LONGEST_ID: usize = 256;
/// The endpoints of ours take no other.
const METHOD: &str = "POST";

/// A proof that holds.
#[derive(Debug)]
pub struct ProvenKey {
    /// The key. It has no end of its own.
    pub binding: Binding,
    /// `jti`: what makes this proof another than every other one of its key.
    pub id: String,
    /// Until when this proof would be taken.
    pub until: Timestamp,
    /// Whether the nonce that it repeats is being replaced by the next.
    pub needs_next_nonce: bool,
}

impl Verifier<'_> {
    /// Judges a proof. `nonces` where proofs must repeat one.
    ///
    /// # Errors
    /// `proof_invalid`, `proof_nonce_needed`: then with the nonce to repeat.
    pub fn proof(&self, proof: &Proof, nonces: Option<&Nonces>) -> Result<ProvenKey, Refusal> {
        let opened = open_proof(&proof.jws).map_err(|fault| invalid(format!("{fault}.")))?;
        let claims = &opened.claims;
        let id = text(claims, "jti")?;
        if !(1..=LONGEST_ID).contains(&id.len()) || !id.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(invalid(format!("claim jti has 1 to {LONGEST_ID} printable ASCII characters.")));
        }
        let method = text(claims, "htm")?;
        if method != METHOD {
            return Err(invalid(format!("claim htm is {}, this request is {METHOD}.", quoted(method))));
        }
        self.check_endpoint(text(claims, "htu")?, proof.endpoints)?;
        let made = self.check_time(claims)?;
        let age = match nonces {
            None => NonceAge::Current,
            Some(nonces) => self.check_nonce(claims, nonces)?,
        };
        Ok(ProvenKey {
            binding: Binding { confirmation: Confirmation::Key(opened.key.to_string()), ends: None },
            id: id.to_owned(),
            // One past the last moment: a proof is not taken again in that very millisecond.
            until: made.plus(OLDEST).plus(Lifetime::from_millis(1)),
            needs_next_nonce: age == NonceAge::Last,
        })
    }

    fn check_endpoint(&self, htu: &str, endpoints: &[&str]) -> Result<(), Refusal> {
        let ours: Vec<String> = endpoints.iter().map(|path| self.issuer.endpoint(path)).collect();
        if endpoint::is_one_of(htu, ours.iter().map(String::as_str)) {
            return Ok(());
        }
        let wanted = ours.join(" or ");
        let sentence = format!("claim htu is {}, this endpoint is {wanted}.", quoted(htu));
        Err(invalid(sentence).comparing(quoted(htu), wanted))
    }

    /// Inside the window, with the nonce or without: the two bounds are independent, and the narrower one is what a thief has.
    fn check_time(&self, claims: &VerifiedClaims) -> Result<Timestamp, Refusal> {
        let made = claims.time("iat").and_then(|made| made.ok_or(ClaimFault::Missing("iat")));
        let made = made.map_err(|fault| invalid(format!("{fault}.")))?;
        if made > self.at.plus(AHEAD) {
            let ahead = made.since(self.at);
            return Err(invalid(format!("it is from {ahead} in the future by our clock; {AHEAD} are allowed.")));
        }
        if self.at > made.plus(OLDEST) {
            let age = self.at.since(made);
            return Err(invalid(format!(
                "it was made {age} ago; a proof is made for one request, and {OLDEST} are allowed."
            )));
        }
        Ok(made)
    }

    /// A nonce that we do not know is no fault: it may be from before a restart, or of another replica.
    fn check_nonce(&self, claims: &VerifiedClaims, nonces: &Nonces) -> Result<NonceAge, Refusal> {
        let sent = claims.optional_text("nonce").map_err(|fault| invalid(format!("{fault}.")))?;
        sent.and_then(|nonce| nonces.judge(nonce, self.at)).ok_or_else(|| {
            let sentence = "Make the proof again, with the nonce of the header DPoP-Nonce in it.";
            Refusal::denied(Denied::ProofNonceNeeded, sentence, "").with_nonce(nonces.at(self.at))
        })
    }
}

/// Its sender may hear what is wrong: a proof speaks of nobody else.
pub fn invalid(what: impl AsRef<str>) -> Refusal {
    Refusal::denied(Denied::ProofInvalid, format!("The DPoP proof is not usable: {}", what.as_ref()), "")
}

fn text<'c>(claims: &'c VerifiedClaims, name: &'static str) -> Result<&'c str, Refusal> {
    claims.text(name).map_err(|fault| invalid(format!("{fault}.")))
}
