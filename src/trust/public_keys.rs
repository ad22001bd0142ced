//! Our own key set, as others see it: metadata and keys through the public URL.
//!
//! Never follows the metadata to another place than ours, and decides nothing about the keys.

use std::path::PathBuf;

use url::Url;

use super::Endpoint;
use super::outbound::Outbound;
use crate::identity::IssuerUrl;
use crate::jose::{KeyPurpose, KeySet, parse_object};
use crate::reason::quoted;

/// Asks for them. Plain http is asked of a loopback issuer alone; the configuration allows no other.
pub struct PublicKeys {
    issuer: IssuerUrl,
    metadata: Url,
    keys: Url,
    outbound: Outbound,
}

impl PublicKeys {
    /// `ca` has the authorities of its certificate; without it the system's are asked. `None` for an issuer that is no URL, which the
    /// configuration refuses.
    pub fn of(issuer: &IssuerUrl, ca: Option<PathBuf>) -> Option<Self> {
        let metadata = Url::parse(&issuer.endpoint("/.well-known/openid-configuration")).ok()?;
        let keys = Url::parse(&issuer.endpoint("/jwks")).ok()?;
        let outbound = Outbound::to_ourselves(Endpoint { url: metadata.clone(), ca, token: None });
        Some(Self { issuer: issuer.clone(), metadata, keys, outbound })
    }

    /// Where the key set is.
    pub fn url(&self) -> &str {
        self.keys.as_str()
    }

    /// The keys that a verifier finds there now.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn fetch(&mut self) -> Result<KeySet, String> {
        let document = self.outbound.get(&self.metadata).await?;
        let document =
            parse_object(&document).map_err(|fault| format!("the metadata at {}: {fault}", self.metadata))?;
        for (member, ours) in [("issuer", self.issuer.as_str()), ("jwks_uri", self.keys.as_str())] {
            let said = document.text(member).unwrap_or_default();
            if said != ours {
                return Err(format!("the metadata at {} has {member} {} and not {ours}", self.metadata, quoted(said)));
            }
        }
        let body = self.outbound.get(&self.keys).await?;
        KeySet::parse(&body, KeyPurpose::JwkSet)
            .map_err(|fault| format!("the answer of {} is no key set: {fault}", self.keys))
    }
}
