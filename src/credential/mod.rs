//! What was shown: parsed and bounded, and believed by nobody.
//!
//! Nothing here reads a claim or checks a signature. The kind of a credential is what was declared and how it arrived, never sniffed.

mod compact_jws;
mod proof;

pub use compact_jws::{CompactJws, NotCompact};
pub use proof::{NotAProof, Proof};

use std::fmt;
use std::sync::Arc;

/// A credential as it was declared.
#[derive(Debug)]
pub enum Shown {
    /// Declared as a JWT-SVID (`jwt-spiffe`).
    JwtSvid(CompactJws),
    /// Declared as a JWT of a federated platform (`jwt-bearer`): a Kubernetes service-account token, a token of another OIDC issuer.
    Federated(CompactJws),
    /// The certificates of the connection, because nothing else was shown (design §4).
    X509Svid(Arc<PeerChain>),
}

/// A token of somebody for whom the caller acts, by what its sender says that it is.
#[derive(Debug)]
pub enum ShownSubject {
    /// `urn:ietf:params:oauth:token-type:access_token`: a token of ours, and of nobody else (RFC 8693 §3).
    AccessToken(CompactJws),
    /// `urn:ietf:params:oauth:token-type:jwt`: a JWT-SVID, a Kubernetes token, a token of an OIDC issuer or of a person.
    Jwt(CompactJws),
    /// The assertion of an assertion grant (RFC 7523 §2.1): the same, and it may be addressed to the token endpoint too.
    Assertion(CompactJws),
}

/// The type of the tokens that are issued here, and of nobody else's.
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The type of the tokens of platforms.
pub const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";

impl ShownSubject {
    /// A token of a declared type (RFC 8693 §3); `None` for types that are not taken: `id_token`, `refresh_token`, SAML.
    pub fn of_type(declared: &str, token: CompactJws) -> Option<Self> {
        match declared {
            ACCESS_TOKEN_TYPE => Some(Self::AccessToken(token)),
            JWT_TYPE => Some(Self::Jwt(token)),
            _ => None,
        }
    }
}

/// The certificates that the connection's client proved to hold, leaf first, in DER. Nobody has judged the chain.
#[derive(PartialEq, Eq)]
pub struct PeerChain(pub Vec<Vec<u8>>);

impl fmt::Debug for PeerChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[chain of {}]", self.0.len())
    }
}
