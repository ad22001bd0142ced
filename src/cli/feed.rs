//! `countersign feed`: the keys of a cluster that nobody can ask from outside, pushed from inside it.

mod plan;
mod seen;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use self::plan::{Next, Plan};
use self::seen::Seen;
use super::output::{aside, logs, runtime};
use super::{Exit, http};
use crate::clock::{Clock, Lifetime, SystemClock};
use crate::identity::{IssuerUrl, SourceName};
use crate::reason::quoted;
use crate::trust::{ClusterKeys, Endpoint, push_endpoint};

/// Bytes of a token file: service-account tokens have about one kilobyte.
const MOST_TOKEN_BYTES: u64 = 16 * 1024;
/// Bytes of an answer that are read: a sentence and a reference.
const MOST_ANSWER_BYTES: usize = 16 * 1024;
/// The shortest `--every`.
const SHORTEST: Lifetime = Lifetime::from_seconds(1);

/// Push the keys of the cluster that this runs in to a countersign outside it.
///
/// For a source with `keys: { push: … }`. Reads the cluster's keys from its API server and pushes every new set at once, and a
/// known one again now and then; a key that is gone goes when three looks in a row have missed it. Only calls out; nothing listens. Each push uses up one token of --token, a projected
/// service-account token whose audience is <issuer>/sources/<source>/keys: one is always kept back, so that a new set can be
/// pushed while tokens are still signed by a key that the service knows. Run one in a cluster.
#[derive(Debug, Args)]
pub(super) struct Feed {
    /// The issuer to push to
    #[arg(long, value_name = "URL", value_parser = issuer)]
    issuer: IssuerUrl,
    /// The name that the service has for this cluster
    #[arg(long, value_name = "NAME", value_parser = source)]
    source: SourceName,
    /// The projected token to push with, read at each use
    #[arg(long, value_name = "FILE", default_value = "/var/run/countersign/token")]
    token: PathBuf,
    /// The certificate authority of the issuer [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The cluster's API server
    #[arg(long, value_name = "URL", default_value = "https://kubernetes.default.svc")]
    api_server: Url,
    /// The certificate authority of the API server
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")]
    api_ca: PathBuf,
    /// The token to ask the API server with, read at each use
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token")]
    api_token: PathBuf,
    /// How often keys and token are read: 30s, 5m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = every)]
    every: Lifetime,
    /// Push once and end
    #[arg(long)]
    once: bool,
}

/// An unspent token goes there: as in the configuration, plain http to this machine alone.
fn issuer(text: &str) -> Result<IssuerUrl, String> {
    IssuerUrl::parse(text).map_err(|why| why.to_string())
}

fn source(text: &str) -> Result<SourceName, String> {
    SourceName::parse(text).map_err(|why| why.to_string())
}

fn every(text: &str) -> Result<Lifetime, String> {
    Lifetime::parse(text)
        .filter(|every| *every >= SHORTEST)
        .ok_or_else(|| "a time of at least 1s, such as 30s".to_owned())
}

/// What came of one look.
type Looked = Result<(), (Exit, String)>;

/// How a push was answered.
enum Answered {
    Taken,
    /// Nothing will come of it with this token.
    Refused(String),
    /// It may be taken later.
    NotNow(String),
}

impl Feed {
    pub(super) fn run(self) -> Exit {
        let _lines = logs("info");
        let outcome = match runtime() {
            Ok(runtime) => runtime.block_on(self.feed()),
            Err(error) => Err((Exit::Problem, format!("{error:#}"))),
        };
        outcome.unwrap_or_else(|(exit, why)| {
            aside(format!("countersign feed: {why}"));
            exit
        })
    }

    async fn feed(&self) -> Result<Exit, (Exit, String)> {
        let problem = |error: anyhow::Error| (Exit::Problem, format!("{error:#}"));
        let mut terminated = signal(SignalKind::terminate()).map_err(|error| (Exit::Problem, error.to_string()))?;
        let mut keys = ClusterKeys::at(Endpoint {
            url: self.api_server.clone(),
            ca: Some(self.api_ca.clone()),
            token: Some(self.api_token.clone()),
        });
        let (mut plan, mut seen) = (Plan::default(), Seen::default());
        let mut trouble = None;
        // The authority's file is read at the start: a pod is started again when its ConfigMap changes, or the file never does.
        let client =
            http::client(self.ca.as_deref()).map_err(problem)?.build().map_err(|error| problem(error.into()))?;
        loop {
            let looked = tokio::select! {
                _ = terminated.recv() => return Ok(Exit::Ok),
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
                looked = self.look(&client, &mut keys, &mut seen, &mut plan) => looked,
            };
            if self.once {
                return looked.map(|()| Exit::Ok);
            }
            let why = looked.err().map(|(_, why)| why);
            // Said once, not at every look.
            match (&why, &trouble) {
                (Some(now), before) if Some(now) != before.as_ref() => tracing::warn!("{now}"),
                (None, Some(_)) => tracing::info!("all is well again"),
                _ => {}
            }
            trouble = why;
            tokio::select! {
                _ = terminated.recv() => return Ok(Exit::Ok),
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
                () = tokio::time::sleep(self.every.to_duration()) => {}
            }
        }
    }

    /// Reads token and keys, and pushes as long as there is something to push and to push it with.
    async fn look(&self, client: &reqwest::Client, keys: &mut ClusterKeys, seen: &mut Seen, plan: &mut Plan) -> Looked {
        plan.see(read_token(&self.token).map_err(|why| (Exit::NoIdentity, why))?);
        let set = keys.fetch().await.map_err(|why| (Exit::Unreachable, format!("the cluster's keys: {why}")))?;
        if set.keys().is_empty() {
            return Err((Exit::Problem, "the cluster publishes no key that can be used".to_owned()));
        }
        let set = seen.see(&set);
        let document = set.to_document();
        let mut refused = None;
        loop {
            let token = match plan.next(&document, SystemClock.now()) {
                Next::Push(token) => token,
                Next::Nothing => return refused.map_or(Ok(()), |why| Err((Exit::Problem, why))),
                Next::WaitForToken => {
                    let why = refused.unwrap_or_else(|| "the keys are new, and this token was used".to_owned());
                    return Err((Exit::Problem, format!("{why}; pushed again with the next token")));
                }
            };
            match self.push(client, token, &document).await {
                Answered::Taken => {
                    plan.spent();
                    plan.taken(document.clone(), SystemClock.now());
                    tracing::info!(keys = set.keys().len(), "the keys were pushed");
                }
                Answered::Refused(why) => {
                    plan.spent();
                    refused = Some(why);
                }
                Answered::NotNow(why) => return Err((Exit::Unreachable, why)),
            }
        }
    }

    async fn push(&self, client: &reqwest::Client, token: &str, document: &str) -> Answered {
        let url = push_endpoint(&self.issuer, &self.source);
        let request = client
            .put(&url)
            .bearer_auth(token)
            .header("content-type", "application/jwk-set+json")
            .body(document.to_owned());
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Answered::NotNow(format!("{url} cannot be reached: {}", http::deepest(&error))),
        };
        let status = response.status();
        if status == reqwest::StatusCode::NO_CONTENT {
            return Answered::Taken;
        }
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            if body.len() + chunk.len() > MOST_ANSWER_BYTES {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let said = body.get("error_description").and_then(Value::as_str).map_or_else(String::new, quoted);
        let why = format!("{url} answers {}: {said}", status.as_u16());
        match status.as_u16() {
            // The source is not there (yet), or somebody is too busy: the token is as good as before.
            404 | 408 | 429 | 500..=599 => Answered::NotNow(why),
            _ => Answered::Refused(why),
        }
    }
}

/// # Errors
/// A sentence with the path.
fn read_token(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let fault = |error: std::io::Error| format!("the token file {} cannot be read: {error}", path.display());
    let mut text = String::new();
    std::fs::File::open(path).map_err(fault)?.take(MOST_TOKEN_BYTES).read_to_string(&mut text).map_err(fault)?;
    let token = text.trim();
    if token.is_empty() || token.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(format!("the token file {} holds no token", path.display()));
    }
    Ok(token.to_owned())
}
