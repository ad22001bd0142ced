//! The thread that writes decision records.
//!
//! First into the journal, then to the output: whoever waits for a durable record never waits for a slow reader of lines.

use std::io::Write;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::oneshot;

use super::record::Record;
use super::recorder::{Message, NotRecorded, Written};
use crate::store::{Journal, Kept};
use crate::telemetry::Metrics;

/// How long records gather once there is one: a thread that is woken for each would cost a tenth of an exchange. A process
/// that is killed loses at most the records of this time.
const GATHER: Duration = Duration::from_millis(5);

/// Records of one turn: what is made durable by one sync, and what an output that blocks may hold besides the queue.
const TOGETHER: usize = 512;

/// Bytes of one write call: what a pipe takes whole or not at all (`PIPE_BUF`), so that no other writer's line lands inside
/// one of ours. A longer line goes alone.
const AT_ONCE: usize = 4096;

/// What the thread has.
pub(super) struct Writer {
    lines: Option<Lines>,
    journal: Option<Journal>,
    metrics: Metrics,
}

impl Writer {
    pub(super) fn new(lines: Option<Box<dyn Write + Send>>, journal: Option<Journal>, metrics: Metrics) -> Self {
        Self { lines: lines.map(Lines::new), journal, metrics }
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
                    Message::Durable(record, written) => {
                        let (line, kept) = self.keep(&record);
                        lines.extend(line);
                        durable.push((kept, written));
                    }
                    Message::Finish(written) => finished.push(written),
                }
            }
            self.make_durable(durable);
            if let Some(output) = &mut self.lines {
                output.write(&lines, &self.metrics);
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

/// Whole lines on their way to the output.
struct Lines {
    output: Box<dyn Write + Send>,
    /// A write failed, perhaps in the middle of a line: the next one begins on a line of its own.
    torn: bool,
}

impl Lines {
    const fn new(output: Box<dyn Write + Send>) -> Self {
        Self { output, torn: false }
    }

    fn write(&mut self, lines: &[String], metrics: &Metrics) {
        let mut gathered = String::with_capacity(AT_ONCE);
        let mut count = 0;
        for line in lines {
            if gathered.len() + line.len() + 1 > AT_ONCE {
                self.flush(&mut gathered, &mut count, metrics);
            }
            gathered.push_str(line);
            gathered.push('\n');
            count += 1;
        }
        self.flush(&mut gathered, &mut count, metrics);
    }

    fn flush(&mut self, gathered: &mut String, count: &mut usize, metrics: &Metrics) {
        if gathered.is_empty() {
            return;
        }
        if self.torn {
            gathered.insert(0, '\n');
        }
        let written = self.output.write_all(gathered.as_bytes()).and_then(|()| self.output.flush());
        self.torn = written.is_err();
        gathered.clear();
        let lost = std::mem::take(count);
        if let Err(error) = written {
            (0..lost).for_each(|_| metrics.record_lost());
            tracing::error!(%error, lost, "decision records could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what each write call brought, and fails when told to.
    #[derive(Clone, Default)]
    struct Calls(Arc<Mutex<(Vec<String>, bool)>>);

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut calls = self.0.lock().unwrap();
            if calls.1 {
                return Err(std::io::Error::other("full"));
            }
            calls.0.push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn aud_a_write_call_has_whole_lines_and_no_more_than_a_pipe_takes_at_once() {
        let calls = Calls::default();
        let mut output = Lines::new(Box::new(calls.clone()));
        let mut lines: Vec<String> = (0..100).map(|number| format!("{number} {}", "x".repeat(number * 10))).collect();
        lines.push("y".repeat(2 * AT_ONCE));
        output.write(&lines, &Metrics::new("00"));
        let calls = &calls.0.lock().unwrap().0;
        assert!(calls.iter().all(|call| call.ends_with('\n')));
        assert!(calls.iter().all(|call| call.len() <= AT_ONCE || call.lines().count() == 1));
        assert!(calls.len() < lines.len() / 2, "{} calls", calls.len());
        assert_eq!(calls.concat(), format!("{}\n", lines.join("\n")), "in order, each once");
    }

    #[test]
    fn after_a_failed_write_the_next_line_stands_alone() {
        let calls = Calls::default();
        let mut output = Lines::new(Box::new(calls.clone()));
        let metrics = Metrics::new("00");
        calls.0.lock().unwrap().1 = true;
        output.write(&["lost".to_owned()], &metrics);
        calls.0.lock().unwrap().1 = false;
        output.write(&["kept".to_owned()], &metrics);
        assert_eq!(calls.0.lock().unwrap().0.concat(), "\nkept\n");
    }
}
