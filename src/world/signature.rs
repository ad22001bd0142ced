//! Whether a token was signed by one of an authority's own keys: what a real agent or API server checks when it is asked.
//!
//! Never used to authenticate anybody to countersign, and it reads no more of a token than its own world wrote.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, UnparsedPublicKey};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};

use super::keys::{Algorithm, NamedKey};

/// The claims of `token`, if one of `keys` that bears the name in its header signed it.
pub(super) fn open(token: &str, keys: &[NamedKey]) -> Option<Map<String, Value>> {
    let (input, signature) = token.rsplit_once('.')?;
    let (header, claims) = input.split_once('.')?;
    let header = members(header)?;
    let signature = Base64UrlUnpadded::decode_vec(signature).ok()?;
    let kid = header.get("kid")?.as_str()?;
    let algorithm = header.get("alg")?.as_str()?;
    keys.iter()
        .filter(|key| key.kid() == kid && key.algorithm().name() == algorithm)
        .find_map(|key| verified(key, input.as_bytes(), &signature))?;
    members(claims)
}

fn members(segment: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(segment).ok()?).ok()
}

fn verified(key: &NamedKey, input: &[u8], signature: &[u8]) -> Option<()> {
    let jwk = key.public_jwk();
    let part = |name: &str| Base64UrlUnpadded::decode_vec(jwk.get(name)?.as_str()?).ok();
    let rsa = |parameters| {
        let key = PublicKeyComponents { n: part("n")?, e: part("e")? };
        key.verify(parameters, input, signature).ok()
    };
    let ecdsa = |parameters| {
        // Uncompressed SEC 1 point.
        let point: Vec<u8> = [vec![4], part("x")?, part("y")?].concat();
        UnparsedPublicKey::new(parameters, point).verify(input, signature).ok()
    };
    match key.algorithm() {
        Algorithm::RS256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::ES512 => ecdsa(&signature::ECDSA_P521_SHA512_FIXED),
    }
}
