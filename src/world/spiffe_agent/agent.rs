//! The agent: which identities and bundles its callers get, and the Unix socket on which they ask.
//!
//! Never removes a socket that somebody answers on, or a file that is no socket.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;

use crate::clock::{Lifetime, Timestamp};

use super::super::WorldFault;
use super::super::places::place;
use super::super::x509::Certified;
use super::change::{Pulse, beat};
use super::proto::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use super::service::Service;
use super::trust_domain::PretendTrustDomain;

/// What SPIRE gives a JWT-SVID by default.
const JWT_SVID_LIFETIME: Lifetime = Lifetime::from_minutes(5);
/// What SPIRE gives an X.509-SVID by default.
const X509_SVID_LIFETIME: Lifetime = Lifetime::from_hours(1);

/// How long a connection may take to end once the agent stops.
const DRAIN: Duration = Duration::from_secs(2);

/// How the agent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// As it should.
    #[default]
    Truth,
    /// PERMISSION_DENIED, also on open streams: no registration fits the caller.
    PermissionDenied,
    /// UNAVAILABLE, also on open streams.
    Unavailable,
    /// INVALID_ARGUMENT, also on open streams: asking again would change nothing (WAP-08).
    InvalidArgument,
    /// Messages with empty bundle maps, which the contract does not allow (WAP-07).
    NoBundles,
}

/// One identity that callers get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The SPIFFE ID.
    pub spiffe_id: String,
    /// The hint, or nothing.
    pub hint: String,
}

impl From<&str> for Registration {
    fn from(spiffe_id: &str) -> Self {
        Self { spiffe_id: spiffe_id.to_owned(), hint: String::new() }
    }
}

/// The methods of the Workload API, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rpc {
    /// `FetchX509SVID`
    FetchX509Svid,
    /// `FetchX509Bundles`
    FetchX509Bundles,
    /// `FetchJWTSVID`
    FetchJwtSvid,
    /// `FetchJWTBundles`
    FetchJwtBundles,
    /// `ValidateJWTSVID`
    ValidateJwtSvid,
}

/// A Workload API server on a Unix socket. It runs until it is stopped or the token that started it is cancelled.
pub struct WorkloadApi {
    agent: Arc<Agent>,
    socket: PathBuf,
    stop: CancellationToken,
    running: tokio::sync::Mutex<Option<Running>>,
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl WorkloadApi {
    /// Listens on `socket`. A stale socket file there is removed. Until [`register`](Self::register) is called, callers
    /// get `spiffe://<trust domain>/workload`.
    ///
    /// # Errors
    /// When the socket is in use, the path is no socket, or it cannot be made (a socket's path has at most about 100 bytes).
    pub async fn start(
        socket: impl Into<PathBuf>,
        domain: &PretendTrustDomain,
        stop: &CancellationToken,
    ) -> Result<Self, WorldFault> {
        let agent = Arc::new(Agent::new(domain.clone()));
        let api = Self { agent, socket: socket.into(), stop: stop.clone(), running: tokio::sync::Mutex::new(None) };
        api.start_again().await?;
        Ok(api)
    }

    /// Listens again on the same path after [`stop`](Self::stop); nothing else is changed. Does nothing while it runs.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_again(&self) -> Result<(), WorldFault> {
        let mut running = self.running.lock().await;
        if running.as_ref().is_some_and(|running| !running.task.is_finished()) {
            return Ok(());
        }
        remove_stale(&self.socket).await?;
        let listener = UnixListener::bind(&self.socket).map_err(place("listening on", &self.socket))?;
        let stop = self.stop.child_token();
        let service = Service::new(Arc::clone(&self.agent), stop.clone());
        let task = tokio::spawn(serve(listener, service, self.socket.clone(), stop.clone()));
        *running = Some(Running { stop, task });
        Ok(())
    }

    /// Ends every stream, removes the socket, and completes when that is done.
    pub async fn stop(&self) {
        let running = self.running.lock().await.take();
        if let Some(running) = running {
            running.stop.cancel();
            // The task ends by its token alone; it can't be cancelled otherwise, and doesn't panic.
            let _ = running.task.await;
        }
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What `SPIFFE_ENDPOINT_SOCKET` would say: `unix:<path>`.
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// The trust domain of the agent.
    pub fn domain(&self) -> &PretendTrustDomain {
        &self.agent.domain
    }

    /// Which identities every caller gets from now on; the first is the default. With none, callers hear PERMISSION_DENIED when they ask for SVIDs.
    pub fn register<R: Into<Registration>>(&self, registrations: impl IntoIterator<Item = R>) {
        let registrations = registrations.into_iter().map(Into::into).collect();
        self.agent.change(|state| state.registrations = registrations);
    }

    /// Adds a federated trust domain: its bundles are in every answer, and follow its changes.
    pub fn federate(&self, domain: &PretendTrustDomain) {
        domain.tell(&self.agent.pulse);
        self.agent.change(|state| {
            state.federated.insert(domain.name().to_owned(), domain.clone());
        });
    }

    /// Drops a federated trust domain.
    pub fn unfederate(&self, name: &str) {
        self.agent.change(|state| {
            state.federated.remove(name);
        });
    }

    /// Sends any entry in the JWT bundles beside the true ones: `id` is the map's key as it is. `None` takes it away.
    pub fn send_also(&self, id: &str, jwt_bundle: Option<Vec<u8>>) {
        self.agent.change(|state| match jwt_bundle {
            Some(bytes) => drop(state.also.insert(id.to_owned(), bytes)),
            None => drop(state.also.remove(id)),
        });
    }

    /// How to answer from now on.
    pub fn answer(&self, answer: Answer) {
        self.agent.change(|state| state.answer = answer);
    }

    /// How long JWT-SVIDs live that callers fetch; five minutes unless set.
    pub fn set_jwt_svid_lifetime(&self, lifetime: Lifetime) {
        self.agent.change(|state| state.jwt_svid_lifetime = lifetime);
    }

    /// How often `rpc` was called, whatever the answer.
    pub fn calls(&self, rpc: Rpc) -> u64 {
        self.agent.counts.of(rpc).load(Ordering::Relaxed)
    }

    /// How many calls came without the security header (WAP-01).
    pub fn calls_without_header(&self) -> u64 {
        self.agent.counts.without_header.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for WorkloadApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadApi")
            .field("domain", &self.agent.domain)
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Drop for WorkloadApi {
    fn drop(&mut self) {
        if let Some(running) = self.running.get_mut() {
            running.stop.cancel();
        }
    }
}

async fn serve(listener: UnixListener, service: Service, socket: PathBuf, stop: CancellationToken) {
    let server = tonic::transport::Server::builder().add_service(SpiffeWorkloadApiServer::new(service));
    let serving = server.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled());
    let patience = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    // Streams end by the same token. How a connection ends is the client's affair, but it must not hold up ours.
    tokio::select! {
        _ = serving => {}
        () = patience => {}
    }
    let _ = fs::remove_file(&socket);
}

/// Makes way for a new socket.
async fn remove_stale(socket: &Path) -> Result<(), WorldFault> {
    let Ok(metadata) = fs::symlink_metadata(socket) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(WorldFault::NotASocket(socket.to_path_buf()));
    }
    if UnixStream::connect(socket).await.is_ok() {
        return Err(WorldFault::SocketInUse(socket.to_path_buf()));
    }
    fs::remove_file(socket).map_err(place("removing", socket))
}

/// What the agent knows, apart from its socket.
pub(super) struct Agent {
    pub(super) domain: PretendTrustDomain,
    pub(super) pulse: Pulse,
    pub(super) counts: Counts,
    state: Mutex<AgentState>,
}

pub(super) struct AgentState {
    pub(super) registrations: Vec<Registration>,
    pub(super) federated: BTreeMap<String, PretendTrustDomain>,
    pub(super) also: BTreeMap<String, Vec<u8>>,
    pub(super) answer: Answer,
    pub(super) jwt_svid_lifetime: Lifetime,
    /// The X.509-SVIDs in use, by SPIFFE ID: a stream must not see a new one for every change elsewhere.
    pub(super) x509_svids: BTreeMap<String, Arc<IssuedSvid>>,
}

/// An X.509-SVID and the CA that issued it.
pub(super) struct IssuedSvid {
    pub(super) svid: Certified,
    pub(super) authority: Vec<u8>,
    pub(super) renew_at: Timestamp,
}

impl Agent {
    fn new(domain: PretendTrustDomain) -> Self {
        let pulse: Pulse = Arc::new(watch::Sender::new(0));
        domain.tell(&pulse);
        let state = AgentState {
            registrations: vec![Registration::from(format!("{}/workload", domain.id()).as_str())],
            federated: BTreeMap::new(),
            also: BTreeMap::new(),
            answer: Answer::Truth,
            jwt_svid_lifetime: JWT_SVID_LIFETIME,
            x509_svids: BTreeMap::new(),
        };
        Self { domain, pulse, counts: Counts::default(), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, AgentState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut AgentState)) {
        change(&mut self.state());
        beat(&self.pulse);
    }

    /// The X.509-SVID of `spiffe_id`: the one in use, until half its life is over or the CA has changed.
    pub(super) fn x509_svid(&self, spiffe_id: &str) -> Result<Arc<IssuedSvid>, WorldFault> {
        let now = self.domain.surroundings().now();
        let authority = self.domain.active_authority();
        let known = self.state().x509_svids.get(spiffe_id).cloned();
        if let Some(issued) =
            known.filter(|issued| issued.authority == authority.der().as_ref() && now < issued.renew_at)
        {
            return Ok(issued);
        }
        let svid = self.domain.x509_svid(spiffe_id, X509_SVID_LIFETIME)?;
        let half = Lifetime::from_millis((X509_SVID_LIFETIME.millis() / 2) as u32);
        let issued = Arc::new(IssuedSvid { svid, authority: authority.der().to_vec(), renew_at: now.plus(half) });
        self.state().x509_svids.insert(spiffe_id.to_owned(), Arc::clone(&issued));
        Ok(issued)
    }
}

impl Agent {
    /// When the first X.509-SVID in use must be renewed.
    pub(super) fn x509_svids_due(&self) -> Timestamp {
        let state = self.state();
        let in_use =
            state.registrations.iter().filter_map(|registration| state.x509_svids.get(&registration.spiffe_id));
        in_use.map(|issued| issued.renew_at).min().unwrap_or(Timestamp::MAX)
    }
}

/// Calls so far.
#[derive(Default)]
pub(super) struct Counts {
    fetch_x509_svid: AtomicU64,
    fetch_x509_bundles: AtomicU64,
    fetch_jwt_svid: AtomicU64,
    fetch_jwt_bundles: AtomicU64,
    validate_jwt_svid: AtomicU64,
    pub(super) without_header: AtomicU64,
}

impl Counts {
    pub(super) const fn of(&self, rpc: Rpc) -> &AtomicU64 {
        match rpc {
            Rpc::FetchX509Svid => &self.fetch_x509_svid,
            Rpc::FetchX509Bundles => &self.fetch_x509_bundles,
            Rpc::FetchJwtSvid => &self.fetch_jwt_svid,
            Rpc::FetchJwtBundles => &self.fetch_jwt_bundles,
            Rpc::ValidateJwtSvid => &self.validate_jwt_svid,
        }
    }
}
