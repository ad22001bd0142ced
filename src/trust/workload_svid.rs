//! A JWT-SVID for this very process, from the Workload API.
//!
//! For commands that act as a workload; the service itself never shows a credential.

use std::time::Duration;

use spiffe::{SpiffeId, WorkloadApiClient, WorkloadApiError};

use crate::secret::Secret;

/// An agent on this machine answers in milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why there is no SVID.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoSvid {
    /// The agent cannot be reached, or does not answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// The agent answers, and gives this process no such identity.
    #[error("{0}")]
    NoIdentity(String),
}

/// Asks the agent at `endpoint` (`unix:/path` or `tcp://IP:port`) for a JWT-SVID with exactly one audience; `id` chooses one of
/// several identities, the first is the default.
///
/// # Errors
/// [`NoSvid`], with a sentence for the operator.
pub async fn fetch_jwt_svid(endpoint: &str, audience: &str, id: Option<&str>) -> Result<Secret<String>, NoSvid> {
    let id = id.map(SpiffeId::new).transpose().map_err(|error| NoSvid::NoIdentity(error.to_string()))?;
    let fetch = async {
        let client = WorkloadApiClient::connect_to(endpoint).await.map_err(|error| {
            NoSvid::Unreachable(format!("the SPIFFE agent at {endpoint} cannot be reached: {error}"))
        })?;
        let svid = client.fetch_jwt_token([audience], id.as_ref()).await.map_err(|error| refused(endpoint, &error))?;
        Ok(Secret::new("JWT-SVID", svid))
    };
    match tokio::time::timeout(DEADLINE, fetch).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(NoSvid::Unreachable(format!(
            "the SPIFFE agent at {endpoint} did not answer within {} s",
            DEADLINE.as_secs()
        ))),
    }
}

fn refused(endpoint: &str, error: &WorkloadApiError) -> NoSvid {
    match error {
        WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_) => NoSvid::NoIdentity(format!(
            "the SPIFFE agent at {endpoint} has no such identity for this process: no registration entry matches it"
        )),
        other => NoSvid::Unreachable(format!("the SPIFFE agent at {endpoint} gave no SVID: {other}")),
    }
}
