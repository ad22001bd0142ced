//! Where the product listens: the public address and the admin address.
//!
//! Values only: they never open a socket or read a file.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::identity::SourceName;

/// The public address. Without `tls` it speaks plain HTTP and must be a loopback address (TOK-09).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSettings {
    /// Address and port; port 0 takes any free one.
    pub address: SocketAddr,
    /// The certificate to serve; `None` for plain HTTP on loopback.
    pub tls: Option<TlsSettings>,
}

/// Which certificate the public address shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSettings {
    /// One from files: what a public authority or a cluster's own made (SCA-11).
    Files(TlsFiles),
    /// Our own X.509-SVID, by the Workload API of that source.
    Svid(SourceName),
}

/// A certificate and its private key, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the server's certificate first, then its intermediates. At most 64 KiB.
    pub certificate: PathBuf,
    /// PEM: the private key in PKCS#8, PKCS#1 or SEC1. At most 32 KiB.
    pub key: PathBuf,
}

/// The admin address: plain HTTP, read-only, and free to bind anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// Address and port; port 0 takes any free one.
    pub address: SocketAddr,
}

/// The gRPC services beside the token service, which is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcSettings {
    /// Whether clients may ask which services and messages there are.
    pub reflection: bool,
}
