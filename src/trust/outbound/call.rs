//! A request whose answer is looked at whatever its status: questions to an API server (TokenReview, an object).
//!
//! Never goes to another origin than the configured one, and never without our own token.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use super::Outbound;

/// What is asked.
pub(in crate::trust) struct Call {
    pub(in crate::trust) url: Url,
    /// What it is called where no name of a workload may stand.
    pub(in crate::trust) what: &'static str,
    /// The form in which the answer is wanted.
    pub(in crate::trust) accept: &'static str,
    /// JSON to POST; without it, GET.
    pub(in crate::trust) body: Option<Vec<u8>>,
}

impl Outbound {
    /// The status and the body of the answer.
    ///
    /// # Errors
    /// A sentence for the operator: there was no whole answer.
    pub(in crate::trust) async fn call(&mut self, call: Call) -> Result<(StatusCode, Vec<u8>), String> {
        let method = if call.body.is_some() { Method::POST } else { Method::GET };
        let asked = format!("{method} {} at {}", call.what, call.url.origin().ascii_serialization());
        let fault = |why: String| format!("{asked}: {why}");
        if call.url.scheme() != "https" || call.url.origin() != self.endpoint.url.origin() {
            return Err(fault("only the configured address is asked".to_owned()));
        }
        self.manner.names.forget();
        let (client, token) = self.prepare().await.map_err(fault)?;
        let token = token.ok_or_else(|| fault("there is no token of ours to ask with".to_owned()))?;
        let mut request = client.request(method, call.url).header(ACCEPT, call.accept).header(AUTHORIZATION, token);
        if let Some(body) = call.body {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body);
        }
        let response = request.send().await.map_err(|error| fault(self.sentence(&error)))?;
        let status = response.status();
        Ok((status, self.whole(response).await.map_err(fault)?))
    }

    /// Keeps one connection for a while: questions come one after the other, and a handshake takes longer than an answer.
    pub(in crate::trust) const fn keeping_connections(mut self) -> Self {
        self.manner.idle = Some(Duration::from_secs(30));
        self
    }
}
