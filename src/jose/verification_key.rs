//! Public keys of others, checked for strength and parsed once.
//!
//! One key has the algorithms that its JWK allows and no other (JWK-11). Never holds a private member.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use base64ct::{Base64UrlUnpadded, Encoding};

use super::Algorithm;
use super::algorithm::{Curve, Scheme};
use super::json::{Object, Value};
use crate::identity::KeyId;

/// Where a key was read, which decides what its `use` must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// A SPIFFE bundle document: `use` is `jwt-svid` and there is a `kid` (JSV-11, BUN-05).
    SpiffeBundle,
    /// A JWT bundle of the Workload API: as above, or no `use` at all, or `sig` (JSV-12).
    WorkloadApi,
    /// A plain JWK Set: no `use`, or `sig`.
    JwkSet,
}

/// RFC 7638 SHA-256 thumbprint: the same key has the same one wherever it is published.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint(String);

impl Thumbprint {
    pub(super) fn of(canonical_json: &str) -> Self {
        let hash = digest::digest(&digest::SHA256, canonical_json.as_bytes());
        Self(Base64UrlUnpadded::encode_string(hash.as_ref()))
    }

    /// The thumbprint in base64url.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a key of a set is passed over; the others are used (JWK-08).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// Not an object, or a member that every key needs is missing or of the wrong type.
    #[error("a member is missing or has the wrong type")]
    Malformed,
    /// A key type, curve or algorithm that verifies nothing here.
    #[error("its type or algorithm is not used here")]
    Unsupported,
    /// `use` or `key_ops` says that it is for something else.
    #[error("it is not for verifying tokens of this kind")]
    OtherUse,
    /// RSA under 2048 or over 8192 bits, an exponent that is even, too small or too long, or a coordinate of the wrong length.
    #[error("it is too weak, too long or not of the exact length")]
    Strength,
    /// A private or symmetric key: it has no business in a public set.
    #[error("it holds private members")]
    Private,
    /// A key of a SPIFFE bundle without `kid`.
    #[error("a bundle's key has a kid")]
    NoKeyId,
}

/// One public key, ready to verify.
pub struct VerificationKey {
    key_id: Option<KeyId>,
    thumbprint: Thumbprint,
    parsed: Vec<(Algorithm, ParsedPublicKey)>,
    jwk: String,
}

impl VerificationKey {
    /// Reads one JWK.
    pub(super) fn read(jwk: &Value, purpose: KeyPurpose) -> Result<Self, Skipped> {
        let Value::Object(jwk) = jwk else { return Err(Skipped::Malformed) };
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|member| jwk.has(member)) {
            return Err(Skipped::Private);
        }
        check_use(jwk, purpose)?;
        let key_id = match jwk.get("kid") {
            None => None,
            Some(Value::String(text)) => Some(KeyId::parse(text).map_err(|_not_an_id| Skipped::Malformed)?),
            Some(_) => return Err(Skipped::Malformed),
        };
        if key_id.is_none() && purpose == KeyPurpose::SpiffeBundle {
            return Err(Skipped::NoKeyId);
        }
        let algorithms = allowed_algorithms(jwk)?;
        let (parsed, canonical) = match jwk.text("kty") {
            Some("EC") => parse_ec(jwk, &algorithms)?,
            Some("RSA") => parse_rsa(jwk, &algorithms)?,
            Some(_) => return Err(Skipped::Unsupported),
            None => return Err(Skipped::Malformed),
        };
        let text = super::key_text::public_text(&canonical, key_id.as_ref(), &algorithms);
        Ok(Self { key_id, thumbprint: Thumbprint::of(&canonical), parsed, jwk: text })
    }

    /// `kid`, if it has one.
    pub const fn key_id(&self) -> Option<&KeyId> {
        self.key_id.as_ref()
    }

    /// Its thumbprint.
    pub const fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// Whether it may verify signatures of that algorithm.
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.parsed.iter().any(|(own, _)| *own == algorithm)
    }

    /// The key as a public JWK, for keeping last good keys.
    pub fn to_jwk(&self) -> &str {
        &self.jwk
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let own = self.parsed.iter().find(|(own, _)| *own == algorithm);
        own.is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {:?} ({})", self.key_id, self.thumbprint)
    }
}

/// `use` and `key_ops` must both allow verification, as far as they are there (JWK-10, JSV-11, BUN-04).
fn check_use(jwk: &Object, purpose: KeyPurpose) -> Result<(), Skipped> {
    let declared = match jwk.get("use") {
        None => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => return Err(Skipped::Malformed),
    };
    let fits = match purpose {
        KeyPurpose::SpiffeBundle => declared == Some("jwt-svid"),
        KeyPurpose::WorkloadApi => matches!(declared, None | Some("jwt-svid" | "sig")),
        KeyPurpose::JwkSet => matches!(declared, None | Some("sig")),
    };
    let may_verify = match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.contains(&Value::String("verify".to_owned())),
        Some(_) => return Err(Skipped::Malformed),
    };
    if fits && may_verify { Ok(()) } else { Err(Skipped::OtherUse) }
}

/// The algorithms that `alg`, `kty` and `crv` allow together.
fn allowed_algorithms(jwk: &Object) -> Result<Vec<Algorithm>, Skipped> {
    let named = match jwk.get("alg") {
        None => None,
        Some(Value::String(name)) => Some(Algorithm::from_name(name).ok_or(Skipped::Unsupported)?),
        Some(_) => return Err(Skipped::Malformed),
    };
    let fitting: Vec<Algorithm> = Algorithm::ALL
        .into_iter()
        .filter(|algorithm| named.is_none_or(|named| named == *algorithm))
        .filter(|algorithm| match algorithm.scheme() {
            Scheme::Ecdsa { curve, .. } => jwk.text("kty") == Some("EC") && jwk.text("crv") == Some(curve.name),
            Scheme::Rsa { .. } => jwk.text("kty") == Some("RSA"),
        })
        .collect();
    if fitting.is_empty() { Err(Skipped::Unsupported) } else { Ok(fitting) }
}

type Parsed = (Vec<(Algorithm, ParsedPublicKey)>, String);

fn member<'a>(jwk: &'a Object, name: &str) -> Result<(&'a str, Vec<u8>), Skipped> {
    let text = jwk.text(name).ok_or(Skipped::Malformed)?;
    // 8192 bits and a little: anything longer is not decoded.
    if text.len() > 1400 {
        return Err(Skipped::Strength);
    }
    let bytes = Base64UrlUnpadded::decode_vec(text).map_err(|_not_canonical| Skipped::Malformed)?;
    Ok((text, bytes))
}

fn parse_ec(jwk: &Object, algorithms: &[Algorithm]) -> Result<Parsed, Skipped> {
    let ((x_text, x), (y_text, y)) = (member(jwk, "x")?, member(jwk, "y")?);
    let mut parsed = Vec::new();
    let mut curve_name = "";
    for algorithm in algorithms {
        let Scheme::Ecdsa { curve: Curve { name, coordinate }, verify, .. } = algorithm.scheme() else { continue };
        if x.len() != coordinate || y.len() != coordinate {
            return Err(Skipped::Strength);
        }
        curve_name = name;
        // Uncompressed point (SEC 1 §2.3.3); parsing checks that it is on the curve (JWK-18).
        let point = [&[4_u8][..], &x, &y].concat();
        parsed.push((*algorithm, ParsedPublicKey::new(verify, point).map_err(|_rejected| Skipped::Strength)?));
    }
    let canonical = format!(r#"{{"crv":"{curve_name}","kty":"EC","x":"{x_text}","y":"{y_text}"}}"#);
    Ok((parsed, canonical))
}

fn parse_rsa(jwk: &Object, algorithms: &[Algorithm]) -> Result<Parsed, Skipped> {
    let ((n_text, n), (e_text, e)) = (member(jwk, "n")?, member(jwk, "e")?);
    let bits = match n.first() {
        Some(0) | None => return Err(Skipped::Strength),
        Some(first) => n.len() * 8 - first.leading_zeros() as usize,
    };
    // Odd, at least 3, at most 32 bits (JWK-19).
    let exponent_fits = (1..=4).contains(&e.len())
        && e.first().is_some_and(|first| *first != 0)
        && e.last().is_some_and(|last| last % 2 == 1)
        && e.as_slice() != [1];
    if !(2048..=8192).contains(&bits) || !exponent_fits {
        return Err(Skipped::Strength);
    }
    let components = RsaPublicKeyComponents { n: &n, e: &e };
    let mut parsed = Vec::new();
    for algorithm in algorithms {
        let Scheme::Rsa { verify, .. } = algorithm.scheme() else { continue };
        parsed.push((*algorithm, components.to_parsed_public_key(verify).map_err(|_rejected| Skipped::Strength)?));
    }
    Ok((parsed, format!(r#"{{"e":"{e_text}","kty":"RSA","n":"{n_text}"}}"#)))
}
