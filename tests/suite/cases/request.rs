//! A request to the token endpoint that can be spoiled in any part.

use countersign::wire::grpc::v1;

use crate::evidence;
use crate::grpc::Call;
use crate::stage::{Answer, JWT_BEARER, JWT_SPIFFE, answer, encode};

/// What is sent.
#[derive(Clone)]
pub struct Request {
    method: &'static str,
    target: String,
    content_type: Option<String>,
    headers: Vec<(&'static str, String)>,
    parameters: Vec<(String, String)>,
    raw: Option<Vec<u8>>,
}

impl Request {
    /// `POST /token` with these parameters.
    pub fn form(parameters: &[(&str, &str)]) -> Self {
        Self {
            method: "POST",
            target: "/token".to_owned(),
            content_type: Some("application/x-www-form-urlencoded".to_owned()),
            headers: Vec::new(),
            parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            raw: None,
        }
    }

    /// With one more parameter, also beside one of the same name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another value of a parameter.
    pub fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// Without a parameter.
    pub fn without(mut self, name: &str) -> Self {
        self.parameters.retain(|(found, _)| found != name);
        self
    }

    /// With a parameter under another name.
    pub fn renamed(mut self, name: &str, to: &str) -> Self {
        for (found, _) in &mut self.parameters {
            if found == name {
                *found = to.to_owned();
            }
        }
        self
    }

    /// The value of a parameter.
    pub fn value(&self, name: &str) -> String {
        self.parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone()).unwrap()
    }

    /// With a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With another content type, or none.
    pub fn content_type(mut self, value: Option<&str>) -> Self {
        self.content_type = value.map(str::to_owned);
        self
    }

    /// With these bytes behind the encoded form.
    pub fn and_raw(mut self, bytes: &[u8]) -> Self {
        let body = [self.body(), bytes.to_vec()].concat();
        self.raw = Some(body);
        self
    }

    /// With these bytes instead of the encoded form.
    pub fn raw(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.raw = Some(bytes.into());
        self
    }

    /// At another path or with a query.
    pub fn at(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// By another method.
    pub const fn by(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// The body as it is sent.
    pub fn body(&self) -> Vec<u8> {
        let pairs: Vec<(&str, &str)> = self.parameters.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        self.raw.clone().unwrap_or_else(|| encode(&pairs).into_bytes())
    }

    /// The form as a query.
    pub fn query(&self) -> String {
        String::from_utf8(self.body()).unwrap()
    }

    fn headers_named(&self, name: &str) -> Vec<String> {
        self.headers.iter().filter(|(found, _)| *found == name).map(|(_, value)| value.clone()).collect()
    }

    /// The same request over gRPC, or why there is no such message.
    pub fn to_grpc(&self) -> Result<Call, &'static str> {
        if self.method != "POST" || self.target != "/token" {
            return Err("methods, paths and queries are those of HTTP");
        }
        if self.raw.is_some() {
            return Err("the bytes are those of a form");
        }
        if self.content_type.as_deref() != Some("application/x-www-form-urlencoded") {
            return Err("the content type is that of a form");
        }
        let named = |name: &'static str| {
            self.headers.iter().filter(move |(found, _)| *found == name).map(|(_, value)| value.clone())
        };
        let proofs: Vec<String> = named("dpop").collect();
        let others = self.headers.iter().filter(|(name, _)| !matches!(*name, "authorization" | "dpop")).count();
        if others > 0 || proofs.len() > 1 || proofs.iter().any(String::is_empty) {
            return Err("the header has a meaning over HTTP alone");
        }
        let mut names: Vec<&str> = self.parameters.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a field of a message is there once");
        }
        let value =
            |name: &str| self.parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        let exchanged = match value("grant_type").as_deref() {
            Some("client_credentials") => false,
            Some("urn:ietf:params:oauth:grant-type:token-exchange") => true,
            _ => return Err("a message has no grant type"),
        };
        let known =
            ["grant_type", "client_assertion_type", "client_assertion", "resource", "audience", "scope", "client_id"];
        let of_exchange = ["subject_token", "subject_token_type", "actor_token", "actor_token_type"];
        if !names.iter().all(|name| known.contains(name) || (exchanged && of_exchange.contains(name))) {
            return Err("a message has no such field");
        }
        let token = |name: &str| match (value(name), value(&format!("{name}_type"))) {
            (None, None) => Ok(None),
            (Some(token), Some(kind)) => {
                let kind = match kind.as_str() {
                    "urn:ietf:params:oauth:token-type:access_token" => v1::TokenType::AccessToken,
                    "urn:ietf:params:oauth:token-type:jwt" => v1::TokenType::Jwt,
                    _ => return Err("types of tokens are those of an enum"),
                };
                Ok(Some(v1::Token { token, r#type: kind.into() }))
            }
            _ => Err("a token and its type are one field"),
        };
        let (subject, actor) = (token("subject_token")?, token("actor_token")?);
        if exchanged && subject.is_none() {
            return Err("without a subject a message is no exchange");
        }
        let authorization = self.headers_named("authorization").into_iter().next();
        let credential = match (value("client_assertion_type").as_deref(), value("client_assertion")) {
            (None, None) if authorization.as_deref().is_some_and(|value| value.starts_with("Bearer ")) => {
                return Err("as metadata this is a credential");
            }
            (None, None) => None,
            (Some(JWT_SPIFFE), Some(token)) if !token.is_empty() => {
                Some(v1::exchange_request::Credential::JwtSvid(token))
            }
            (Some(JWT_BEARER), Some(token)) if !token.is_empty() => {
                Some(v1::exchange_request::Credential::FederatedJwt(token))
            }
            _ => return Err("the type of a credential is its field"),
        };
        let text = |name: &str| value(name).unwrap_or_default();
        let scopes = match text("scope") {
            none if none.is_empty() => Vec::new(),
            scope => scope.split(' ').map(str::to_owned).collect(),
        };
        let message = v1::ExchangeRequest {
            credential,
            subject,
            actor,
            client_id: text("client_id"),
            resource: text("resource"),
            audience: text("audience"),
            scopes,
            dpop_proof: proofs.into_iter().next().unwrap_or_default(),
            ..v1::ExchangeRequest::default()
        };
        Ok(Call { message, authorization })
    }

    /// Sends it.
    pub async fn send(&self, client: &reqwest::Client, issuer: &str) -> Answer {
        for (name, value) in &self.parameters {
            if matches!(name.as_str(), "client_assertion" | "assertion" | "subject_token" | "actor_token" | "token") {
                evidence::secret(value);
            }
        }
        for (name, value) in &self.headers {
            if matches!(*name, "authorization" | "dpop" | "oauth-client-attestation" | "oauth-client-attestation-pop") {
                evidence::secret(value);
            }
        }
        let method = reqwest::Method::from_bytes(self.method.as_bytes()).unwrap();
        let mut request = client.request(method, format!("{issuer}{}", self.target)).body(self.body());
        if let Some(content_type) = &self.content_type {
            request = request.header("content-type", content_type);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        answer(request.send().await.unwrap()).await
    }
}
