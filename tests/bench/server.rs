//! A server under measurement: a process of its own, watched through `/proc`.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::loader::Connection;

/// Ticks of `/proc/<pid>/stat` in a second: the same on every Linux.
const TICKS: u64 = 100;

/// A server that does not answer within this will not.
const LONGEST_START: Duration = Duration::from_secs(30);

/// A running server, ended when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    ready_after: Duration,
}

impl Server {
    /// Starts a process and waits until `GET <path>` on `probe` is answered with 200.
    #[expect(clippy::disallowed_methods, reason = "a measurement measures real time")]
    pub fn start(command: &mut Command, address: SocketAddr, probe: SocketAddr, path: &str) -> Self {
        let began = Instant::now();
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, address, ready_after: Duration::ZERO };
        while !answers(probe, path) {
            assert!(began.elapsed() < LONGEST_START, "{command:?} is not ready");
            assert!(server.child.try_wait().unwrap().is_none(), "{command:?} has ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        server.ready_after = began.elapsed();
        server
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// From its start to its first 200.
    pub const fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// CPU time of all its threads so far, in user and kernel.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The second field is the name in parentheses; `utime` and `stime` are the 14th and 15th.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = |field: &str| field.parse::<u64>().unwrap();
        Duration::from_millis((ticks(fields[11]) + ticks(fields[12])) * 1000 / TICKS)
    }

    /// Bytes resident now, and at most so far.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
        };
        (bytes("VmRSS"), bytes("VmHWM"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers(probe: SocketAddr, path: &str) -> bool {
    if TcpStream::connect(probe).is_err() {
        return false;
    }
    let request = format!("GET {path} HTTP/1.1\r\nhost: {probe}\r\n\r\n");
    Connection::open(probe).ask(request.as_bytes()).text().starts_with("HTTP/1.1 200 ")
}
