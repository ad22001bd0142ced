//! Where decision records go: one JSON line each, off the request's path.
//!
//! Never makes a request wait, nor wakes a thread for each. What does not fit is lost and counted (design §6); a line is
//! written whole or not at all.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use crate::telemetry::Metrics;

/// Records that may wait for a slow output: some seconds of a busy process, at about 1 KiB each.
const WAITING: usize = 8192;

/// How long records gather once there is one: a thread that is woken for each would cost a tenth of an exchange. A process
/// that is killed loses at most the records of this time.
const GATHER: Duration = Duration::from_millis(5);

/// Bytes of one write call: what a pipe takes whole or not at all (`PIPE_BUF`), so that no other writer's line lands inside
/// one of ours. A longer line goes alone.
const AT_ONCE: usize = 4096;

/// How long the end of the process waits for a slow output.
const FINISH: Duration = Duration::from_secs(5);

/// Hands records to their output.
#[derive(Clone, Debug)]
pub struct Recorder {
    waiting: Option<SyncSender<Message>>,
    metrics: Metrics,
}

#[derive(Debug)]
enum Message {
    Line(String),
    /// Answered once everything before it has been written.
    Finish(SyncSender<()>),
}

impl Recorder {
    /// Writes every record to `output` from a thread of its own, which ends with the last clone of this.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn to(output: Box<dyn Write + Send>, metrics: Metrics) -> std::io::Result<Self> {
        let (sender, waiting) = sync_channel(WAITING);
        let lost = metrics.clone();
        std::thread::Builder::new().name("records".to_owned()).spawn(move || write(&waiting, output, &lost))?;
        Ok(Self { waiting: Some(sender), metrics })
    }

    /// Keeps no records; decisions are counted all the same.
    pub const fn none(metrics: Metrics) -> Self {
        Self { waiting: None, metrics }
    }

    pub(super) fn record(&self, mut line: String) {
        let Some(waiting) = &self.waiting else { return };
        line.push('\n');
        match waiting.try_send(Message::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.metrics.record_lost(),
        }
    }

    /// Waits until everything that was recorded so far has been written, at most five seconds. Blocks.
    pub fn finish(&self) {
        let Some(waiting) = &self.waiting else { return };
        let (written, answer) = sync_channel(1);
        if waiting.send(Message::Finish(written)).is_ok() {
            let _ = answer.recv_timeout(FINISH);
        }
    }
}

fn write(waiting: &Receiver<Message>, output: Box<dyn Write + Send>, metrics: &Metrics) {
    let mut lines = Lines { output, gathered: String::with_capacity(AT_ONCE), count: 0 };
    while let Ok(first) = waiting.recv() {
        if matches!(first, Message::Line(_)) {
            std::thread::sleep(GATHER);
        }
        for message in std::iter::once(first).chain(waiting.try_iter().take(WAITING)) {
            match message {
                Message::Line(line) => lines.add(&line, metrics),
                Message::Finish(written) => {
                    lines.flush(metrics);
                    let _ = written.send(());
                }
            }
        }
        lines.flush(metrics);
    }
}

/// Whole lines on their way to the output.
struct Lines {
    output: Box<dyn Write + Send>,
    gathered: String,
    count: usize,
}

impl Lines {
    fn add(&mut self, line: &str, metrics: &Metrics) {
        if self.gathered.len() + line.len() > AT_ONCE {
            self.flush(metrics);
        }
        self.gathered.push_str(line);
        self.count += 1;
    }

    fn flush(&mut self, metrics: &Metrics) {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return;
        }
        let written = self.output.write_all(self.gathered.as_bytes()).and_then(|()| self.output.flush());
        self.gathered.clear();
        if let Err(error) = written {
            (0..count).for_each(|_| metrics.record_lost());
            tracing::error!(%error, count, "decision records could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what each write call brought.
    #[derive(Clone, Default)]
    struct Calls(Arc<Mutex<Vec<String>>>);

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn aud_a_write_call_has_whole_lines_and_no_more_than_a_pipe_takes_at_once() {
        let calls = Calls::default();
        let recorder = Recorder::to(Box::new(calls.clone()), Metrics::new("00")).unwrap();
        let lines: Vec<String> = (0..100).map(|number| format!("{number} {}", "x".repeat(number * 10))).collect();
        let long = "y".repeat(2 * AT_ONCE);
        for line in lines.iter().chain([&long]) {
            recorder.record(line.clone());
        }
        recorder.finish();
        let calls = calls.0.lock().unwrap();
        assert!(calls.iter().all(|call| call.ends_with('\n')));
        assert!(calls.iter().all(|call| call.len() <= AT_ONCE || call.lines().count() == 1));
        assert!(calls.len() < lines.len() / 2, "{} calls", calls.len());
        assert_eq!(calls.concat(), format!("{}\n{long}\n", lines.join("\n")), "in order, each once");
    }
}
