//! The nine algorithms of JWT-SVID §2.1.
//!
//! Names compare with case; there is no `none`, no HMAC and no way to add one at run time (JOSE-01..03).

use std::fmt;

use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, RsaEncoding, RsaParameters};

/// A signature algorithm (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// ECDSA with P-384 and SHA-384.
    ES384,
    /// ECDSA with P-521 and SHA-512.
    ES512,
    /// RSASSA-PSS with SHA-256, MGF1 with the same hash and a salt of the hash's length (§3.5).
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
}

/// A curve that the algorithms use, with its JWK name and the length of a coordinate in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) coordinate: usize,
}

/// What an algorithm asks of the crypto library.
pub(super) enum Scheme {
    Ecdsa { curve: Curve, verify: &'static EcdsaVerificationAlgorithm, sign: &'static EcdsaSigningAlgorithm },
    Rsa { verify: &'static RsaParameters, sign: &'static dyn RsaEncoding },
}

impl Algorithm {
    /// All nine.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
    ];

    /// The size of RSA keys that we make.
    pub(super) const RSA_SIZE: KeySize = KeySize::Rsa2048;

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
        }
    }

    /// The algorithm with exactly that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(super) const fn scheme(self) -> Scheme {
        const P256: Curve = Curve { name: "P-256", coordinate: 32 };
        const P384: Curve = Curve { name: "P-384", coordinate: 48 };
        const P521: Curve = Curve { name: "P-521", coordinate: 66 };
        match self {
            Self::RS256 => {
                Scheme::Rsa { verify: &signature::RSA_PKCS1_2048_8192_SHA256, sign: &signature::RSA_PKCS1_SHA256 }
            }
            Self::RS384 => {
                Scheme::Rsa { verify: &signature::RSA_PKCS1_2048_8192_SHA384, sign: &signature::RSA_PKCS1_SHA384 }
            }
            Self::RS512 => {
                Scheme::Rsa { verify: &signature::RSA_PKCS1_2048_8192_SHA512, sign: &signature::RSA_PKCS1_SHA512 }
            }
            Self::PS256 => {
                Scheme::Rsa { verify: &signature::RSA_PSS_2048_8192_SHA256, sign: &signature::RSA_PSS_SHA256 }
            }
            Self::PS384 => {
                Scheme::Rsa { verify: &signature::RSA_PSS_2048_8192_SHA384, sign: &signature::RSA_PSS_SHA384 }
            }
            Self::PS512 => {
                Scheme::Rsa { verify: &signature::RSA_PSS_2048_8192_SHA512, sign: &signature::RSA_PSS_SHA512 }
            }
            Self::ES256 => Scheme::Ecdsa {
                curve: P256,
                verify: &signature::ECDSA_P256_SHA256_FIXED,
                sign: &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            },
            Self::ES384 => Scheme::Ecdsa {
                curve: P384,
                verify: &signature::ECDSA_P384_SHA384_FIXED,
                sign: &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            },
            Self::ES512 => Scheme::Ecdsa {
                curve: P521,
                verify: &signature::ECDSA_P521_SHA512_FIXED,
                sign: &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
            },
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
