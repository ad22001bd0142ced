//! How long and how much one connection may take before it is closed (LIM-07).
//!
//! The durations are for the runtime's timers: they bound sockets and never decide whether something is trusted.

use std::time::Duration;

use crate::clock::Lifetime;

/// Deadlines and sizes of a listener. `Limits::STANDARD` is what the product runs with; tests take shorter ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the accepted connection to the end of the TLS handshake. Two round trips on a bad line, with room for one retransmission.
    pub handshake: Duration,
    /// From there to the first complete request header. It also ends half an HTTP/2 preface, or a preface and nothing more,
    /// for which hyper has no timer (hyperium/hyper#3756, #3962).
    pub first_request: Duration,
    /// How long a connection is kept on which no request runs. The header of a later request has no longer than this
    /// either, however slowly its bytes drip in. Shorter than the clients' own pools would only cost handshakes.
    pub idle: Duration,
    /// How long a connection that was told to close may take to do so, once no request runs on it.
    pub goodbye: Duration,
    /// From a request's header to the head of its answer; and the longest pause in which the client takes nothing of an answer that is ready.
    /// A form of 64 KiB needs far less on any line that works.
    pub request: Duration,
    /// How long running requests may go on after the drain has begun. Under the 30 s after which Kubernetes kills.
    pub drain: Lifetime,
    /// Connections open at one time; further ones wait in the system's queue. Each can make us hold buffers of its own (over HTTP/2 up
    /// to 256 KiB that nobody has read yet), and the header fields of each running request. Bodies that are being read have one
    /// bound for all connections together (`wire::http`). The open-file limit of the process must be above this.
    pub connections: usize,
    /// Bytes of a request's target and header fields, counted as RFC 9113 §6.5.2 does (name, value and 32 for each field) in
    /// both versions of HTTP. A credential of 8 KiB in a header fits twice.
    pub header_bytes: u32,
    /// Header fields of a request. hyper's own bound for HTTP/1, applied to both versions.
    pub header_fields: usize,
    /// HTTP/2: requests running at one time on one connection. RFC 9113 §6.5.2 advises no fewer than 100, so that answers that take
    /// long do not wait for each other; ours take milliseconds, and each stream costs memory before anybody is verified.
    pub streams: u32,
    /// HTTP/2: streams that the client opened and reset before we took them (CVE-2023-44487); then the connection ends.
    pub pending_resets: usize,
    /// HTTP/2: streams that we had to reset for the client's mistakes (CVE-2025-8671); then the connection ends.
    pub faulty_streams: usize,
    /// HTTP/2: how often the client is asked whether it is there. Under the idle time of common middleboxes.
    pub ping_every: Duration,
    /// HTTP/2: how long its answer may take.
    pub ping_answer: Duration,
}

impl Limits {
    /// What the product runs with.
    pub const STANDARD: Self = Self {
        handshake: Duration::from_secs(5),
        first_request: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        goodbye: Duration::from_secs(1),
        request: Duration::from_secs(30),
        drain: Lifetime::from_seconds(20),
        connections: 10_000,
        header_bytes: 16 * 1024,
        header_fields: 100,
        streams: 32,
        pending_resets: 20,
        faulty_streams: 64,
        ping_every: Duration::from_secs(20),
        ping_answer: Duration::from_secs(10),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::STANDARD
    }
}
