//! The keys of a cluster as somebody inside it reads them, to bring them out.
//!
//! Vouches for nothing: whoever gets them decides whether to believe it.

use super::Endpoint;
use super::key_endpoint::KeyEndpoint;
use super::origin::Origin;
use crate::jose::KeySet;

/// `/openid/v1/jwks` of an API server.
pub struct ClusterKeys(Option<KeyEndpoint>);

impl ClusterKeys {
    /// That of the API server at `endpoint`.
    pub fn at(endpoint: Endpoint) -> Self {
        Self(KeyEndpoint::of(&Origin::ApiServer(endpoint)))
    }

    /// Asks once. Our token and the certificate authority are read anew (K8S-21).
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn fetch(&mut self) -> Result<KeySet, String> {
        match &mut self.0 {
            Some(endpoint) => endpoint.fetch().await,
            None => Err("there is no API server".to_owned()),
        }
    }
}

impl std::fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("keys of an API server")
    }
}
