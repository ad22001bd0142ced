//! What stands beside a source: a line that can be cut or held, and somebody who is never to be asked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};
use tokio::sync::watch;

/// Somebody who is never to be asked: on another address than every source.
pub(super) struct Nobody {
    pub(super) address: SocketAddr,
    pub(super) visits: Arc<AtomicUsize>,
}

impl Nobody {
    pub(super) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let visits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&visits);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, visits }
    }
}

/// Keeps the port of somebody who is down from being given to another: bound, and nobody listens.
pub(super) fn hold_port(address: SocketAddr) -> Option<TcpSocket> {
    let held = |reuse: bool| {
        let socket = TcpSocket::new_v4().ok()?;
        socket.set_reuseaddr(reuse).ok()?;
        socket.bind(address).ok().map(|()| socket)
    };
    // Where a connection has just ended, the port can be had by reuse alone.
    held(false).or_else(|| held(true))
}

/// What a line between us and an agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    /// Takes what is said and passes nothing on.
    Stalled,
    /// Drops what is open; what comes waits until the line is open again.
    Late,
}

/// A socket in front of an agent's.
pub(super) struct Line {
    flow: watch::Sender<Flow>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    waiting: AtomicUsize,
    passing: AtomicUsize,
}

impl Line {
    pub(super) fn between(ours: &Path, theirs: PathBuf) -> Self {
        let listener = UnixListener::bind(ours).unwrap();
        let (flow, counts) = (watch::Sender::new(Flow::Open), Arc::<Counts>::default());
        let (orders, counted) = (flow.subscribe(), Arc::clone(&counts));
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(pass_on(from, theirs.clone(), orders.clone(), Arc::clone(&counted)));
            }
        });
        Self { flow, counts }
    }

    pub(super) fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }

    /// Whether somebody has come and waits.
    pub(super) fn waits(&self) -> bool {
        self.counts.waiting.load(Ordering::SeqCst) > 0
    }

    /// Whether what is said on any connection still arrives.
    pub(super) fn passes(&self) -> bool {
        self.counts.passing.load(Ordering::SeqCst) > 0
    }
}

async fn pass_on(mut from: UnixStream, theirs: PathBuf, mut flow: watch::Receiver<Flow>, counts: Arc<Counts>) {
    let begun = *flow.borrow();
    if begun != Flow::Open {
        counts.waiting.fetch_add(1, Ordering::SeqCst);
    }
    if flow.wait_for(|flow| *flow == Flow::Open).await.is_err() {
        return;
    }
    let Ok(mut to) = UnixStream::connect(theirs).await else { return };
    let mut changes = flow.clone();
    counts.passing.fetch_add(1, Ordering::SeqCst);
    let order = tokio::select! {
        _ended = copy_bidirectional(&mut from, &mut to) => None,
        order = changed(&mut changes) => order,
    };
    counts.passing.fetch_sub(1, Ordering::SeqCst);
    if order == Some(Flow::Stalled) {
        let _ = flow.wait_for(|flow| *flow != Flow::Stalled).await;
    }
}

/// What becomes of an open line.
async fn changed(flow: &mut watch::Receiver<Flow>) -> Option<Flow> {
    flow.wait_for(|flow| *flow != Flow::Open).await.ok().map(|flow| *flow)
}
