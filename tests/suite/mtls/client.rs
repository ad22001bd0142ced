//! A client that holds one connection: what it asks twice, it asks on the same one.

use std::sync::Arc;

use countersign::wire::grpc::v1;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::SupportedProtocolVersion;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;

use crate::evidence;
use crate::stage::{Answer, encode};

/// Certificates, leaf first, and the key of the leaf.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// One open connection, HTTP/2 over TLS.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    issuer: String,
}

impl Connection {
    /// Opens it, or says why the handshake failed. The server must be vouched for by `roots`.
    pub async fn open(
        issuer: &str,
        roots: rustls::RootCertStore,
        identity: Option<Identity>,
        version: &'static SupportedProtocolVersion,
    ) -> Result<Self, std::io::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match identity {
            None => tls.with_no_client_auth(),
            Some(Identity { chain, key }) => tls.with_client_auth_cert(chain, key).unwrap(),
        };
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpStream::connect(issuer.trim_start_matches("https://")).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, socket).await?;
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        // With TLS 1.3 a client hears of a refused certificate only after its own end of the handshake.
        sender.ready().await.map_err(std::io::Error::other)?;
        let mut open = Self { sender, issuer: issuer.to_owned() };
        open.get("/jwks").await?;
        Ok(open)
    }

    /// `POST /token` with `grant_type=client_credentials`, these parameters and headers.
    pub async fn token(&mut self, parameters: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("grant_type", "client_credentials")];
        all.extend(parameters);
        self.post("/token", &all, headers).await
    }

    /// A form to that path.
    pub async fn post(&mut self, path: &str, parameters: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let request = Request::post(format!("{}{path}", self.issuer));
        let mut request = request.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::from(encode(parameters))).unwrap()).await.unwrap()
    }

    /// `Exchange` over gRPC on this same connection: the answer, or the details of its status.
    pub async fn exchange(&mut self, message: &v1::ExchangeRequest) -> Result<v1::ExchangeResponse, Status> {
        let encoded = message.encode_to_vec();
        let length = u32::try_from(encoded.len()).unwrap().to_be_bytes();
        let frame = [&[0][..], &length, &encoded].concat();
        let request = Request::post(format!("{}/countersign.v1.TokenService/Exchange", self.issuer))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        self.sender.ready().await.unwrap();
        let answer = self.sender.send_request(request.body(Full::from(frame)).unwrap()).await.unwrap();
        if let Some(status) = Status::from_header_map(answer.headers()) {
            evidence::keep("grpc.txt", &format!("{status:?}"));
            return Err(status);
        }
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let answer = v1::ExchangeResponse::decode(&body[5..]).unwrap();
        evidence::secret(&answer.access_token);
        Ok(answer)
    }

    /// `GET`.
    pub async fn get(&mut self, path: &str) -> Result<Answer, std::io::Error> {
        self.send(Request::get(format!("{}{path}", self.issuer)).body(Full::default()).unwrap()).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, std::io::Error> {
        self.sender.ready().await.map_err(std::io::Error::other)?;
        let response = self.sender.send_request(request).await.map_err(std::io::Error::other)?;
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        match body["access_token"].as_str() {
            Some(token) => evidence::secret(token),
            None => evidence::keep("answers.txt", &text),
        }
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, text, body })
    }
}

/// A client that shows a certificate and signs with another key, as a thief would.
pub async fn open_unchecked(
    issuer: &str,
    roots: rustls::RootCertStore,
    stolen: Identity,
    version: &'static SupportedProtocolVersion,
) -> Result<(), std::io::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(stolen.key).unwrap();
    let certified = Arc::new(rustls::sign::CertifiedKey::new(stolen.chain, key));
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(issuer.trim_start_matches("https://")).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(tls)).connect(name, socket).await?;
    // With TLS 1.3 the refusal comes after the client's own end of the handshake.
    let mut first = [0; 1];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.map(drop)
}
