//! Whether a token is an access token of ours, and what it says (RFC 9068 §4).
//!
//! Asked at a token exchange, at introspection and at revocation. Nothing of it authenticates a caller, and nothing here asks whether it was revoked.

use super::{Evidence, LONGEST_CHAIN, RESTS_ON, rests_on};
use crate::clock::Timestamp;
use crate::credential::CompactJws;
use crate::identity::{
    Assurance, AttributeName, Attributes, Audience, Confirmation, CredentialFacts, CredentialKind, Instance, IssuerUrl,
    KeyId, PERSON, ScopeSet, SourceName, SpiffeId, VerifiedSubject, WorkloadIdentity,
};
use crate::jose::{Candidates, ClaimFault, Header, KeySet, Object, UnverifiedClaims, VerifiedClaims, open};
use crate::reason::{Misshapen, Refusal, Unaccepted, Unverified, quoted};

/// The identity claims that a token has besides `source` and `kind` (NOR-08).
pub const FLAT_CLAIMS: [&str; 3] = ["cluster", "namespace", "service_account"];

/// An access token of ours, verified at one moment.
#[derive(Debug)]
pub struct OwnToken {
    /// `jti`.
    pub id: String,
    /// `sub`, with `source`, `kind` and the flat identity claims.
    pub subject: VerifiedSubject,
    /// `aud`.
    pub audience: Audience,
    /// `scope`.
    pub scopes: ScopeSet,
    /// `client_id`.
    pub client_id: String,
    /// `act`: who acts for the subject, newest first.
    pub acted_by: Vec<SpiffeId>,
    /// `may_act`, if the resource's claims have one.
    pub may_act: Option<Object>,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `nbf`.
    pub not_before: Timestamp,
    /// `exp`.
    pub expires_at: Timestamp,
    /// `cnf`: the key that it is bound to.
    pub confirmation: Option<Confirmation>,
    /// `rests_on`: the objects of clusters without which it does not count.
    pub rests_on: Vec<Instance>,
    /// The key of ours that signed it.
    pub key_id: KeyId,
}

impl OwnToken {
    /// Verifies a token by our own published keys: header, key, signature, `iss`, times, then its other claims.
    ///
    /// `keys` are those of [`crate::jose::KeySet`] that are published at `at`. There is no leeway for `exp`.
    ///
    /// # Errors
    /// A refusal without words of its own for whatever is not signed by us, and `token_expired` or
    /// `token_not_yet_valid` for what is.
    pub fn verify(
        jws: &CompactJws,
        keys: &KeySet,
        issuer: &IssuerUrl,
        at: Timestamp,
        evidence: &mut Evidence,
    ) -> Result<Self, Refusal> {
        evidence.fingerprint = Some(jws.fingerprint());
        let header = Header::read(jws).map_err(super::refuse_header)?;
        evidence.shown_key_id = header.key_id.as_ref().map(KeyId::to_string);
        let claims = UnverifiedClaims::read(jws).map_err(|fault| {
            Refusal::misshapen(Misshapen::CredentialMalformed, NOT_OURS, format!("the claims are no object: {fault}"))
        })?;
        evidence.shown_issuer = claims.unverified_issuer().map(str::to_owned);
        evidence.shown_subject = claims.unverified_subject().map(str::to_owned);
        if header.typ().is_none() || !header.typ_is_one_of(&["at+jwt", "JWT"]) {
            let note = format!("typ is {}, ours are at+jwt or JWT", quoted(header.typ().unwrap_or_default()));
            return Err(Refusal::misshapen(Misshapen::CredentialMalformed, NOT_OURS, note));
        }
        if claims.unverified_issuer() != Some(issuer.as_str()) {
            let shown = quoted(claims.unverified_issuer().unwrap_or_default());
            let note = format!("iss is {shown}: only tokens of ours are access tokens here");
            return Err(Refusal::unverified(Unverified::SourceUnknown, note));
        }
        let claims = opened(jws, &header, claims, keys, evidence)?;
        let key_id = header.key_id.ok_or_else(|| Refusal::internal("a token was opened without a key id"))?;
        let token = Self::read(&claims, key_id).map_err(|fault| {
            Refusal::unaccepted(Unaccepted::ClaimsInvalid, format!("This token is not usable here: {fault}."), "")
        })?;
        token.check_times(at)?;
        Ok(token)
    }

    fn check_times(&self, at: Timestamp) -> Result<(), Refusal> {
        if at >= self.expires_at {
            let sentence = format!("The token ended {} ago.", at.since(self.expires_at));
            return Err(Refusal::unaccepted(Unaccepted::TokenExpired, sentence, ""));
        }
        if at < self.not_before {
            let sentence = format!("The token is valid from {} in the future by our clock.", self.not_before.since(at));
            return Err(Refusal::unaccepted(Unaccepted::TokenNotYetValid, sentence, "our clock was set back"));
        }
        Ok(())
    }

    fn read(claims: &VerifiedClaims, key_id: KeyId) -> Result<Self, ClaimFault> {
        let time = |name| claims.time(name)?.ok_or(ClaimFault::Missing(name));
        let (issued_at, expires_at) = (time("iat")?, time("exp")?);
        let id = claims.text("jti")?.to_owned();
        let confirmation = claims.optional_object("cnf")?.map(confirmation).transpose()?;
        let credential =
            CredentialFacts { id: id.clone(), key_id: Some(key_id.clone()), issued_at: Some(issued_at), expires_at };
        Ok(Self {
            subject: subject(claims, credential, confirmation.clone())?,
            audience: audience(claims)?,
            scopes: match claims.optional_text("scope")? {
                None | Some("") => ScopeSet::default(),
                Some(text) => ScopeSet::parse(text).map_err(|_grammar| ClaimFault::Type("scope"))?,
            },
            client_id: claims.text("client_id")?.to_owned(),
            acted_by: claims.optional_object("act")?.map(actors).transpose()?.unwrap_or_default(),
            may_act: claims.optional_object("may_act")?.cloned(),
            issued_at,
            not_before: time("nbf")?,
            expires_at,
            confirmation,
            rests_on: rests_on::read(claims.get(RESTS_ON))?,
            id,
            key_id,
        })
    }
}

const NOT_OURS: &str = "This is no access token of ours.";

/// The key is named by `kid`, and is one of ours that is published now.
fn opened(
    jws: &CompactJws,
    header: &Header,
    claims: UnverifiedClaims,
    keys: &KeySet,
    evidence: &mut Evidence,
) -> Result<VerifiedClaims, Refusal> {
    let Some(key_id) = &header.key_id else {
        return Err(Refusal::unverified(Unverified::KeyUnknown, "no kid; every token of ours has one"));
    };
    let candidates = match keys.candidates(header) {
        Candidates::Try(keys) => keys,
        Candidates::OtherAlgorithm => {
            let note = format!("our key {key_id:?} is not for {}", header.algorithm);
            return Err(Refusal::unverified(Unverified::AlgorithmRefused, note));
        }
        Candidates::Unknown | Candidates::Ambiguous(_) => {
            let note = format!("key {} is none of ours that is published now", quoted(key_id.as_str()));
            return Err(Refusal::unverified(Unverified::KeyUnknown, note));
        }
    };
    let mut unopened = claims;
    for key in candidates {
        match open(jws, header, unopened, &key) {
            Ok(claims) => {
                evidence.key_id = key.key_id().cloned();
                evidence.key = Some(key.thumbprint().clone());
                evidence.algorithm = Some(header.algorithm);
                return Ok(claims);
            }
            Err((_invalid, claims)) => unopened = claims,
        }
    }
    let note = format!("our key {key_id:?} does not verify the signature");
    Err(Refusal::unverified(Unverified::SignatureInvalid, note))
}

fn audience(claims: &VerifiedClaims) -> Result<Audience, ClaimFault> {
    match claims.audiences()?.as_slice() {
        [only] => Audience::parse(only).map_err(|_no_uri| ClaimFault::Type("aud")),
        _ => Err(ClaimFault::Type("aud")),
    }
}

fn subject(
    claims: &VerifiedClaims,
    credential: CredentialFacts,
    confirmation: Option<Confirmation>,
) -> Result<VerifiedSubject, ClaimFault> {
    let source = SourceName::parse(claims.text("source")?).map_err(|_no_name| ClaimFault::Type("source"))?;
    let (sub, kind) = (claims.text("sub")?, claims.text("kind")?);
    if kind == PERSON {
        let named = sub.strip_prefix(source.as_str()).and_then(|rest| rest.strip_prefix('|'));
        let sub = named.ok_or(ClaimFault::Type("sub"))?.to_owned();
        return Ok(VerifiedSubject::Person { source, sub });
    }
    let mut attributes = Attributes::default();
    for name in FLAT_CLAIMS {
        if let (Some(value), Ok(name)) = (claims.optional_text(name)?, AttributeName::parse(name)) {
            attributes.insert(name, value);
        }
    }
    Ok(VerifiedSubject::Workload(WorkloadIdentity {
        id: SpiffeId::parse(sub).map_err(|_no_id| ClaimFault::Type("sub"))?,
        source,
        kind: CredentialKind::from_name(kind).ok_or(ClaimFault::Type("kind"))?,
        attributes,
        credential,
        assurance: confirmation.map_or(Assurance::Bearer, Assurance::Bound),
    }))
}

fn confirmation(cnf: &Object) -> Result<Confirmation, ClaimFault> {
    match (cnf.text("x5t#S256"), cnf.text("jkt")) {
        (Some(value), None) if cnf.names().count() == 1 => Ok(Confirmation::Certificate(value.to_owned())),
        (None, Some(value)) if cnf.names().count() == 1 => Ok(Confirmation::Key(value.to_owned())),
        _ => Err(ClaimFault::Type("cnf")),
    }
}

/// The chain of `act`, outermost first (RFC 8693 §4.1): each an identity and nothing else.
fn actors(act: &Object) -> Result<Vec<SpiffeId>, ClaimFault> {
    let mut chain = Vec::new();
    let mut next = Some(act);
    while let Some(act) = next {
        if chain.len() == LONGEST_CHAIN || act.names().any(|name| !matches!(name, "sub" | "act")) {
            return Err(ClaimFault::Type("act"));
        }
        let sub = act.text("sub").and_then(|sub| SpiffeId::parse(sub).ok());
        chain.push(sub.ok_or(ClaimFault::Type("act"))?);
        next = act.object("act");
        if next.is_none() && act.has("act") {
            return Err(ClaimFault::Type("act"));
        }
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::clock::Lifetime;
    use crate::jose::{Algorithm, KeyPurpose, SigningKey};

    const ISSUER: &str = "https://id.example";

    fn now() -> Timestamp {
        Timestamp::from_seconds(1_000_000)
    }

    fn claims() -> Map<String, Value> {
        let claims = json!({
            "iss": ISSUER, "sub": "spiffe://prod.example/a", "aud": "https://orders.example", "jti": "t1",
            "iat": 999_990, "nbf": 999_980, "exp": 1_000_100, "client_id": "shop", "scope": "read write",
            "source": "prod", "kind": "jwt_svid", "namespace": "shop",
            "act": { "sub": "spiffe://prod.example/c", "act": { "sub": "spiffe://prod.example/b" } },
            "cnf": { "jkt": "key" },
        });
        claims.as_object().cloned().unwrap()
    }

    fn verify(
        key: &SigningKey,
        published: &SigningKey,
        typ: &str,
        claims: &Map<String, Value>,
    ) -> Result<OwnToken, Refusal> {
        let document = json!({ "keys": [published.public_jwk()] }).to_string();
        let keys = KeySet::parse(document.as_bytes(), KeyPurpose::JwkSet).unwrap();
        let text = key.seal(typ, claims).unwrap().into_text().expose().clone();
        let issuer = IssuerUrl::parse(ISSUER).unwrap();
        OwnToken::verify(&CompactJws::parse(text).unwrap(), &keys, &issuer, now(), &mut Evidence::default())
    }

    fn spoiled(key: &SigningKey, name: &str, value: Value) -> String {
        let mut claims = claims();
        claims.insert(name.to_owned(), value);
        verify(key, key, "at+jwt", &claims).unwrap_err().reason().code().to_owned()
    }

    #[test]
    fn a_token_of_ours_is_read_whole() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        for typ in ["at+jwt", "JWT"] {
            let token = verify(&key, &key, typ, &claims()).unwrap();
            assert_eq!(token.subject.name(), "spiffe://prod.example/a");
            assert_eq!(
                token.acted_by.iter().map(SpiffeId::as_str).collect::<Vec<_>>(),
                ["spiffe://prod.example/c", "spiffe://prod.example/b"]
            );
            assert_eq!(token.confirmation, Some(Confirmation::Key("key".to_owned())));
            assert_eq!(token.scopes.to_string(), "read write");
            assert_eq!(token.expires_at, now().plus(Lifetime::from_seconds(100)));
        }
        let mut person = claims();
        person.extend([("sub".to_owned(), json!("login|a|b")), ("source".to_owned(), json!("login"))]);
        person.insert("kind".to_owned(), json!("person"));
        let who = verify(&key, &key, "at+jwt", &person).unwrap().subject;
        assert_eq!(who, VerifiedSubject::Person { source: SourceName::parse("login").unwrap(), sub: "a|b".to_owned() });
    }

    #[test]
    fn tx_09_what_others_signed_or_what_is_no_access_token_is_none_of_ours() {
        let (key, other) =
            (SigningKey::generate(Algorithm::ES256).unwrap(), SigningKey::generate(Algorithm::ES256).unwrap());
        let code = |outcome: Result<OwnToken, Refusal>| outcome.unwrap_err().reason().code();
        assert_eq!(code(verify(&other, &key, "at+jwt", &claims())), "key_unknown");
        assert_eq!(code(verify(&key, &key, "dpop+jwt", &claims())), "credential_malformed");
        assert_eq!(spoiled(&key, "iss", json!("https://other.example")), "source_unknown");
    }

    #[test]
    fn int_04_times_and_shapes_are_checked() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        assert_eq!(spoiled(&key, "exp", json!(1_000_000)), "token_expired");
        assert_eq!(spoiled(&key, "nbf", json!(1_000_001)), "token_not_yet_valid");
        let mut deep = json!({ "sub": "spiffe://prod.example/a" });
        for _ in 0..LONGEST_CHAIN {
            deep = json!({ "sub": "spiffe://prod.example/a", "act": deep });
        }
        for (name, value) in [
            ("aud", json!(["https://a.example", "https://b.example"])),
            ("sub", json!("alice")),
            ("kind", json!("person")),
            ("cnf", json!({ "jkt": "key", "x5t#S256": "other" })),
            ("cnf", json!({ "kid": "key" })),
            ("act", deep),
            ("act", json!({ "sub": "spiffe://prod.example/a", "exp": 1 })),
            ("act", json!({ "sub": "spiffe://prod.example/a", "act": "b" })),
            ("jti", json!(7)),
        ] {
            assert_eq!(spoiled(&key, name, value.clone()), "claims_invalid", "{name} {value}");
        }
    }
}
