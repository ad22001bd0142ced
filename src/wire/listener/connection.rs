//! One accepted connection from its handshake to its end.
//!
//! Never waits for a client without a timer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::ConnectionInfo;
use super::activity::{Activity, Patience, Step};
use super::limits::Limits;
use super::protocol::{OnDrain, Protocols};
use super::request;
use super::tls::HTTP2;
use crate::credential::PeerChain;
use crate::lifecycle::Drain;

/// What all connections of one listener share.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) tls: Option<Arc<ArcSwap<ServerConfig>>>,
    pub(super) router: Router,
    pub(super) limits: Arc<Limits>,
    pub(super) protocols: Protocols,
    pub(super) drain: Drain,
}

impl Door {
    /// Serves one connection until it ends.
    pub(super) async fn serve(&self, socket: TcpStream, peer: SocketAddr) {
        let info = ConnectionInfo { peer, tls: self.tls.is_some(), certificates: None };
        match &self.tls {
            None => self.speak(&self.protocols.by_preface, TokioIo::new(socket), info).await,
            Some(current) => {
                let Some(stream) = self.handshake(current.load_full(), socket, peer).await else { return };
                let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
                let protocol = if http2 { &self.protocols.http2 } else { &self.protocols.http1 };
                let certificates = shown_by(&stream);
                self.speak(protocol, TokioIo::new(stream), ConnectionInfo { certificates, ..info }).await;
            }
        }
    }

    async fn handshake(
        &self,
        config: Arc<ServerConfig>,
        socket: TcpStream,
        peer: SocketAddr,
    ) -> Option<TlsStream<TcpStream>> {
        tokio::select! {
            biased;
            // Nothing was asked on this connection yet: it need not be waited for.
            () = self.drain.begun() => None,
            shaken = tokio::time::timeout(self.limits.handshake, TlsAcceptor::from(config).accept(socket)) => match shaken {
                Ok(Ok(stream)) => Some(stream),
                Ok(Err(error)) => {
                    debug!(%peer, %error, "the TLS handshake failed");
                    None
                }
                Err(_elapsed) => {
                    debug!(%peer, "the TLS handshake took too long");
                    None
                }
            },
        }
    }

    /// Drives HTTP on the connection, and closes it when the client lets it wait too long or the drain begins.
    async fn speak<I>(&self, protocol: &Builder<OnDrain>, io: I, info: ConnectionInfo)
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::default());
        let service = service_fn(|request| {
            let answer =
                request::answer(request, info.clone(), self.router.clone(), Arc::clone(&self.limits), activity.begin());
            async { Ok::<_, Infallible>(answer.await) }
        });
        let mut connection = pin!(protocol.serve_connection(io, service));
        let mut closing = false;
        loop {
            let patience = activity.patience(&self.limits);
            let expired = async {
                match patience {
                    None => std::future::pending().await,
                    Some(Patience::Idle(_)) if closing => tokio::time::sleep(self.limits.goodbye).await,
                    Some(Patience::Idle(limit) | Patience::Untaken(limit)) => tokio::time::sleep(limit).await,
                }
            };
            tokio::select! {
                biased;
                step = poll_fn(|context| activity.polled(|| connection.as_mut().poll(context))) => match step {
                    Step::Changed => continue,
                    Step::Ended(ended) => {
                        if let Err(error) = ended {
                            debug!(peer = %info.peer, %error, "the connection ended early");
                        }
                        return;
                    }
                },
                () = self.drain.begun(), if !closing => {}
                () = activity.changed() => continue,
                () = expired => {
                    debug!(peer = %info.peer, ?patience, closing, "the client let the connection wait");
                    if closing || matches!(patience, Some(Patience::Untaken(_))) {
                        return;
                    }
                }
            }
            closing = true;
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// The certificates of the handshake. There is no resumption, so they are those of this very connection.
fn shown_by(stream: &TlsStream<TcpStream>) -> Option<Arc<PeerChain>> {
    let chain = stream.get_ref().1.peer_certificates().filter(|chain| !chain.is_empty())?;
    Some(Arc::new(PeerChain(chain.iter().map(|certificate| certificate.to_vec()).collect())))
}
