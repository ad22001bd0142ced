//! The operator socket: what the command line talks to. `<state>/operator.sock`, mode 0600; no network port ever offers it.
//!
//! Whoever can open the socket is an operator: the file system decides. Issues nothing.

mod keys;
mod revoke;
mod sources;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path as InPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::UnixListener;

pub use keys::{KeyChange, KeyReport, KeysReport, WaitReport};
pub use revoke::{RevocationAsk, RevocationCounts, RevocationList};
pub use sources::{ExtensionAnswer, ExtensionAsk, ExtensionReport, FailureReport, SourceReport};

use crate::credential::{CompactJws, Shown};
use crate::exchange::{Exchange, Record};
use crate::identity::ScopeSet;
use crate::lifecycle::{Drain, Readiness};
use crate::policy::Ask;
use crate::trust::Trust;

/// A request to the socket has at most this many bytes: a token and a few words.
const LONGEST_BODY: usize = 64 * 1024;

/// What the socket answers about.
#[derive(Clone, Debug)]
pub struct OperatorState {
    /// The core.
    pub exchange: Arc<Exchange>,
    /// The sources.
    pub trust: Arc<Trust>,
    /// What start-up still waits for.
    pub readiness: Readiness,
}

/// A credential to be judged without a token being issued.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// The token.
    pub token: String,
    /// Whether it is declared as a JWT-SVID; else as a federated JWT.
    pub spiffe: bool,
    /// The resource that it should be for, by name or audience.
    pub resource: Option<String>,
    /// The scopes that should be asked for.
    pub scope: Option<String>,
}

/// The state of the service, for `countersign status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// The version of the running process.
    pub version: String,
    /// The issuer.
    pub issuer: String,
    /// The configuration in use.
    pub generation: String,
    /// Whether the service is ready.
    pub ready: bool,
    /// What readiness waits for.
    pub waiting_for: Vec<String>,
    /// The outage budget of all sources together.
    #[serde(default)]
    pub first_failure: Option<FailureReport>,
    /// The sources.
    pub sources: Vec<SourceReport>,
    /// Our own keys.
    pub signing: Vec<SigningReport>,
    /// Those of them that are published and do not sign yet.
    #[serde(default)]
    pub own_keys_that_wait: Vec<WaitReport>,
    /// What is revoked.
    #[serde(default)]
    pub revocations: RevocationCounts,
    /// Whether the store works: if not, nothing can be revoked, and once-only credentials are refused.
    pub store_works: bool,
}

/// One signing key.
#[derive(Debug, Serialize, Deserialize)]
pub struct SigningReport {
    /// Its key id.
    pub key_id: String,
    /// Its algorithm.
    pub algorithm: String,
    /// Its state.
    pub state: String,
    /// Whether it signs.
    pub signs: bool,
}

/// Where the socket of a state folder is.
pub fn socket_in(state_directory: &Path) -> PathBuf {
    state_directory.join("operator.sock")
}

/// Serves the socket until the drain begins; the file is removed then.
///
/// # Errors
/// The socket cannot be made; another process that answers on it is such a case.
pub async fn serve(state_directory: &Path, state: OperatorState, drain: &Drain) -> io::Result<()> {
    let path = socket_in(state_directory);
    let listener = bind(&path)?;
    let begun = drain.clone();
    let router = router(state).into_make_service_with_connect_info::<revoke::Operator>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move { begun.begun().await });
    let ours = inode(&path);
    drop(drain.spawn(async move {
        let _ = serving.await;
        // A successor may have bound its own under that name already.
        if inode(&path) == ours {
            let _ = std::fs::remove_file(&path);
        }
    }));
    Ok(())
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| std::os::unix::fs::MetadataExt::ino(&metadata))
}

/// Binds where nobody else can open it, takes the rights away, and only then moves it to its name.
fn bind(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers on it"));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let private = folder.join(format!(".operator-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&private);
    std::fs::DirBuilder::new().mode(0o700).create(&private)?;
    let made = private.join("s");
    let bound = UnixListener::bind(&made).and_then(|listener| {
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&made, path)?;
        Ok(listener)
    });
    let _ = std::fs::remove_dir_all(&private);
    bound
}

fn router(state: OperatorState) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/decisions/{reference}", get(decision))
        .route("/grants", get(grants))
        .route("/judge", post(judge))
        .route("/keys", get(keys::show).post(keys::change))
        .route("/extensions", post(sources::extend))
        .route("/revocations", get(revoke::list).post(revoke::change))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(state)
}

async fn status(State(state): State<OperatorState>) -> Json<Status> {
    let now = state.exchange.now();
    let sources = state.trust.status();
    let ring = state.exchange.issuer().ring();
    let signing = ring.states(now).into_iter().map(|key| SigningReport {
        key_id: key.key_id.to_string(),
        algorithm: key.algorithm.name().to_owned(),
        state: key.state.as_str().to_owned(),
        signs: key.signs,
    });
    let generation = state.exchange.generation();
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        issuer: generation.issuer().to_string(),
        generation: generation.id().to_string(),
        ready: state.readiness.is_ready(),
        waiting_for: state.readiness.waiting_for(),
        first_failure: FailureReport::of(&sources, now),
        sources: sources.iter().map(|source| SourceReport::of(source, now)).collect(),
        signing: signing.collect(),
        own_keys_that_wait: ring.waits(now).iter().map(|wait| WaitReport::of(wait, now)).collect(),
        revocations: RevocationCounts::of(&state),
        store_works: state.exchange.store_works(),
    })
}

async fn decision(State(state): State<OperatorState>, InPath(reference): InPath<String>) -> Response {
    let recorder = state.exchange.recorder().clone();
    let wanted = reference.to_ascii_uppercase();
    let found = tokio::task::spawn_blocking(move || recorder.find(&wanted)).await;
    match found {
        Ok(Ok(Some(record))) => Json(record).into_response(),
        Ok(Ok(None)) => refuse(StatusCode::NOT_FOUND, "no kept decision has that reference"),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("the journal cannot be read: {error}")),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn grants(State(state): State<OperatorState>) -> Response {
    let recorder = state.exchange.recorder().clone();
    match tokio::task::spawn_blocking(move || recorder.grants()).await {
        Ok(Ok(grants)) => Json(grants.tallies()).into_response(),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("the journal cannot be read: {error}")),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn judge(State(state): State<OperatorState>, Json(judge): Json<Judge>) -> Response {
    let jws = match CompactJws::parse(judge.token) {
        Ok(jws) => jws,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &format!("not a signed JWT: {why}")),
    };
    let scopes = match judge.scope.as_deref().map(ScopeSet::parse).transpose() {
        Ok(scopes) => scopes,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    let shown = if judge.spiffe { Shown::JwtSvid(jws) } else { Shown::Federated(jws) };
    let ask = Ask { audience: judge.resource, scopes, ..Ask::default() };
    let record: Record = state.exchange.judge(shown, ask).await;
    Json(record).into_response()
}

fn refuse(status: StatusCode, sentence: &str) -> Response {
    (status, Json(json!({ "error": sentence }))).into_response()
}
