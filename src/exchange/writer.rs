//! The thread that keeps decision records in the journal, and hands their lines on.
//!
//! Never touches the output: whoever waits for a durable record never waits for a reader of lines.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::oneshot;

use super::lines::Lines;
use super::record::Record;
use super::recorder::{Message, NotRecorded, Written};
use crate::store::{Journal, Kept};
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
                    Message::Record(record) => lines.extend(self.keep(&record).0),
                    Message::Durable(_given_up, written) if written.is_closed() => {}
                    Message::Durable(record, written) => {
                        let (line, kept) = self.keep(&record);
                        lines.extend(line);
                        durable.push((kept, written));
                    }
                    Message::Finish(written) => finished.push(written),
                }
            }
            self.make_durable(durable);
            if let Some(output) = &self.lines {
                output.write(lines);
            }
            for written in finished {
                let _ = written.send(());
            }
        }
    }

    /// The record as a line, and whether the journal has it.
    fn keep(&mut self, record: &Record) -> (Option<String>, Written) {
        let line = match record.to_line() {
            Ok(line) => line,
            Err(error) => return (None, self.lost(&error.to_string())),
        };
        let kept = if record.is_grant() { Kept::Grant } else { Kept::Refusal };
        let appended = match &mut self.journal {
            Some(journal) => journal.append(kept, &record.r#ref, line.as_bytes()),
            None => Ok(()),
        };
        let written = match appended {
            Ok(()) => Ok(()),
            Err(error) => self.lost(&error.to_string()),
        };
        (Some(line), written)
    }

    fn lost(&self, why: &str) -> Written {
        self.metrics.record_lost();
        tracing::error!(why, "a decision record could not be kept");
        Err(NotRecorded(why.to_owned()))
    }

    /// One sync for all of them. Without a journal nothing can be promised.
    fn make_durable(&mut self, durable: Vec<(Written, oneshot::Sender<Written>)>) {
        if durable.is_empty() {
            return;
        }
        let synced = match &mut self.journal {
            Some(journal) => journal.sync().map_err(|error| NotRecorded(error.to_string())),
            None => Err(NotRecorded("there is no journal".to_owned())),
        };
        for (written, answer) in durable {
            // A caller that went away does not hear it.
            let _ = answer.send(written.and(synced.clone()));
        }
    }
}
