//! The output of decision records: one JSON line each, from a thread of its own.
//!
//! Never keeps anybody waiting, the journal least of all: a line that does not fit is lost and counted.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::WAITING;
use crate::telemetry::Metrics;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Line {
    /// Write it.
    Record(String),
    /// Answered once everything before it has been written.
    Finish(SyncSender<()>),
}

/// Hands lines to the thread that writes them.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    waiting: SyncSender<Line>,
    metrics: Metrics,
}

impl Lines {
    /// Starts the thread. It ends with the last clone of this.
    pub(super) fn start(output: Box<dyn Write + Send>, metrics: Metrics) -> io::Result<Self> {
        let (sender, waiting) = sync_channel(WAITING);
        let writer = Writer { output, torn: false, metrics: metrics.clone() };
        std::thread::Builder::new().name("record-lines".to_owned()).spawn(move || writer.run(&waiting))?;
        Ok(Self { waiting: sender, metrics })
    }

    /// A line without its end.
    pub(super) fn write(&self, line: String) {
        match self.waiting.try_send(Line::Record(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.metrics.record_lost(),
        }
    }

    pub(super) const fn waiting(&self) -> &SyncSender<Line> {
        &self.waiting
    }
}

struct Writer {
    output: Box<dyn Write + Send>,
    /// The last write ended in the middle of a line.
    torn: bool,
    metrics: Metrics,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Line>) {
        while let Ok(message) = waiting.recv() {
            match message {
                Line::Record(line) => self.write(line),
                Line::Finish(written) => {
                    let _ = written.send(());
                }
            }
        }
    }

    fn write(&mut self, mut line: String) {
        // What was torn gets an end of its own, so that it does not swallow the next record.
        if self.torn {
            line.insert(0, '\n');
        }
        line.push('\n');
        if let Err(error) = self.write_whole(line.as_bytes()) {
            self.metrics.record_lost();
            tracing::error!(%error, "the line of a decision record could not be written");
        }
    }

    /// One write call a line where the output takes it whole: a process that is killed leaves whole lines.
    fn write_whole(&mut self, line: &[u8]) -> io::Result<()> {
        let mut rest = line;
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    rest = rest.get(taken..).unwrap_or_default();
                    self.torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes a few bytes at a time, and fails once when it has taken ten.
    struct Tearing {
        written: Arc<Mutex<Vec<u8>>>,
        fails: bool,
    }

    impl Write for Tearing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.written.lock().unwrap();
            if written.len() >= 10 && std::mem::take(&mut self.fails) {
                return Err(io::Error::other("no space left"));
            }
            let taken = bytes.len().min(5);
            written.extend_from_slice(bytes.get(..taken).unwrap());
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn half_a_line_does_not_swallow_the_next() {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let output = Tearing { written: Arc::clone(&written), fails: true };
        let metrics = Metrics::new("AA");
        let lines = Lines::start(Box::new(output), metrics.clone()).unwrap();
        for line in ["{\"ref\":\"one\"}", "{\"ref\":\"two\"}", "{\"ref\":\"three\"}"] {
            lines.write(line.to_owned());
        }
        let (sender, finished) = sync_channel(1);
        lines.waiting().send(Line::Finish(sender)).unwrap();
        finished.recv().unwrap();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "{\"ref\":\"on\n{\"ref\":\"two\"}\n{\"ref\":\"three\"}\n");
        assert!(metrics.encode(&[], &[]).contains("countersign_records_lost_total 1\n"));
    }
}
