//! Private keys of ours: made, written, read, and kept parsed.
//!
//! A private member leaves through `to_private_jwk` alone, and `Debug` shows the key id.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair, RsaKeyPair};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};

use super::algorithm::Scheme;
use super::json::Object;
use super::key_text::{self, PublicJwk};
use super::{Algorithm, Thumbprint};
use crate::identity::KeyId;
use crate::secret::Secret;

/// A private key that cannot be made, read or used. Says what, never the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// A member is missing or unreadable, or the members contradict each other.
    #[error("the private JWK is not a whole key of its algorithm")]
    Malformed,
    /// The crypto library refused to make a key or a signature.
    #[error("the crypto library refused")]
    Crypto,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// A private key for one algorithm, parsed once.
pub struct SigningKey {
    algorithm: Algorithm,
    key_id: KeyId,
    pair: Pair,
    public: PublicJwk,
}

const RSA_PRIVATE: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

impl SigningKey {
    /// Makes a key; its id is its RFC 7638 thumbprint. RSA keys have 2048 bits and take a while.
    ///
    /// # Errors
    /// [`KeyFault::Crypto`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyFault> {
        let pair = match algorithm.scheme() {
            Scheme::Ecdsa { sign, .. } => {
                Pair::Ecdsa(EcdsaKeyPair::generate(sign).map_err(|_refused| KeyFault::Crypto)?)
            }
            Scheme::Rsa { .. } => {
                Pair::Rsa(Box::new(RsaKeyPair::generate(Algorithm::RSA_SIZE).map_err(|_refused| KeyFault::Crypto)?))
            }
        };
        Self::with_pair(algorithm, pair, None)
    }

    /// Reads a private JWK as [`SigningKey::to_private_jwk`] writes it.
    ///
    /// # Errors
    /// [`KeyFault::Malformed`] unless every member is there and they belong together.
    pub fn from_private_jwk(jwk: &Object) -> Result<Self, KeyFault> {
        let algorithm = jwk.text("alg").and_then(Algorithm::from_name).ok_or(KeyFault::Malformed)?;
        let key_id = jwk.text("kid").and_then(|text| KeyId::parse(text).ok()).ok_or(KeyFault::Malformed)?;
        let member = |name: &str| {
            let text = jwk.text(name).ok_or(KeyFault::Malformed)?;
            Base64UrlUnpadded::decode_vec(text).map_err(|_not_canonical| KeyFault::Malformed)
        };
        let pair = match algorithm.scheme() {
            Scheme::Ecdsa { curve, sign, .. } => {
                if jwk.text("kty") != Some("EC") || jwk.text("crv") != Some(curve.name) {
                    return Err(KeyFault::Malformed);
                }
                let private = Secret::new("private key", member("d")?);
                let point = [&[4_u8][..], &member("x")?, &member("y")?].concat();
                let pair = EcdsaKeyPair::from_private_key_and_public_key(sign, private.expose(), &point);
                Pair::Ecdsa(pair.map_err(|_rejected| KeyFault::Malformed)?)
            }
            Scheme::Rsa { .. } => {
                let private = RSA_PRIVATE.map(|name| member(name).map(|bytes| Secret::new("private key", bytes)));
                let [Ok(d), Ok(p), Ok(q), Ok(dp), Ok(dq), Ok(qi)] = &private else { return Err(KeyFault::Malformed) };
                let (n, e) = (member("n")?, member("e")?);
                let components = KeyPairComponents {
                    public_key: PublicKeyComponents { n: n.as_slice(), e: e.as_slice() },
                    d: d.expose().as_slice(),
                    p: p.expose().as_slice(),
                    q: q.expose().as_slice(),
                    dP: dp.expose().as_slice(),
                    dQ: dq.expose().as_slice(),
                    qInv: qi.expose().as_slice(),
                };
                let pair = RsaKeyPair::from_components(&components).map_err(|_rejected| KeyFault::Malformed)?;
                Pair::Rsa(Box::new(pair))
            }
        };
        Self::with_pair(algorithm, pair, Some(key_id))
    }

    fn with_pair(algorithm: Algorithm, pair: Pair, key_id: Option<KeyId>) -> Result<Self, KeyFault> {
        let mut public = match (&pair, algorithm.scheme()) {
            (Pair::Ecdsa(pair), Scheme::Ecdsa { curve, .. }) => {
                key_text::ec_members(curve.name, pair.public_key().as_ref())
            }
            (Pair::Rsa(pair), Scheme::Rsa { .. }) => {
                let key = pair.public_key();
                key_text::rsa_members(
                    key.modulus().big_endian_without_leading_zero(),
                    key.exponent().big_endian_without_leading_zero(),
                )
            }
            _ => return Err(KeyFault::Malformed),
        };
        let key_id = match key_id {
            Some(key_id) => key_id,
            None => KeyId::parse(Thumbprint::of(&key_text::canonical(&public)).as_str())
                .map_err(|_never_a_bad_id| KeyFault::Malformed)?,
        };
        for (name, value) in [("kid", key_id.as_str()), ("alg", algorithm.name()), ("use", "sig")] {
            public.insert(name.to_owned(), Value::from(value));
        }
        Ok(Self { algorithm, key_id, pair, public })
    }

    /// Its key id.
    pub const fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The one algorithm that it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public JWK: `kty`, `crv x y` or `n e`, `kid`, `alg`, `use: sig`. No private member (JWK-02).
    pub const fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    /// The whole key as a private JWK, for a file with mode 0600.
    ///
    /// # Errors
    /// [`KeyFault::Crypto`] when the crypto library does not hand it out.
    pub fn to_private_jwk(&self) -> Result<Secret<String>, KeyFault> {
        let mut private = Vec::new();
        let mut add = |name: &'static str, bytes: &[u8]| {
            private.push((name, Secret::new("private key", key_text::base64(bytes))));
        };
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let bytes: EcPrivateKeyBin<'_> =
                    pair.private_key().as_be_bytes().map_err(|_refused| KeyFault::Crypto)?;
                add("d", bytes.as_ref());
            }
            Pair::Rsa(pair) => {
                let der = pair.as_der().map_err(|_refused| KeyFault::Crypto)?;
                let wrapped =
                    pkcs8::PrivateKeyInfoRef::try_from(der.as_ref()).map_err(|_not_pkcs8| KeyFault::Crypto)?;
                let key = pkcs1::RsaPrivateKey::try_from(wrapped.private_key.as_bytes())
                    .map_err(|_not_pkcs1| KeyFault::Crypto)?;
                let parts: [pkcs1::UintRef<'_>; 6] =
                    [key.private_exponent, key.prime1, key.prime2, key.exponent1, key.exponent2, key.coefficient];
                for (name, part) in RSA_PRIVATE.into_iter().zip(parts) {
                    add(name, part.as_bytes());
                }
            }
        }
        let public = Value::Object(self.public.clone()).to_string();
        // Room for all of it from the start: a string that grows leaves copies of the key behind.
        let room = |(name, value): &(&str, Secret<String>)| name.len() + value.expose().len() + 6;
        let mut text = String::with_capacity(public.len() + private.iter().map(room).sum::<usize>());
        text.push_str(public.strip_suffix('}').ok_or(KeyFault::Malformed)?);
        for (name, value) in &private {
            // Names and base64url need no escapes.
            for part in [",\"", name, "\":\"", value.expose(), "\""] {
                text.push_str(part);
            }
        }
        text.push('}');
        Ok(Secret::new("private key", text))
    }

    /// Signs bytes; ECDSA signatures are R‖S of fixed length (RFC 7518 §3.4).
    ///
    /// # Errors
    /// [`KeyFault::Crypto`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let random = SystemRandom::new();
        match (&self.pair, self.algorithm.scheme()) {
            (Pair::Ecdsa(pair), Scheme::Ecdsa { .. }) => {
                let signature = pair.sign(&random, message).map_err(|_refused| KeyFault::Crypto)?;
                Ok(signature.as_ref().to_vec())
            }
            (Pair::Rsa(pair), Scheme::Rsa { sign, .. }) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(sign, &random, message, &mut signature).map_err(|_refused| KeyFault::Crypto)?;
                Ok(signature)
            }
            _ => Err(KeyFault::Malformed),
        }
    }

    /// Makes a compact JWS of these claims; the header has `alg`, `kid` and `typ`.
    ///
    /// # Errors
    /// [`KeyFault::Crypto`].
    pub fn seal(&self, typ: &str, claims: &Map<String, Value>) -> Result<Sealed, KeyFault> {
        let header = format!(
            r#"{{"alg":"{}","kid":{},"typ":{}}}"#,
            self.algorithm,
            Value::from(self.key_id.as_str()),
            Value::from(typ)
        );
        let claims = serde_json::to_vec(claims).map_err(|_never_fails| KeyFault::Crypto)?;
        let mut text = format!("{}.{}", key_text::base64(header.as_bytes()), key_text::base64(&claims));
        let signed = text.len();
        let signature = self.sign(text.as_bytes())?;
        text.push('.');
        text.push_str(&key_text::base64(&signature));
        Ok(Sealed { text: Secret::new("access token", text), signed, signature })
    }

    /// Whether a second implementation, with the published key, takes what this key sealed.
    pub fn is_confirmed(&self, sealed: &Sealed) -> bool {
        let message = sealed.text.expose().as_bytes().get(..sealed.signed).unwrap_or_default();
        key_text::second_opinion(self.algorithm, &self.public, message, &sealed.signature)
    }
}

/// A token that was sealed and has not left yet.
#[derive(Debug)]
pub struct Sealed {
    text: Secret<String>,
    signed: usize,
    signature: Vec<u8>,
}

impl Sealed {
    /// The compact JWS.
    pub fn into_text(self) -> Secret<String> {
        self.text
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signing key {} ({})", self.key_id, self.algorithm)
    }
}
