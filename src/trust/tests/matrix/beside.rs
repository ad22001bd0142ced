//! What stands beside a source: a line that can be cut or held, and somebody who is never to be asked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;

/// Somebody who is never to be asked.
pub(super) struct Nobody {
    pub(super) address: SocketAddr,
    pub(super) visits: Arc<AtomicUsize>,
}

impl Nobody {
    pub(super) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
    waiting: Arc<AtomicUsize>,
}

impl Line {
    pub(super) fn between(ours: &Path, theirs: PathBuf) -> Self {
        let listener = UnixListener::bind(ours).unwrap();
        let (flow, waiting) = (watch::Sender::new(Flow::Open), Arc::new(AtomicUsize::new(0)));
        let (orders, counted) = (flow.subscribe(), Arc::clone(&waiting));
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(pass_on(from, theirs.clone(), orders.clone(), Arc::clone(&counted)));
            }
        });
        Self { flow, waiting }
    }

    pub(super) fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }

    /// Whether somebody has come and waits.
    pub(super) fn waits(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

async fn pass_on(mut from: UnixStream, theirs: PathBuf, mut flow: watch::Receiver<Flow>, waiting: Arc<AtomicUsize>) {
    let begun = *flow.borrow();
    if begun != Flow::Open {
        waiting.fetch_add(1, Ordering::SeqCst);
    }
    if flow.wait_for(|flow| *flow == Flow::Open).await.is_err() {
        return;
    }
    let Ok(mut to) = UnixStream::connect(theirs).await else { return };
    let mut changes = flow.clone();
    tokio::select! {
        _ended = copy_bidirectional(&mut from, &mut to) => {}
        now = changed(&mut changes) => {
            if now == Some(Flow::Stalled) {
                let _ = flow.wait_for(|flow| *flow != Flow::Stalled).await;
            }
        }
    }
}

/// What becomes of an open line.
async fn changed(flow: &mut watch::Receiver<Flow>) -> Option<Flow> {
    flow.wait_for(|flow| *flow != Flow::Open).await.ok().map(|flow| *flow)
}
