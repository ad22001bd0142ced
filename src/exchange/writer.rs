//! The thread that keeps decision records in the journal, and hands their lines on.
//!
//! Never touches the output: whoever waits for a durable record never waits for a reader of lines.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::oneshot;

use super::lines::Lines;
use super::recorder::{Entry, Message, NotRecorded, Written};
use crate::store::Journal;
use crate::telemetry::Metrics;

/// How long records gather once there is one: a thread that is woken for each would cost a tenth of an exchange. A process
/// that is killed loses at most the records of this time.
const GATHER: Duration = Duration::from_millis(5);

/// Records of one turn: what is made durable by one sync.
const TOGETHER: usize = 512;

/// What the thread has.
pub(super) struct Writer {
    lines: Option<Lines>,
    journal: Option<Journal>,
    metrics: Metrics,
}

impl Writer {
    pub(super) const fn new(lines: Option<Lines>, journal: Option<Journal>, metrics: Metrics) -> Self {
        Self { lines, journal, metrics }
    }

    /// Writes until the last sender is gone.
    pub(super) fn run(mut self, waiting: &Receiver<Message>) {
        while let Ok(first) = waiting.recv() {
            if matches!(first, Message::Record(_)) {
                std::thread::sleep(GATHER);
            }
            let mut durable = Vec::new();
            let mut finished = Vec::new();
            let mut lines = Vec::new();
            for message in std::iter::once(first).chain(waiting.try_iter().take(TOGETHER)) {
                match message {
                    Message::Record(entry) => {
                        let _ = self.keep(&entry);
                        lines.push(entry.line);
                    }
                    Message::Durable(_given_up, written) if written.is_closed() => {}
                    Message::Durable(entry, written) => {
                        durable.push((self.keep(&entry), written));
                        lines.push(entry.line);
                    }
                    Message::Finish(written) => finished.push(written),
                }
            }
            let flushed = self.flush();
            self.make_durable(durable, &flushed);
            if let Some(output) = &self.lines {
                output.write(lines);
            }
            for written in finished {
                let _ = written.send(());
            }
        }
    }

    fn keep(&mut self, entry: &Entry) -> Written {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let appended = journal.append(entry.kept, &entry.reference, entry.line.as_bytes());
        appended.map_err(|error| self.lost(1, error.to_string()))
    }

    /// One write for what this turn appended.
    fn flush(&mut self) -> Written {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.flush().map_err(|lost| self.lost(lost.records, lost.to_string()))
    }

    fn lost(&self, records: usize, why: String) -> NotRecorded {
        (0..records).for_each(|_| self.metrics.record_lost());
        tracing::error!(why, "decision records could not be kept");
        NotRecorded(why)
    }

    /// One sync for all of them. Without a journal nothing can be promised; nor of any of them when a write of this turn failed.
    fn make_durable(&mut self, durable: Vec<(Written, oneshot::Sender<Written>)>, flushed: &Written) {
        if durable.is_empty() {
            return;
        }
        let synced = match &mut self.journal {
            Some(journal) => flushed.clone().and(journal.sync().map_err(|error| NotRecorded(error.to_string()))),
            None => Err(NotRecorded("there is no journal".to_owned())),
        };
        for (written, answer) in durable {
            // A caller that went away does not hear it.
            let _ = answer.send(written.and(synced.clone()));
        }
    }
}
