//! `countersign token --watch`: a stream of tokens instead of one exchange after the other.
//!
//! Leaves no token in a file that has ended, or that is refused by now.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status, Streaming};

use super::{Issued, LONGEST_WAIT, SHORTEST_WAIT, Token, write_whole};
use crate::cli::credential::{Credential, JWT_SPIFFE, NoCredential};
use crate::cli::output::aside;
use crate::cli::surroundings::Surroundings;
use crate::cli::{Exit, http};
use crate::secret::Secret;
use crate::wire::grpc::v1;
use crate::wire::grpc::v1::token_service_client::TokenServiceClient;
use crate::wire::grpc::v1::watch_request::Message as Sent;
use crate::wire::grpc::v1::watch_response::Message as Told;
use crate::wire::grpc::v1::{exchange_request, fresh_credential};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// An open stream.
struct Open {
    sender: mpsc::Sender<v1::WatchRequest>,
    answers: Streaming<v1::WatchResponse>,
}

/// Why there is no stream, or none any more: the exit code says whether coming back may help.
type Ended = (Exit, String);

impl Token {
    /// Follows a stream until it is refused or a signal comes; opens it again when it breaks.
    pub(super) async fn follow(&self, issuer: &str, near: Option<&Surroundings>) -> Result<Exit, Ended> {
        let mut terminated = signal(SignalKind::terminate()).map_err(|error| (Exit::Problem, error.to_string()))?;
        let mut kept = Kept { file: self.output.as_deref(), dies: None };
        let mut wait = SHORTEST_WAIT;
        loop {
            let why = tokio::select! {
                _ = terminated.recv() => return Ok(Exit::Ok),
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
                ended = self.stream(issuer, near, &mut kept, &mut wait) => match ended {
                    (Exit::Unreachable, why) => why,
                    refused => {
                        kept.remove("it is refused by now");
                        return Err(refused);
                    }
                },
            };
            aside(format!("the stream ended, opened again in {} s: {why}", wait.as_secs()));
            tokio::select! {
                _ = terminated.recv() => return Ok(Exit::Ok),
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
                () = kept.outlives(wait) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// One stream, from its opening to its end.
    async fn stream(
        &self,
        issuer: &str,
        near: Option<&Surroundings>,
        kept: &mut Kept<'_>,
        wait: &mut Duration,
    ) -> Ended {
        let mut open = match self.open(issuer, near).await {
            Ok(open) => open,
            Err(ended) => return ended,
        };
        let mut needed: Option<Pin<Box<Sleep>>> = None;
        loop {
            tokio::select! {
                told = open.answers.message() => match told.map(|told| told.and_then(|told| told.message)) {
                    Ok(Some(Told::Token(token))) => {
                        *wait = SHORTEST_WAIT;
                        if let Err(ended) = self.deliver(token, kept) {
                            return ended;
                        }
                    }
                    Ok(Some(Told::CredentialNeeded(_))) => needed = Some(Box::pin(sleep(Duration::ZERO))),
                    Ok(None) => return (Exit::Unreachable, "it ended without a reason".to_owned()),
                    Err(status) => return told_by(&status),
                },
                () = passed(&mut needed) => needed = match self.who.credential(issuer, near).await {
                    Ok(credential) => {
                        let fresh = v1::FreshCredential { credential: Some(fresh(&credential)) };
                        let _ = open.sender.send(v1::WatchRequest { message: Some(Sent::FreshCredential(fresh)) }).await;
                        None
                    }
                    Err(NoCredential { why, .. }) => {
                        aside(format!("no fresh credential, tried again in {} s: {why}", SHORTEST_WAIT.as_secs()));
                        Some(Box::pin(sleep(SHORTEST_WAIT)))
                    }
                },
                () = passed(&mut kept.dies) => kept.died(),
            }
        }
    }

    async fn open(&self, issuer: &str, near: Option<&Surroundings>) -> Result<Open, Ended> {
        let credential = self.who.credential(issuer, near).await;
        let credential = credential.map_err(|NoCredential { exit, why }| (exit, why))?;
        let scopes = self.scope.as_deref().map(|scope| scope.split(' ').map(str::to_owned).collect());
        let exchange = v1::ExchangeRequest {
            credential: Some(shown(&credential)),
            audience: self.resource.clone().unwrap_or_default(),
            scopes: scopes.unwrap_or_default(),
            ..v1::ExchangeRequest::default()
        };
        let (sender, messages) = mpsc::channel(1);
        let _ = sender.send(v1::WatchRequest { message: Some(Sent::Exchange(Box::new(exchange))) }).await;
        let mut client = TokenServiceClient::new(channel(issuer, self.ca.as_deref()).await?);
        let answers = client.watch(ReceiverStream::new(messages)).await.map_err(|status| told_by(&status))?;
        Ok(Open { sender, answers: answers.into_inner() })
    }

    fn deliver(&self, token: v1::ExchangeResponse, kept: &mut Kept<'_>) -> Result<(), Ended> {
        let seconds = |duration: Option<prost_types::Duration>| duration.map_or(0, |duration| duration.seconds);
        let life = seconds(token.expires_in);
        let answer = json!({
            "token_type": token.token_type,
            "expires_in": life,
            "refresh_in": seconds(token.refresh_in),
            "scope": token.scopes.join(" "),
        });
        let issued = Issued { token: Secret::new("access token", token.access_token), answer };
        match kept.file {
            None => self.print(&issued),
            Some(file) => {
                write_whole(file, issued.token.expose())
                    .map_err(|error| (Exit::Problem, format!("{}: {error}", file.display())))?;
                aside(format!("{} is fresh for {life} s", file.display()));
                kept.dies = Some(Box::pin(sleep(Duration::from_secs(life.unsigned_abs()))));
            }
        }
        Ok(())
    }
}

/// The file of the token, and when what is in it ends.
struct Kept<'a> {
    file: Option<&'a Path>,
    dies: Option<Pin<Box<Sleep>>>,
}

impl Kept<'_> {
    fn died(&mut self) {
        self.remove("its token has ended");
    }

    fn remove(&mut self, why: &str) {
        self.dies = None;
        if let Some(file) = self.file
            && std::fs::remove_file(file).is_ok()
        {
            aside(format!("{} was removed: {why}", file.display()));
        }
    }

    /// Waits, and removes the file if its token ends before.
    async fn outlives(&mut self, wait: Duration) {
        let mut waited = Box::pin(sleep(wait));
        loop {
            tokio::select! {
                () = waited.as_mut() => return,
                () = passed(&mut self.dies) => self.died(),
            }
        }
    }
}

async fn passed(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.as_mut().await,
        None => std::future::pending().await,
    }
}

/// What a status means for who asked: coming back may help, or not.
fn told_by(status: &Status) -> Ended {
    let passes = matches!(
        status.code(),
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
    );
    let exit = if passes { Exit::Unreachable } else { Exit::Problem };
    (exit, format!("{:?}: {}", status.code(), status.message()))
}

fn shown(credential: &Credential) -> exchange_request::Credential {
    let token = credential.token.expose().clone();
    match credential.assertion_type {
        JWT_SPIFFE => exchange_request::Credential::JwtSvid(token),
        _ => exchange_request::Credential::FederatedJwt(token),
    }
}

fn fresh(credential: &Credential) -> fresh_credential::Credential {
    match shown(credential) {
        exchange_request::Credential::JwtSvid(token) => fresh_credential::Credential::JwtSvid(token),
        exchange_request::Credential::FederatedJwt(token) => fresh_credential::Credential::FederatedJwt(token),
    }
}

/// What the client's bytes go over.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A connection to the issuer's host, with our own TLS: HTTP/2 is agreed on by ALPN, or known before on loopback.
async fn channel(issuer: &str, ca: Option<&Path>) -> Result<Channel, Ended> {
    let problem = |error: String| (Exit::Problem, error);
    let endpoint = Endpoint::from_shared(issuer.to_owned()).map_err(|error| problem(error.to_string()))?;
    let mut tls = http::tls(ca).map_err(|error| problem(format!("{error:#}")))?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = Arc::new(tls);
    let connector = tower::service_fn(move |uri: Uri| {
        let tls = Arc::clone(&tls);
        async move { connect(&uri, tls).await.map(TokioIo::new) }
    });
    let endpoint = endpoint.connect_timeout(CONNECT);
    let connected = endpoint.connect_with_connector(connector).await;
    connected.map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        (Exit::Unreachable, format!("{issuer} cannot be reached: {cause}"))
    })
}

async fn connect(uri: &Uri, tls: Arc<rustls::ClientConfig>) -> std::io::Result<Box<dyn Socket>> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let socket = TcpStream::connect((host, port)).await?;
    if !secure {
        return Ok(Box::new(socket));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    Ok(Box::new(tokio_rustls::TlsConnector::from(tls).connect(name, socket).await?))
}
