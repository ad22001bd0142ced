//! A request as every door hands it over.
//!
//! Parsed and bounded; nothing in it is believed.

use std::sync::Arc;

use crate::credential::{PeerChain, Proof, Shown, ShownSubject};
use crate::policy::Ask;

/// One request for a token.
#[derive(Debug)]
pub struct ExchangeRequest {
    /// The credential that authenticates the caller.
    pub client: Shown,
    /// The token of somebody for whom the caller acts.
    pub subject: Option<ShownSubject>,
    /// The token of who acts. It must name the caller (TX-12).
    pub actor: Option<ShownSubject>,
    /// A proof of possession.
    pub proof: Option<Proof>,
    /// What the connection's client proved to hold.
    pub peer: Option<Arc<PeerChain>>,
    /// What is wanted.
    pub ask: Ask,
}

impl ExchangeRequest {
    /// A request for a token of one's own, without a proof of possession.
    pub const fn of_client(client: Shown, ask: Ask) -> Self {
        Self { client, subject: None, actor: None, proof: None, peer: None, ask }
    }

    /// The grant that it amounts to: whose token comes beside the caller's own.
    pub const fn grant(&self) -> Grants {
        match self.subject {
            None => Grants::ClientCredentials,
            Some(ShownSubject::Assertion(_)) => Grants::Assertion,
            Some(ShownSubject::AccessToken(_) | ShownSubject::Jwt(_)) => Grants::TokenExchange,
        }
    }
}

/// A grant type. Metadata lists those that a generation serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grants {
    /// `client_credentials` (RFC 6749 §4.4).
    ClientCredentials,
    /// Token exchange (RFC 8693).
    TokenExchange,
    /// The assertion grant (RFC 7523 §2.1), where it is switched on.
    Assertion,
}

impl Grants {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::ClientCredentials, Self::TokenExchange, Self::Assertion];

    /// The value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::Assertion => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }
}
