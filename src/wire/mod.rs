//! Bytes in, bytes out: listeners, HTTP endpoints, and the table from reasons to the wire.
//!
//! No door has rules of its own: each turns its bytes into the same request and renders the same outcome.

pub mod grpc;
pub mod http;
pub mod listener;
pub mod operator;
mod question;
mod render;
mod settings;

pub use render::{Rendered, render, render_about};
pub use settings::{AdminSettings, GrpcSettings, ListenSettings, TlsFiles, TlsSettings};
