//! A request as every door hands it over.
//!
//! Parsed and bounded; nothing in it is believed.

use crate::credential::{PeerChain, Proof, Shown};
use crate::policy::Ask;

/// One request for a token. The first doors fill `client` and `ask`.
#[derive(Debug)]
pub struct ExchangeRequest {
    /// The credential that authenticates the caller.
    pub client: Shown,
    /// The token of somebody for whom the caller acts.
    pub subject: Option<Shown>,
    /// The token of who acts, if it is not the caller.
    pub actor: Option<Shown>,
    /// A proof of possession.
    pub proof: Option<Proof>,
    /// What the connection's client proved to hold.
    pub peer: Option<PeerChain>,
    /// What is wanted.
    pub ask: Ask,
}

/// A grant type that is served. Metadata lists exactly these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grants {
    /// `client_credentials` (RFC 6749 §4.4).
    ClientCredentials,
}

impl Grants {
    /// All that are served.
    pub const ALL: [Self; 1] = [Self::ClientCredentials];

    /// The value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
        }
    }
}
