//! Why the pretend world could not do what it was told.
//!
//! Never a verdict about a credential, and never with token or key material in it.

use std::path::PathBuf;

/// A fault of the pretend world.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldFault {
    /// A file, directory or socket could not be made, read or removed.
    #[error("{action} {}: {cause}", path.display())]
    Place {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Another process answers on the socket.
    #[error("{} is in use by another process", .0.display())]
    SocketInUse(PathBuf),
    /// The path of the socket is taken by something that is no socket.
    #[error("{} exists and is no socket", .0.display())]
    NotASocket(PathBuf),
    /// No loopback port could be had.
    #[error("listening on a loopback port: {0}")]
    Listen(std::io::Error),
    /// A signing key could not be made or used.
    #[error("signing key: {0}")]
    Key(#[from] KeyFault),
    /// A certificate could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS server could not be configured.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] crate::entropy::NoEntropy),
    /// There is no key with that id.
    #[error("no key is called {0:?}")]
    NoSuchKey(String),
    /// JSON could not be written.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The object is not there, or the request breaks a rule of the pretend API server.
    #[error("{0}")]
    Refused(String),
}

use super::keys::KeyFault;
