//! One HTTPS server on a loopback port, for whoever in the world needs one.
//!
//! Never outlives its token, and never keeps a connection after it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::WorldFault;

/// A handshake that takes longer is given up: a port scanner must not hold a task.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// TLS settings that can be swapped under a running server: new connections get the new ones.
#[derive(Debug, Clone)]
pub(super) struct SharedTls(Arc<ArcSwap<rustls::ServerConfig>>);

impl SharedTls {
    pub(super) fn new(config: Arc<rustls::ServerConfig>) -> Self {
        Self(Arc::new(ArcSwap::new(config)))
    }

    pub(super) fn replace(&self, config: Arc<rustls::ServerConfig>) {
        self.0.store(config);
    }
}

/// A running server.
#[derive(Debug)]
pub(super) struct HttpsServer {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl HttpsServer {
    /// Listens on 127.0.0.1, on `port`, or on any free one for 0.
    pub(super) async fn start(
        port: u16,
        router: Router,
        tls: SharedTls,
        stop: &CancellationToken,
    ) -> Result<Self, WorldFault> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(WorldFault::Listen)?;
        let address = listener.local_addr().map_err(WorldFault::Listen)?;
        let stop = stop.child_token();
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, tls, router, stop.clone(), tasks.clone()));
        tasks.close();
        Ok(Self { address, stop, tasks })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, and completes when all have ended.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, tls: SharedTls, router: Router, stop: CancellationToken, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        // An accept fails when the peer is gone already or files run out; both pass.
        let Ok((stream, _peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let connection = serve(stream, TlsAcceptor::from(tls.0.load_full()), router.clone());
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let service = TowerToHyperService::new(router);
    // How a connection ends is the client's affair.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
