//! The one way out over https: what is asked, of whom, and how much of an answer is read.
//!
//! Never follows a redirect unasked, never uses a proxy, never trusts an authority that the operator did not mean, and never asks
//! another host than the one that the operator wrote.

mod call;
mod redirects;

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, LOCATION};
use http::{HeaderValue, StatusCode};
use url::Url;
use zeroize::Zeroize;

pub(super) use call::Call;

use super::Endpoint;
use super::freshness;
use super::key_file::read_bounded;
use super::names::{self, Lookup, PinnedNames};
use super::reading::Reading;
use super::server_identity::{NotTheServer, Server};
use crate::clock::{Lifetime, Timestamp};
use crate::reason::quoted;

/// Everything together: name, connection, TLS, headers and the last byte of the body.
const DEADLINE: Duration = Duration::from_secs(10);
/// As for key files: real documents have a few kilobytes.
const MOST_BYTES: usize = 1024 * 1024;
/// Service-account tokens have about one kilobyte.
const MOST_TOKEN_BYTES: u64 = 16 * 1024;
/// A few hundred authorities: the system's list has about 150.
const MOST_CA_BYTES: u64 = 2 * 1024 * 1024;

/// Which setting names the authorities of a source, and of our own public URL.
const SOURCE_CA: &str = "the source's `ca`";
const CANARY_CA: &str = "`signing.canary_ca`";

/// The client of one source.
pub(super) struct Outbound {
    endpoint: Endpoint,
    /// The client, and the authorities it was built with.
    built: Option<Built>,
    /// What the other side's clock said in the answer to the last request, if one came.
    date: Option<Timestamp>,
    /// For how long that answer is fresh, if it says.
    fresh_for: Option<Lifetime>,
    manner: Manner,
    reading: Reading<Result<Prepared, String>>,
}

/// How it asks.
#[derive(Clone)]
struct Manner {
    server: Server,
    names: PinnedNames,
    /// How long a connection that is not in use is kept.
    idle: Option<Duration>,
    /// The setting that names authorities, for people.
    ca_setting: &'static str,
}

impl Manner {
    /// Whether plain http may be asked.
    const fn plain(&self) -> bool {
        matches!(self.server, Server::Loopback)
    }
}

impl Outbound {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self::with_lookup(endpoint, names::system())
    }

    /// Names become addresses by `lookup`.
    pub(super) fn with_lookup(endpoint: Endpoint, lookup: Lookup) -> Self {
        let manner =
            Manner { server: Server::Named, names: PinnedNames::new(lookup), idle: None, ca_setting: SOURCE_CA };
        Self { endpoint, built: None, date: None, fresh_for: None, manner, reading: Reading::default() }
    }

    /// The client for our own public URL, which may be plain http on a loopback address.
    pub(super) fn to_ourselves(endpoint: Endpoint) -> Self {
        let loopback = match endpoint.url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let server = if loopback && endpoint.url.scheme() == "http" { Server::Loopback } else { Server::Named };
        let mut ours = Self::new(endpoint);
        ours.manner.server = server;
        ours.manner.ca_setting = CANARY_CA;
        ours
    }

    /// From now on the server must be this one.
    pub(super) fn expect(&mut self, server: Server) {
        self.manner.server = server;
        self.built = None;
    }

    #[cfg(all(test, feature = "world"))]
    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What the other side's clock said in the answer to the last request (RFC 9110 §6.6.1), in whole seconds: once, and `None`
    /// when there was no answer since.
    pub(super) const fn take_date(&mut self) -> Option<Timestamp> {
        self.date.take()
    }

    /// For how long the last answer is fresh by its cache headers; `None` when they do not say.
    pub(super) const fn fresh_for(&self) -> Option<Lifetime> {
        self.fresh_for
    }

    /// The body of a GET: the first request of a call, for which the name is looked up.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) async fn get(&mut self, url: &Url) -> Result<Vec<u8>, String> {
        self.manner.names.forget();
        self.get_further(url).await
    }

    /// The body of a further GET of the same call, to where the answer before it led: the same host at the same address.
    /// Our bearer token goes to the configured origin alone.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) async fn get_further(&mut self, url: &Url) -> Result<Vec<u8>, String> {
        match self.ask(url).await? {
            Answer::Body(body) => Ok(body),
            // Whoever verifies our tokens sends no token either.
            Answer::Other { status, token: Token::None, .. } if self.manner.ca_setting == CANARY_CA => {
                Err(asked(url, format!("{} instead of 200", status.as_u16())))
            }
            Answer::Other { status, location, token } => Err(asked(url, refusal(status, location.as_ref(), token))),
        }
    }

    async fn ask(&mut self, url: &Url) -> Result<Answer, String> {
        let fault = |why: String| asked(url, why);
        let ourselves = self.manner.plain() && url.origin() == self.endpoint.url.origin();
        if url.scheme() != "https" && !ourselves {
            return Err(fault("only https is asked".to_owned()));
        }
        if url.host() != self.endpoint.url.host() {
            return Err(fault("only the configured host is asked".to_owned()));
        }
        // Without an answer nothing is known of their clock: what the one before said was true then.
        (self.date, self.fresh_for) = (None, None);
        let (client, token) = self.prepare().await.map_err(fault)?;
        let mut request = client.get(url.clone()).header(ACCEPT, "application/jwk-set+json, application/json");
        let ours = match token {
            None => Token::None,
            // Another port may be another service: discovery does not decide who sees our token.
            Some(_) if url.origin() != self.endpoint.url.origin() => Token::Withheld,
            Some(token) => {
                request = request.header(AUTHORIZATION, token);
                Token::Sent
            }
        };
        let response = request.send().await.map_err(|error| fault(self.sentence(&error)))?;
        if let Some(address) = response.remote_addr() {
            self.manner.names.answered_by(address.ip());
        }
        self.date = freshness::clock_of(response.headers());
        self.fresh_for = freshness::said_by(response.headers());
        if response.status() != StatusCode::OK {
            let location = response.headers().get(LOCATION).cloned();
            return Ok(Answer::Other { status: response.status(), location, token: ours });
        }
        self.whole(response).await.map(Answer::Body).map_err(fault)
    }

    /// The body of an answer, up to a limit.
    async fn whole(&self, mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.sentence(&error))? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err(format!("the answer has more than {MOST_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Reads the authorities and the token anew (K8S-21); the client is built again when the authorities have changed.
    async fn prepare(&mut self) -> Result<(reqwest::Client, Option<HeaderValue>), String> {
        let (endpoint, built, manner) = (self.endpoint.clone(), self.built.take(), self.manner.clone());
        let read = move || read_files(&endpoint, built, manner);
        let (ca, client, token) = self.reading.of("the files for its requests", read).await??;
        self.built = Some((ca, client.clone()));
        Ok((client, token))
    }

    /// Why there is no answer, in words that name what to change.
    fn sentence(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no whole answer within {} s", DEADLINE.as_secs());
        }
        let mut deepest: &dyn Error = error;
        let mut next = error.source();
        while let Some(cause) = next {
            if let Some(tls) = tls_fault(cause) {
                return self.tls_sentence(tls);
            }
            deepest = cause;
            next = cause.source();
        }
        quoted(&deepest.to_string())
    }

    fn tls_sentence(&self, error: &rustls::Error) -> String {
        use rustls::CertificateError as Fault;
        let authorities = match (&self.endpoint.ca, &self.manner.server) {
            (Some(path), Server::NamedOnTheWeb) => format!("{} or the system's list", path.display()),
            (Some(path), _) => path.display().to_string(),
            (None, _) => format!("the system's list ({} is not set)", self.manner.ca_setting),
        };
        match error {
            rustls::Error::InvalidCertificate(Fault::Other(other)) if other.0.is::<NotTheServer>() => {
                other.0.to_string()
            }
            rustls::Error::InvalidCertificate(Fault::UnknownIssuer | Fault::BadSignature) => {
                format!("its certificate is not signed by an authority in {authorities}")
            }
            rustls::Error::InvalidCertificate(Fault::NotValidForName | Fault::NotValidForNameContext { .. }) => {
                "its certificate is for another name than the URL's host".to_owned()
            }
            rustls::Error::InvalidCertificate(Fault::Expired | Fault::ExpiredContext { .. }) => {
                "its certificate has expired".to_owned()
            }
            other => format!("TLS failed: {}", quoted(&other.to_string())),
        }
    }
}

pub(super) fn date_of(value: &HeaderValue) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok().map(Timestamp::from_seconds)
}

/// An `io::Error` hides what it wraps from `source`, and connectors wrap one in another.
fn tls_fault<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = cause;
    while let Some(inner) = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        cause = inner;
    }
    cause.downcast_ref()
}

type Built = (Vec<u8>, reqwest::Client);

/// The authorities, the client that was built with them, and our token.
type Prepared = (Vec<u8>, reqwest::Client, Option<HeaderValue>);

fn read_files(endpoint: &Endpoint, built: Option<Built>, manner: Manner) -> Result<Prepared, String> {
    let token = endpoint.token.as_deref().map(read_token).transpose()?;
    let ca = match &endpoint.ca {
        Some(path) => read_bounded(path, MOST_CA_BYTES)?,
        None => Vec::new(),
    };
    match built {
        Some((same, client)) if same == ca => Ok((ca, client, token)),
        _ => {
            let client = client(&ca, endpoint.ca.as_deref(), manner)?;
            Ok((ca, client, token))
        }
    }
}

/// What came back.
enum Answer {
    Body(Vec<u8>),
    Other { status: StatusCode, location: Option<HeaderValue>, token: Token },
}

/// Why a request brought nothing.
fn asked(url: &Url, why: String) -> String {
    format!("GET {}: {why}", shown(url))
}

/// A URL without what may be secret in it.
fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// What became of our bearer token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    None,
    Sent,
    Withheld,
}

fn refusal(status: StatusCode, location: Option<&HeaderValue>, token: Token) -> String {
    const ROLE: &str = "the ClusterRole system:service-account-issuer-discovery";
    let code = status.as_u16();
    match (code, token) {
        (401, Token::Sent) => {
            "401: our own token was not accepted; is its file renewed, and is it for this API server?".to_owned()
        }
        (403, Token::Sent) => format!("403: our token's account may not read this; bind {ROLE} to it"),
        (401 | 403, Token::Withheld) => format!(
            "{code}: our token goes to the configured host and port alone; configure this URL as keys: {{ url: … }}"
        ),
        (401 | 403, Token::None) => format!(
            "{code}: anonymous discovery is off; give the source a `token`, or bind {ROLE} to the group \
             system:unauthenticated"
        ),
        (300..=399, _) => {
            let to = location.and_then(|value| value.to_str().ok()).map(quoted);
            let to = to.map_or_else(String::new, |to| format!(" to {to}"));
            format!("{code}: a redirect{to}; redirects are not followed, configure the URL that has the keys")
        }
        _ => format!("{code} instead of 200"),
    }
}

fn read_token(path: &Path) -> Result<HeaderValue, String> {
    let mut bytes = read_bounded(path, MOST_TOKEN_BYTES)?;
    let text = bytes.trim_ascii();
    let header = if text.is_empty() {
        Err(format!("the token file {} is empty", path.display()))
    } else {
        let mut value = [b"Bearer ", text].concat();
        let header = HeaderValue::from_bytes(&value)
            .map_err(|_unfit| format!("the token file {} holds no bearer token", path.display()));
        value.zeroize();
        header
    };
    bytes.zeroize();
    header.map(|mut header| {
        header.set_sensitive(true);
        header
    })
}

fn client(ca: &[u8], path: Option<&Path>, manner: Manner) -> Result<reqwest::Client, String> {
    let plain = manner.plain();
    let Manner { server, names, idle, ca_setting } = manner;
    let tls = server.tls(ca, path).map_err(|why| format!("{why}; {ca_setting} names a file of authorities"))?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(!plain)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(names)
        .referer(false)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
        // Minutes pass between requests for keys: a kept connection would only be found broken.
        .pool_max_idle_per_host(usize::from(idle.is_some()))
        .pool_idle_timeout(idle)
        .timeout(DEADLINE)
        .build()
        .map_err(|error| format!("the client cannot be built: {}", quoted(&error.to_string())))
}
