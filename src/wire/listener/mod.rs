//! The accept loop: sockets, TLS, deadlines, drain. What a router answers travels over it.
//!
//! Never reads what a request says, and never a forwarded header: who is at the other end is what the socket says (SCA-28).

mod activity;
mod client_certificate;
mod connection;
mod limits;
mod own_svid;
mod protocol;
mod request;
#[cfg(all(test, feature = "world"))]
mod tests;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

pub use limits::Limits;
pub use own_svid::SvidReceiver;

use self::connection::Door;
use self::own_svid::Svid;
use self::protocol::Protocols;
use self::tls::Certificate;
use super::settings::{AdminSettings, ListenSettings, TlsSettings};
use crate::clock::Clock;
use crate::credential::PeerChain;
use crate::lifecycle::Drain;

/// The first pause after a failed accept; it doubles up to `ACCEPT_PAUSE_MAX`. No jitter: nothing is shared with other processes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause. When file descriptors run out, connections that end are what helps, and they take seconds.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What is known of the connection that a request came on. In the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The other end of the socket; an IPv4 address is never shown as IPv6.
    pub peer: SocketAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// The certificates whose key the client proved in the handshake, leaf first. Nobody has judged them.
    pub certificates: Option<Arc<PeerChain>>,
}

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    certificate: Option<Shown>,
}

/// The certificate that is shown.
#[derive(Debug)]
enum Shown {
    Files(Certificate),
    Svid(Svid),
}

impl Shown {
    fn current(&self) -> Arc<ArcSwap<ServerConfig>> {
        match self {
            Self::Files(certificate) => certificate.current(),
            Self::Svid(svid) => svid.current(),
        }
    }

    /// Follows its source for as long as it is polled.
    async fn follow(self, clock: &dyn Clock) {
        match self {
            Self::Files(certificate) => certificate.follow(clock).await,
            Self::Svid(svid) => svid.follow().await,
        }
    }
}

impl Listener {
    /// Binds the public address and reads the certificate. `svids` brings our own X.509-SVIDs, where the settings name a source.
    ///
    /// # Errors
    /// The address cannot be bound; or it is plain HTTP on an address that is not loopback (TOK-09); or the certificate cannot be
    /// served. Each names the address or the file.
    pub async fn bind(settings: &ListenSettings, svids: Option<SvidReceiver>) -> io::Result<Self> {
        let certificate = match &settings.tls {
            Some(TlsSettings::Files(files)) => Some(Shown::Files(
                Certificate::load(files.clone())
                    .await
                    .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?,
            )),
            Some(TlsSettings::Svid(source)) => {
                let svids =
                    svids.ok_or_else(|| io::Error::other(format!("nobody brings the X.509-SVID of {source}")))?;
                Some(Shown::Svid(Svid::new(svids).map_err(io::Error::other)?))
            }
            None if settings.address.ip().to_canonical().is_loopback() => None,
            None => {
                let text = format!(
                    "plain HTTP is for loopback addresses only, and {} is none: give a certificate",
                    settings.address
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        let listener = Self::open(settings.address, certificate).await?;
        if listener.certificate.is_none() {
            warn!(address = %listener.address, "listening for plain HTTP: everything on this address can be read on the way");
        }
        Ok(listener)
    }

    /// Binds the admin address: plain HTTP, anywhere.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind_admin(settings: &AdminSettings) -> io::Result<Self> {
        Self::open(settings.address, None).await
    }

    async fn open(address: SocketAddr, certificate: Option<Shown>) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
        let socket = TcpListener::bind(address).await.map_err(named)?;
        let address = socket.local_addr().map_err(named)?;
        Ok(Self { socket, address, certificate })
    }

    /// Where it listens; with the port that was taken when 0 was asked for.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections and serves them with `router`, until `drain` begins. Completes once nothing more is accepted; the connections
    /// that are open then are work of the drain: each closes after its running requests, and `Drain::wait` cuts what is left.
    ///
    /// The router brings its own fallback and body limit. `clock` times the look at the certificate's files and nothing else.
    pub async fn serve(self, router: Router, limits: Limits, drain: Drain, clock: Arc<dyn Clock>) {
        let _running = drain.hold();
        info!(address = %self.address, tls = self.certificate.is_some(), "listening");
        let door = Arc::new(Door {
            tls: self.certificate.as_ref().map(Shown::current),
            router,
            protocols: Protocols::new(&limits, &drain),
            limits: Arc::new(limits),
            drain,
        });
        let follow = async {
            match self.certificate {
                Some(certificate) => certificate.follow(&*clock).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = door.drain.begun() => {}
            () = accept(|| self.socket.accept(), &door) => {}
            () = follow => {}
        }
    }
}

/// Accepts for as long as it is polled.
async fn accept<A>(mut next: impl FnMut() -> A, door: &Arc<Door>)
where
    A: Future<Output = io::Result<(TcpStream, SocketAddr)>>,
{
    let mut slots = Slots::new(door.limits.connections);
    let mut failures = 0;
    loop {
        let Some(slot) = slots.next().await else { return };
        match next().await {
            Ok((stream, peer)) => {
                failures = 0;
                begin(stream, peer, slot, door);
            }
            // The client gave up while it waited in the queue.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                let pause = ACCEPT_PAUSE_MAX.min(ACCEPT_PAUSE.saturating_mul(1 << failures.min(16)));
                failures = u32::saturating_add(failures, 1);
                warn!(%error, failures, ?pause, "cannot accept connections");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn begin(stream: TcpStream, peer: SocketAddr, slot: OwnedSemaphorePermit, door: &Arc<Door>) {
    // Answers are written whole; waiting for more would only delay them. A socket that refuses works all the same.
    let _ = stream.set_nodelay(true);
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let serving = Arc::clone(door);
    door.drain.spawn(async move {
        serving.serve(stream, peer).await;
        drop(slot);
    });
}

/// One slot for each connection that may be open.
struct Slots {
    free: Arc<Semaphore>,
    size: usize,
    told: bool,
}

impl Slots {
    fn new(size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(size)), size, told: false }
    }

    /// Waits for a free one. Says so once, and again only after a tenth had been free in between.
    async fn next(&mut self) -> Option<OwnedSemaphorePermit> {
        let free = self.free.available_permits();
        if free == 0 && !self.told {
            warn!(connections = self.size, "as many connections as are allowed: new ones wait");
            self.told = true;
        } else if free > self.size / 10 {
            self.told = false;
        }
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}
