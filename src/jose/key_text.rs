//! Keys as JWK text (RFC 7517, RFC 7518 §6).
//!
//! Writes public members alone; the private ones leave through `SigningKey::to_private_jwk` only.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};

use super::Algorithm;
use crate::identity::KeyId;

/// A public key as the members of a JWK: `kty`, the key's own members, `kid`, `alg`, `use`.
pub type PublicJwk = Map<String, Value>;

/// The public JWK text of a key of others: its own members, its `kid`, and `alg` when it has exactly one.
pub(super) fn public_text(canonical: &str, key_id: Option<&KeyId>, algorithms: &[Algorithm]) -> String {
    let mut members = Vec::new();
    if let Some(key_id) = key_id {
        members.push(format!(",\"kid\":{}", Value::from(key_id.as_str())));
    }
    if let [only] = algorithms {
        members.push(format!(",\"alg\":\"{only}\""));
    }
    format!("{}{}}}", canonical.trim_end_matches('}'), members.concat())
}

/// The members of an elliptic curve key, from its uncompressed point.
pub(super) fn ec_members(curve: &str, point: &[u8]) -> PublicJwk {
    let coordinates = point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    members([("kty", "EC".to_owned()), ("crv", curve.to_owned()), ("x", base64(x)), ("y", base64(y))])
}

/// The members of an RSA key; modulus and exponent without leading zeros (JWK-05).
pub(super) fn rsa_members(modulus: &[u8], exponent: &[u8]) -> PublicJwk {
    members([("kty", "RSA".to_owned()), ("n", base64(modulus)), ("e", base64(exponent))])
}

fn members<const N: usize>(pairs: [(&str, String); N]) -> PublicJwk {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// The JSON that a thumbprint is made of (RFC 7638 §3.2): required members only, in order of their names.
pub(super) fn canonical(public: &PublicJwk) -> String {
    let mut required: Vec<(&String, &Value)> =
        public.iter().filter(|(name, _)| ["crv", "e", "kty", "n", "x", "y"].contains(&name.as_str())).collect();
    required.sort_by_key(|(name, _)| name.as_str());
    let members: Vec<String> = required.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// A second opinion on a signature of ours: jsonwebtoken's own check, which shares no code of this module.
///
/// It knows every algorithm that access tokens are signed with; of ES512 it knows nothing, and confirms nothing.
pub(super) fn second_opinion(algorithm: Algorithm, public: &PublicJwk, message: &[u8], signature: &[u8]) -> bool {
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm as Name, DecodingKey, crypto};
    let name = match algorithm {
        Algorithm::RS256 => Name::RS256,
        Algorithm::RS384 => Name::RS384,
        Algorithm::RS512 => Name::RS512,
        Algorithm::ES256 => Name::ES256,
        Algorithm::ES384 => Name::ES384,
        Algorithm::PS256 => Name::PS256,
        Algorithm::PS384 => Name::PS384,
        Algorithm::PS512 => Name::PS512,
        Algorithm::ES512 => return false,
    };
    let key = serde_json::from_value::<Jwk>(Value::Object(public.clone()))
        .ok()
        .and_then(|jwk| DecodingKey::from_jwk(&jwk).ok());
    key.is_some_and(|key| crypto::verify(&base64(signature), message, &key, name).unwrap_or(false))
}
