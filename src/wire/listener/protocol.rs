//! How HTTP is spoken on a connection: version, sizes, reset limits, pings.
//!
//! Decides nothing about a request; the exact header limit and the deadlines are elsewhere in `listener`.

use std::future::Future;

use hyper::rt::Executor;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;

use super::limits::Limits;
use crate::lifecycle::Drain;

/// Bytes that an HTTP/2 client may send on one stream before a handler reads: one body of the greatest size taken (64 KiB).
/// hyper's default of 1 MiB would be 100 MiB a connection.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same for all streams of one connection together.
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// Bytes of answers buffered for one HTTP/2 stream. Answers are a few KiB.
const SEND_BUFFER: usize = 64 * 1024;

/// One connection builder for each way in which the version of HTTP is known.
#[derive(Debug, Clone)]
pub(super) struct Protocols {
    /// Without TLS: the client's first bytes tell.
    pub(super) by_preface: Builder<OnDrain>,
    /// ALPN said `h2`.
    pub(super) http2: Builder<OnDrain>,
    /// ALPN said `http/1.1`, or nothing.
    pub(super) http1: Builder<OnDrain>,
}

impl Protocols {
    pub(super) fn new(limits: &Limits, drain: &Drain) -> Self {
        let by_preface = builder(limits, drain);
        Self { http1: by_preface.clone().http1_only(), http2: by_preface.clone().http2_only(), by_preface }
    }
}

fn builder(limits: &Limits, drain: &Drain) -> Builder<OnDrain> {
    let mut builder = Builder::new(OnDrain(drain.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper's timer would run from the end of the last answer and so close kept connections; `Activity` covers slow headers.
        .header_read_timeout(None)
        .max_headers(limits.header_fields)
        // Twice the limit, so that the exact count decides and not how the bytes fell into reads.
        .max_buf_size(usize::try_from(limits.header_bytes).unwrap_or(usize::MAX).saturating_mul(2));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(limits.faulty_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(limits.ping_every)
        .keep_alive_timeout(limits.ping_answer);
    builder
}

/// Runs the requests of HTTP/2 connections as work of the drain.
#[derive(Debug, Clone)]
pub(super) struct OnDrain(Drain);

impl<F> Executor<F> for OnDrain
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, request: F) {
        self.0.spawn(request);
    }
}
