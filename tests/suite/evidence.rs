//! Everything that leaves the product during the run, kept for the search for token material.
//!
//! Written below `target/test-output`: `secrets.txt` has what must not appear, every other file what did leave.
//! `tests/search-output` searches them after the run.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, Once, OnceLock};

/// Where the run leaves its evidence.
pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-output")
}

/// Appends a line to one of the files.
pub fn keep(file: &'static str, line: &str) {
    static OPEN: OnceLock<Mutex<HashMap<&'static str, File>>> = OnceLock::new();
    let mut open = OPEN.get_or_init(Mutex::default).lock().unwrap();
    let out = open.entry(file).or_insert_with(|| {
        std::fs::create_dir_all(directory()).unwrap();
        OpenOptions::new().create(true).append(true).open(directory().join(file)).unwrap()
    });
    writeln!(out, "{line}").unwrap();
}

/// Remembers a token: its signature, and whole it must appear nowhere. Very short and forged empty signatures are no secret.
pub fn secret(token: &str) {
    if let Some(signature) = token.rsplit('.').next()
        && signature.len() >= 32
        && signature.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        keep("secrets.txt", signature);
    }
}

/// Sends every log line of this process, at trace level, to the evidence.
pub fn follow_logs() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        std::fs::create_dir_all(directory()).unwrap();
        let file = OpenOptions::new().create(true).append(true).open(directory().join("logs.txt")).unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new("trace"))
            .with_ansi(false)
            .with_writer(Mutex::new(file));
        let _ = subscriber.try_init();
    });
}
