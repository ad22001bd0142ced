//! The client of both servers: few kept connections, each sends its next request when it has the last answer.
//!
//! Stops at the first answer that is no token: a refusal is cheaper than what is measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Connections kept open, as a few busy clients would.
const CONNECTIONS: usize = 4;

/// The loader's connections to one server, and how long each answer took.
pub struct Loader {
    connections: Vec<Connection>,
    times: Vec<Duration>,
}

impl Loader {
    pub fn of(address: SocketAddr) -> Self {
        Self { connections: (0..CONNECTIONS).map(|_| Connection::open(address)).collect(), times: Vec::new() }
    }

    /// Sends every request and takes every answer.
    pub fn drive(&mut self, requests: &[Vec<u8>]) {
        let share = requests.len().div_ceil(CONNECTIONS);
        std::thread::scope(|scope| {
            let pairs = self.connections.iter_mut().zip(requests.chunks(share));
            let running: Vec<_> =
                pairs.map(|(connection, requests)| scope.spawn(|| converse(connection, requests))).collect();
            self.times.extend(running.into_iter().flat_map(|connection| connection.join().unwrap()));
        });
    }

    /// The time within which 99 of 100 answers came since the last call.
    pub fn take(&mut self) -> Duration {
        let mut times = std::mem::take(&mut self.times);
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement measures real time")]
fn converse(connection: &mut Connection, requests: &[Vec<u8>]) -> Vec<Duration> {
    let times = requests.iter().map(|request| {
        let began = Instant::now();
        let answer = connection.ask(request);
        assert!(answer.is_token(), "no token: {}", answer.text());
        began.elapsed()
    });
    times.collect()
}

/// One kept HTTP/1.1 connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer as its bytes.
pub struct Answer<'a> {
    bytes: &'a [u8],
    body_at: usize,
}

impl Answer<'_> {
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body_at..]
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes).into_owned()
    }

    fn is_token(&self) -> bool {
        self.bytes.starts_with(b"HTTP/1.1 200 ") && self.body().starts_with(br#"{"access_token":"ey"#)
    }
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // `/readyz` of fifty sources has 17 KiB.
        Self { stream, buffer: vec![0; 64 * 1024] }
    }

    /// Sends a request and reads its whole answer, whose length its header says.
    pub fn ask(&mut self, request: &[u8]) -> Answer<'_> {
        self.stream.write_all(request).unwrap();
        let (mut filled, mut whole) = (0, None);
        while whole.is_none_or(|(_, end)| filled < end) {
            let read = self.stream.read(&mut self.buffer[filled..]).unwrap();
            assert!(read > 0, "the connection ended: {}", String::from_utf8_lossy(&self.buffer[..filled]));
            filled += read;
            whole = whole.or_else(|| ends_at(&self.buffer[..filled]));
        }
        Answer { bytes: &self.buffer[..filled], body_at: whole.unwrap().0 }
    }
}

/// Where the body begins and ends, once the header is whole.
fn ends_at(bytes: &[u8]) -> Option<(usize, usize)> {
    let body_at = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let header = std::str::from_utf8(&bytes[..body_at]).unwrap();
    let length = header.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    Some((body_at, body_at + length.unwrap_or_else(|| panic!("no length: {header}"))))
}
