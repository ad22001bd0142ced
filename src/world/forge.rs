//! Compact JWS made of any parts, so that a test can spoil one thing at a time.
//!
//! Never refuses a part: what comes out is exactly as wrong as what went in.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value, json};

use crate::clock::{Lifetime, Timestamp};

use super::WorldFault;
use super::keys::{NamedKey, SigningKey};

/// The claims of a good JWT-SVID as SPIRE writes them (JWT-SVID §3).
pub fn valid_svid(sub: &str, audiences: &[&str], now: Timestamp, lifetime: Lifetime) -> Map<String, Value> {
    object(json!({ "sub": sub, "aud": audiences, "iat": now.seconds(), "exp": now.plus(lifetime).seconds() }))
}

/// The claims of a good pod-bound service-account token as Kubernetes 1.32 writes them, for objects that no cluster needs to know.
pub fn valid_kubernetes(
    issuer: &str,
    namespace: &str,
    service_account: &str,
    audiences: &[&str],
    now: Timestamp,
    lifetime: Lifetime,
) -> Map<String, Value> {
    object(json!({
        "iss": issuer,
        "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
        "aud": audiences,
        "iat": now.seconds(),
        "nbf": now.seconds(),
        "exp": now.plus(lifetime).seconds(),
        "jti": "5f1c1a40-94a5-4c4e-8a3a-6b1d4ad6b0c1",
        "kubernetes.io": {
            "namespace": namespace,
            "serviceaccount": { "name": service_account, "uid": "0c7a5b9e-3d0a-4f1c-9d52-0d9a4c0f6a11" },
            "pod": { "name": format!("{service_account}-0"), "uid": "8e2b4f5d-6a37-4b7c-8f10-2f6f0f3f9b22" },
            "node": { "name": "node-1", "uid": "d6f0a7c3-1b58-4e7d-9c11-7a8b9c0d1e33" },
        },
    }))
}

/// The claims of a legacy token as Kubernetes kept them in Secrets (K8S-06): no end, flat names.
pub fn legacy_kubernetes(namespace: &str, service_account: &str) -> Map<String, Value> {
    object(json!({
        "iss": "kubernetes/serviceaccount",
        "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/service-account.name": service_account,
        "kubernetes.io/serviceaccount/service-account.uid": "0c7a5b9e-3d0a-4f1c-9d52-0d9a4c0f6a11",
        "kubernetes.io/serviceaccount/secret.name": format!("{service_account}-token-x7k2p"),
    }))
}

/// A token in the making: header and claims as JSON or as any bytes, and perhaps the key that shall sign.
#[derive(Debug, Clone)]
pub struct Forge {
    header: Part,
    claims: Part,
    key: Option<Arc<SigningKey>>,
}

impl Forge {
    /// A token with `alg` and `kid` of `key`, `typ: JWT` and these claims: good, until something is changed.
    pub fn new(key: &NamedKey, claims: Map<String, Value>) -> Self {
        let header = object(json!({ "alg": key.algorithm().name(), "kid": key.kid(), "typ": "JWT" }));
        Self { header: Part::json(header), claims: Part::json(claims), key: Some(Arc::clone(key.key())) }
    }

    /// A token of any header and claims, without a key.
    pub const fn from_parts(header: Map<String, Value>, claims: Map<String, Value>) -> Self {
        Self { header: Part::json(header), claims: Part::json(claims), key: None }
    }

    /// Sets one header member.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.set(name, value.into());
        self
    }

    /// Takes one header member away.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Sets one claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.set(name, value.into());
        self
    }

    /// Takes one claim away.
    #[must_use]
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a claim inside an object claim, for example `["kubernetes.io", "pod"]` and `name`. Missing objects are made.
    #[must_use]
    pub fn claim_at(mut self, path: &[&str], name: &str, value: impl Into<Value>) -> Self {
        if let Some(inner) = self.claims.inner(path) {
            inner.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Takes a claim inside an object claim away.
    #[must_use]
    pub fn without_claim_at(mut self, path: &[&str], name: &str) -> Self {
        if let Some(inner) = self.claims.inner(path) {
            inner.remove(name);
        }
        self
    }

    /// Replaces the header's bytes: repeated names, trailing text, no JSON at all.
    #[must_use]
    pub fn raw_header(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.header.raw = Some(bytes.into());
        self
    }

    /// Replaces the claims' bytes.
    #[must_use]
    pub fn raw_claims(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.claims.raw = Some(bytes.into());
        self
    }

    /// Signs by another key; the header stays as it is.
    #[must_use]
    pub fn key(mut self, key: &NamedKey) -> Self {
        self.key = Some(Arc::clone(key.key()));
        self
    }

    /// The header's bytes as they will be encoded, to be changed as text.
    pub fn header_bytes(&self) -> Vec<u8> {
        self.header.bytes()
    }

    /// The claims' bytes as they will be encoded, to be changed as text.
    pub fn claims_bytes(&self) -> Vec<u8> {
        self.claims.bytes()
    }

    /// Signs by the key that it has. Without a key the signature is empty.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self) -> Result<Forged, WorldFault> {
        let mut forged = self.unsigned();
        if let Some(key) = &self.key {
            forged.signature = encode(&key.sign(forged.signing_input().as_bytes())?);
        }
        Ok(forged)
    }

    /// Signs by the key that it has and writes an ECDSA signature as DER, as X.509 does and JOSE does not (RFC 7518 §3.4).
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign_as_der(&self) -> Result<Forged, WorldFault> {
        let mut forged = self.unsigned();
        if let Some(key) = &self.key {
            forged.signature = encode(&der_signature(&key.sign(forged.signing_input().as_bytes())?));
        }
        Ok(forged)
    }

    /// An HMAC with SHA-256 over the same input: the attack that takes a public key for a shared secret. The header stays as it is.
    pub fn hmac_sha256(&self, secret: &[u8]) -> Forged {
        let forged = self.unsigned();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, forged.signing_input().as_bytes());
        forged.with_signature(tag.as_ref())
    }

    /// With an empty signature.
    pub fn unsigned(&self) -> Forged {
        Forged { header: encode(&self.header.bytes()), claims: encode(&self.claims.bytes()), signature: String::new() }
    }
}

/// The three segments of a compact JWS, open to changes of the text itself: bad base64url, padding, segments swapped.
#[derive(Clone, PartialEq, Eq)]
pub struct Forged {
    /// The first segment, encoded.
    pub header: String,
    /// The second segment, encoded.
    pub claims: String,
    /// The third segment, encoded.
    pub signature: String,
}

impl Forged {
    /// The token.
    pub fn token(&self) -> String {
        format!("{}.{}.{}", self.header, self.claims, self.signature)
    }

    /// What a signature covers.
    pub fn signing_input(&self) -> String {
        format!("{}.{}", self.header, self.claims)
    }

    /// With these bytes as signature.
    #[must_use]
    pub fn with_signature(mut self, bytes: &[u8]) -> Self {
        self.signature = encode(bytes);
        self
    }

    /// The signature's bytes; empty when the segment is not base64url.
    pub fn signature_bytes(&self) -> Vec<u8> {
        Base64UrlUnpadded::decode_vec(&self.signature).unwrap_or_default()
    }
}

impl fmt::Debug for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}

#[derive(Debug, Clone)]
struct Part {
    members: Map<String, Value>,
    /// Stands for the members until one of them is changed: the last word counts.
    raw: Option<Vec<u8>>,
}

impl Part {
    const fn json(members: Map<String, Value>) -> Self {
        Self { members, raw: None }
    }

    fn set(&mut self, name: &str, value: Value) {
        self.raw = None;
        self.members.insert(name.to_owned(), value);
    }

    fn remove(&mut self, name: &str) {
        self.raw = None;
        self.members.remove(name);
    }

    fn inner(&mut self, path: &[&str]) -> Option<&mut Map<String, Value>> {
        self.raw = None;
        let mut here = &mut self.members;
        for name in path {
            let next = here.entry((*name).to_owned()).or_insert_with(|| Value::Object(Map::new()));
            here = next.as_object_mut()?;
        }
        Some(here)
    }

    fn bytes(&self) -> Vec<u8> {
        let written = || Value::Object(self.members.clone()).to_string().into_bytes();
        self.raw.clone().unwrap_or_else(written)
    }
}

pub(super) fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// `SEQUENCE { INTEGER r, INTEGER s }` of a fixed-width `r || s`.
fn der_signature(fixed: &[u8]) -> Vec<u8> {
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let mut body = der_integer(r);
    body.extend(der_integer(s));
    let mut der = vec![0x30];
    der.extend(der_length(body.len()));
    der.extend(body);
    der
}

fn der_integer(bytes: &[u8]) -> Vec<u8> {
    let significant: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    let negative = significant.first().is_none_or(|first| *first >= 0x80);
    let mut der = vec![0x02];
    der.extend(der_length(significant.len() + usize::from(negative)));
    der.extend(negative.then_some(0));
    der.extend(significant);
    der
}

/// Enough for any ECDSA signature: the longest, with P-521, has 139 bytes.
fn der_length(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![short],
        Ok(long) => vec![0x81, long],
        Err(_too_long) => vec![0x82, (length >> 8) as u8, length as u8],
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Algorithm;
    use super::super::signature::open;
    use super::*;

    fn key() -> NamedKey {
        NamedKey::new("one", Arc::new(SigningKey::generate(Algorithm::ES256).unwrap()))
    }

    fn svid() -> Map<String, Value> {
        valid_svid(
            "spiffe://prod.example/a",
            &["https://id.example"],
            Timestamp::from_seconds(1_790_000_000),
            Lifetime::from_minutes(5),
        )
    }

    #[test]
    fn an_unspoiled_forgery_opens_and_each_spoiled_one_does_not() {
        let (mine, other) = (key(), key());
        let forge = Forge::new(&mine, svid());
        let good = forge.sign().unwrap();
        assert_eq!(open(&good.token(), std::slice::from_ref(&mine)).unwrap()["sub"], "spiffe://prod.example/a");
        for bad in [
            forge.clone().key(&other).sign().unwrap(),
            forge.sign_as_der().unwrap(),
            forge.unsigned(),
            forge.clone().header("alg", "HS256").hmac_sha256(b"public"),
            forge.clone().header("alg", "none").unsigned(),
            forge.raw_claims(*b"{").sign().unwrap(),
            Forged { header: format!("{}=", good.header), ..good },
        ] {
            assert!(open(&bad.token(), std::slice::from_ref(&mine)).is_none(), "{}", bad.token());
        }
    }

    #[test]
    fn parts_change_one_at_a_time() {
        let forge = Forge::new(
            &key(),
            valid_kubernetes("https://k", "shop", "api", &["a"], Timestamp::from_seconds(0), Lifetime::ZERO),
        );
        let changed = forge
            .claim_at(&["kubernetes.io", "pod"], "name", "x")
            .without_claim("jti")
            .without_claim_at(&["kubernetes.io"], "node");
        let claims: Value = serde_json::from_slice(&changed.claims_bytes()).unwrap();
        assert_eq!(claims["kubernetes.io"]["pod"]["name"], "x");
        assert_eq!(claims["kubernetes.io"].get("node"), None);
        assert_eq!(claims.get("jti"), None);
        let raw = changed.raw_header(*br#"{"alg":"ES256","alg":"none"}"#);
        assert_eq!(raw.header_bytes(), br#"{"alg":"ES256","alg":"none"}"#);
    }

    #[test]
    fn der_integers_are_minimal_and_positive() {
        assert_eq!(der_signature(&[0, 1, 0x80, 2]), [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 2]);
    }
}
