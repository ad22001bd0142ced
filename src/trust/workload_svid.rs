//! A JWT-SVID for this very process, from the Workload API.
//!
//! For commands that act as a workload; the service itself never shows a credential.

use std::time::Duration;

use spiffe::WorkloadApiClient;

use crate::secret::Secret;

/// An agent on this machine answers in milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Asks the agent at `endpoint` (`unix:/path` or `tcp://IP:port`) for a JWT-SVID with exactly one audience.
///
/// # Errors
/// A sentence for the operator: the agent is not there, does not know this process, or took too long.
pub async fn fetch_jwt_svid(endpoint: &str, audience: &str) -> Result<Secret<String>, String> {
    let fetch = async {
        let client = WorkloadApiClient::connect_to(endpoint)
            .await
            .map_err(|error| format!("the SPIFFE agent at {endpoint} cannot be reached: {error}"))?;
        let svid = client
            .fetch_jwt_token([audience], None)
            .await
            .map_err(|error| format!("the SPIFFE agent at {endpoint} gave no identity to this process: {error}"))?;
        Ok(Secret::new("JWT-SVID", svid))
    };
    match tokio::time::timeout(DEADLINE, fetch).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(format!("the SPIFFE agent at {endpoint} did not answer within {} s", DEADLINE.as_secs())),
    }
}
