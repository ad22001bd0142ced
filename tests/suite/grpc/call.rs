//! Calls of the token service, and what is told of a refusal.

use std::time::Duration;

use countersign::wire::grpc::v1;
use countersign::wire::grpc::v1::token_service_client::TokenServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::evidence;
use crate::stage::ORDERS;

/// A message with its metadata.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub message: v1::ExchangeRequest,
    pub authorization: Option<String>,
}

impl Call {
    /// For `orders`, with a JWT-SVID.
    pub fn svid(svid: &str) -> Self {
        Self::of(Some(v1::exchange_request::Credential::JwtSvid(svid.to_owned())))
    }

    /// For `orders`, with a Kubernetes token.
    pub fn pod(token: &str) -> Self {
        Self::of(Some(v1::exchange_request::Credential::FederatedJwt(token.to_owned())))
    }

    /// For `orders`, with the credential elsewhere.
    pub fn of(credential: Option<v1::exchange_request::Credential>) -> Self {
        let message = v1::ExchangeRequest { credential, resource: ORDERS.to_owned(), ..v1::ExchangeRequest::default() };
        Self { message, authorization: None }
    }

    /// With a proof of possession.
    pub fn with_proof(mut self, proof: &str) -> Self {
        proof.clone_into(&mut self.message.dpop_proof);
        self
    }

    /// With metadata.
    pub fn authorization(self, value: &str) -> Self {
        Self { authorization: Some(value.to_owned()), ..self }
    }

    /// The message as it is sent.
    pub fn request<M>(&self, message: M) -> Request<M> {
        if let Some(
            v1::exchange_request::Credential::JwtSvid(token) | v1::exchange_request::Credential::FederatedJwt(token),
        ) = &self.message.credential
        {
            evidence::secret(token);
        }
        let mut request = Request::new(message);
        if let Some(value) = &self.authorization {
            evidence::secret(value);
            request.metadata_mut().insert("authorization", value.parse().unwrap());
        }
        request
    }
}

/// A client with one connection.
#[derive(Clone, Debug)]
pub struct Client(pub TokenServiceClient<Channel>);

impl Client {
    /// Connects at the first call.
    pub fn of(issuer: &str) -> Self {
        Self(TokenServiceClient::new(channel(issuer)))
    }

    /// One exchange.
    pub async fn exchange(&self, call: &Call) -> Result<v1::ExchangeResponse, Status> {
        let answer = self.0.clone().exchange(call.request(call.message.clone())).await;
        if let Err(status) = &answer {
            evidence::keep("grpc.txt", &format!("{status:?}"));
        }
        let answer = answer?.into_inner();
        evidence::secret(&answer.access_token);
        Ok(answer)
    }
}

/// A connection to the issuer's address, made at the first call.
pub fn channel(issuer: &str) -> Channel {
    Endpoint::from_shared(issuer.to_owned()).unwrap().timeout(Duration::from_secs(15)).connect_lazy()
}

/// The details of a refusal.
#[derive(Debug)]
pub struct Told {
    pub reason: String,
    pub domain: String,
    pub reference: String,
}

impl Told {
    /// `None` where there is no `ErrorInfo`.
    pub fn of(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        let reference = info.metadata.get("ref").cloned().unwrap_or_default();
        Some(Self { reason: info.reason, domain: info.domain, reference })
    }
}
