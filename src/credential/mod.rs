//! What was shown: parsed and bounded, and believed by nobody.
//!
//! Nothing here reads a claim or checks a signature. The kind of a credential is what was declared and how it arrived, never sniffed.

mod compact_jws;

pub use compact_jws::{CompactJws, NotCompact};

/// A credential as it was declared.
#[derive(Debug)]
pub enum Shown {
    /// Declared as a JWT-SVID (`jwt-spiffe`).
    JwtSvid(CompactJws),
    /// Declared as a JWT of a federated platform (`jwt-bearer`): a Kubernetes service-account token.
    Federated(CompactJws),
}

impl Shown {
    /// The JWS inside.
    pub const fn jws(&self) -> &CompactJws {
        match self {
            Self::JwtSvid(jws) | Self::Federated(jws) => jws,
        }
    }
}

/// A proof of possession beside a credential (DPoP, RFC 9449). No door reads one yet.
#[derive(Debug)]
pub struct Proof(pub CompactJws);

/// The certificates that the connection's client proved to hold, leaf first, in DER. No door asks for one yet.
#[derive(Debug)]
pub struct PeerChain(pub Vec<Vec<u8>>);
