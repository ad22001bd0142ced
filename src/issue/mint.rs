//! A grant becomes an access token (RFC 9068).
//!
//! Life is the least of resource, rules, credential and key. What was sealed is read back and compared with the grant before it leaves.

use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};

use super::{KeyRing, RingKey};
use crate::clock::{Lifetime, Timestamp};
use crate::credential::CompactJws;
use crate::entropy::Entropy;
use crate::identity::{Confirmation, IssuerUrl, PERSON, SpiffeId};
use crate::jose::{Sealed, parse_object};
use crate::policy::{Grant, GrantSubject};
use crate::reason::{Refusal, Unavailable};
use crate::secret::Secret;
use crate::verify::{FLAT_CLAIMS, RESTS_ON, rests_on};

/// Tokens are valid from a little before they were made, for verifiers whose clock is behind (design §4).
const NOT_BEFORE: Lifetime = Lifetime::from_seconds(10);

/// One signature in so many is checked by a second implementation; every one of RS256 (a fault in CRT signing gives the key away).
const CHECKED_ONE_IN: u64 = 1024;

/// An access token on its way out. No `Clone`, no `Display`: it is handed to one caller.
#[derive(Debug)]
pub struct AccessToken {
    text: Secret<String>,
    /// Its `jti`.
    pub id: String,
    /// Its `iat`.
    pub issued_at: Timestamp,
    /// Its `exp`.
    pub expires_at: Timestamp,
}

impl AccessToken {
    /// The compact JWS, for the answer and for nothing else.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }
}

/// Makes access tokens.
#[derive(Debug)]
pub struct Issuer {
    ring: Arc<KeyRing>,
    entropy: Arc<dyn Entropy>,
}

impl Issuer {
    /// An issuer that signs with the keys of that ring.
    pub fn new(ring: Arc<KeyRing>, entropy: Arc<dyn Entropy>) -> Self {
        Self { ring, entropy }
    }

    /// Where its unpredictable bytes come from.
    pub fn entropy(&self) -> &dyn Entropy {
        self.entropy.as_ref()
    }

    /// The keys.
    pub const fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Mints the token of a grant at `at`. Does not ask again whether the grant is right.
    ///
    /// # Errors
    /// `overloaded` when no signing key of that algorithm is active yet, else a fault of ours.
    pub fn mint(&self, issuer: &IssuerUrl, grant: &Grant, at: Timestamp) -> Result<AccessToken, Refusal> {
        let key = self.ring.active(grant.algorithm(), at).ok_or_else(|| {
            let note = format!("no signing key for {} is active at {at:?}", grant.algorithm());
            Refusal::unavailable(Unavailable::Overloaded, note, Lifetime::from_seconds(30))
        })?;
        // Whole seconds, as claims are written.
        let issued_at = Timestamp::from_seconds(at.seconds());
        let ends = grant.ends(at, key.retires_at());
        let expires_at = Timestamp::from_seconds(ends.seconds());
        if expires_at <= at {
            let note = format!("what it rests on, or the signing key, ends within the second: at {ends:?}");
            return Err(Refusal::unavailable(Unavailable::Overloaded, note, Lifetime::from_seconds(1)));
        }
        let id = self.token_id()?;
        let claims = claims(issuer, grant, &id, issued_at, expires_at);
        let sealed = key
            .signing_key()
            .seal(grant.typ().as_str(), &claims)
            .map_err(|fault| Refusal::internal(format!("signing failed: {fault}")))?;
        self.confirm(&key, &sealed)?;
        let text = distrust(sealed.into_text(), issuer, grant, ends, at)?;
        Ok(AccessToken { text, id, issued_at, expires_at })
    }

    fn token_id(&self) -> Result<String, Refusal> {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes).map_err(|why| Refusal::internal(why.to_string()))?;
        Ok(Base64UrlUnpadded::encode_string(&bytes))
    }

    /// A signature that does not verify takes its key out of use.
    fn confirm(&self, key: &RingKey, sealed: &Sealed) -> Result<(), Refusal> {
        let signing = key.signing_key();
        let before = key.counts();
        let due = signing.algorithm() == crate::jose::Algorithm::RS256 || before.is_multiple_of(CHECKED_ONE_IN);
        if !due || signing.is_confirmed(sealed) {
            return Ok(());
        }
        self.ring.take_out_of_use(signing.key_id());
        Err(Refusal::internal(format!("a signature of key {} did not verify; it is out of use", signing.key_id())))
    }
}

/// The claims of RFC 9068 §2.2, the flat identity claims (NOR-08), and the resource's own.
fn claims(
    issuer: &IssuerUrl,
    grant: &Grant,
    id: &str,
    issued_at: Timestamp,
    expires_at: Timestamp,
) -> Map<String, Value> {
    let mut claims: Map<String, Value> =
        grant.claims().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("iss", issuer.as_str().into());
    set("sub", grant.subject().to_string().into());
    set("aud", grant.audience().as_str().into());
    set("exp", expires_at.seconds().into());
    set("iat", issued_at.seconds().into());
    set("nbf", issued_at.minus(NOT_BEFORE).seconds().into());
    set("jti", id.into());
    set("client_id", grant.client_id().into());
    set("scope", grant.scopes().to_string().into());
    match grant.subject() {
        GrantSubject::Person { source, .. } => {
            set("source", source.as_str().into());
            set("kind", PERSON.into());
        }
        GrantSubject::Workload(workload) => {
            set("source", workload.source.as_str().into());
            set("kind", workload.kind.as_str().into());
            for name in FLAT_CLAIMS {
                if let Some(value) = workload.attributes.named(name) {
                    set(name, value.into());
                }
            }
        }
    }
    if let Some(act) = act(grant.actors()) {
        set("act", act);
    }
    if let Some(confirmation) = grant.confirmation() {
        set("cnf", serde_json::json!({ (confirmation.member()): confirmation.value() }));
    }
    if !grant.rests_on().is_empty() {
        set(RESTS_ON, rests_on::written(grant.rests_on()));
    }
    claims
}

/// The chain of actors, the newest outermost (RFC 8693 §4.1). Identities and nothing else.
pub fn act(actors: &[SpiffeId]) -> Option<Value> {
    actors.iter().rev().fold(None, |earlier, actor| {
        let mut act = Map::from_iter([("sub".to_owned(), Value::from(actor.as_str()))]);
        act.extend(earlier.map(|earlier| ("act".to_owned(), earlier)));
        Some(Value::Object(act))
    })
}

/// Issue, then distrust what was issued: the sealed bytes must say what the grant says, and no more. Gives them back if they do.
fn distrust(
    text: Secret<String>,
    issuer: &IssuerUrl,
    grant: &Grant,
    ends: Timestamp,
    at: Timestamp,
) -> Result<Secret<String>, Refusal> {
    let fault = |what: &str| Refusal::internal(format!("the sealed token contradicts its grant: {what}"));
    let jws = CompactJws::of(text).map_err(|_not_compact| fault("form"))?;
    let sealed = parse_object(jws.payload()).map_err(|_not_json| fault("claims"))?;
    let says = |name: &'static str, text: &str| if sealed.text(name) == Some(text) { Ok(()) } else { Err(fault(name)) };
    says("iss", issuer.as_str())?;
    says("sub", &grant.subject().to_string())?;
    says("aud", grant.audience().as_str())?;
    says("client_id", grant.client_id())?;
    says("scope", &grant.scopes().to_string())?;
    let mut sealed_act = sealed.object("act");
    for actor in grant.actors() {
        if sealed_act.and_then(|act| act.text("sub")) != Some(actor.as_str()) {
            return Err(fault("act"));
        }
        sealed_act = sealed_act.and_then(|act| act.object("act"));
    }
    if sealed_act.is_some() {
        return Err(fault("act"));
    }
    let bound = sealed.object("cnf").and_then(|cnf| cnf.text(grant.confirmation()?.member()));
    if bound != grant.confirmation().map(Confirmation::value) || sealed.has("cnf") != bound.is_some() {
        return Err(fault("cnf"));
    }
    if !rests_on::read(sealed.get(RESTS_ON)).is_ok_and(|read| read == grant.rests_on()) {
        return Err(fault(RESTS_ON));
    }
    let Some(crate::jose::Value::Number(exp)) = sealed.get("exp") else { return Err(fault("exp")) };
    let exp = crate::jose::numeric_date(exp).ok_or_else(|| fault("exp"))?;
    if exp > ends || exp <= at { Err(fault("exp")) } else { Ok(jws.into_text()) }
}
