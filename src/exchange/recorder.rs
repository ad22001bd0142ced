//! Where decision records go: the output, one JSON line each, and the journal that `explain` reads. Off the request's path.
//!
//! Never makes a request wait unless durable records are asked for. What does not fit is lost and counted (design §6); a
//! line is written whole or not at all.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::record::Record;
use crate::store::{Journal, JournalReader, Kept};
use crate::telemetry::Metrics;

/// Records that may wait for a slow output: some seconds of a busy process, at about 1 KiB each.
const WAITING: usize = 8192;

/// Records that are made durable together: one sync for all that came while the last one ran.
const TOGETHER: usize = 512;

/// How long the end of the process waits for a slow output.
const FINISH: Duration = Duration::from_secs(5);

/// How often it looks for room in a full queue: five seconds together.
const FINISH_TRIES: u32 = 100;
const FINISH_PAUSE: Duration = Duration::from_millis(50);

/// Where records go.
#[derive(Default)]
pub struct RecordOutputs {
    /// One line for each decision.
    pub lines: Option<Box<dyn Write + Send>>,
    /// What `explain` reads.
    pub journal: Option<Journal>,
    /// Whether a record has to be durable before its answer leaves.
    pub required: bool,
}

/// A record could not be made durable.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotRecorded(String);

type Written = Result<(), NotRecorded>;

/// Hands records to their outputs.
#[derive(Clone, Debug)]
pub struct Recorder {
    waiting: Option<SyncSender<Message>>,
    reader: Option<Arc<JournalReader>>,
    required: bool,
    metrics: Metrics,
}

#[derive(Debug)]
enum Message {
    Record(Box<Record>),
    /// Answered once the record is on the disk.
    Durable(Box<Record>, oneshot::Sender<Written>),
    /// Answered once everything before it has been written.
    Finish(SyncSender<()>),
}

impl Recorder {
    /// Writes every record from a thread of its own, which ends with the last clone of this.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(outputs: RecordOutputs, metrics: Metrics) -> std::io::Result<Self> {
        let RecordOutputs { lines, journal, required } = outputs;
        let reader = journal.as_ref().map(Journal::reader);
        if lines.is_none() && journal.is_none() {
            return Ok(Self { waiting: None, reader, required: false, metrics });
        }
        let (sender, waiting) = sync_channel(WAITING);
        let writer = Writer { lines, journal, metrics: metrics.clone() };
        std::thread::Builder::new().name("records".to_owned()).spawn(move || writer.run(&waiting))?;
        Ok(Self { waiting: Some(sender), reader, required, metrics })
    }

    /// Whether a record has to be durable before its answer leaves.
    pub const fn is_required(&self) -> bool {
        self.required
    }

    pub(super) fn record(&self, record: Record) {
        let Some(waiting) = &self.waiting else { return };
        match waiting.try_send(Message::Record(Box::new(record))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.metrics.record_lost(),
        }
    }

    /// Completes when the record is on the disk.
    pub(super) async fn durably(&self, record: Record) -> Result<(), NotRecorded> {
        let lost = |why: &str| NotRecorded(why.to_owned());
        let Some(waiting) = &self.waiting else { return Err(lost("there is no place for records")) };
        let (written, answer) = oneshot::channel();
        match waiting.try_send(Message::Durable(Box::new(record), written)) {
            Ok(()) => answer.await.unwrap_or_else(|_gone| Err(lost("the writer of records has ended"))),
            Err(TrySendError::Full(_)) => Err(lost("records wait for a slow output")),
            Err(TrySendError::Disconnected(_)) => Err(lost("the writer of records has ended")),
        }
    }

    /// The kept record with that reference. Reads a file: blocks.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn find(&self, reference: &str) -> std::io::Result<Option<Record>> {
        let Some(reader) = &self.reader else { return Ok(None) };
        let found = reader.find(reference)?;
        Ok(found.and_then(|line| serde_json::from_slice(&line).ok()))
    }

    /// Waits until everything that was recorded so far has been written, at most five seconds. Blocks.
    pub fn finish(&self) {
        let Some(waiting) = &self.waiting else { return };
        let (written, answer) = sync_channel(1);
        let mut message = Message::Finish(written);
        // An output that blocks leaves its queue full: the end is put in line when there is room, and never waited for in `send`.
        for waited in 0..FINISH_TRIES {
            match waiting.try_send(message) {
                Ok(()) => {
                    if answer.recv_timeout(FINISH.saturating_sub(FINISH_PAUSE * waited)).is_ok() {
                        return;
                    }
                    break;
                }
                Err(TrySendError::Full(again)) => message = again,
                Err(TrySendError::Disconnected(_)) => break,
            }
            std::thread::sleep(FINISH_PAUSE);
        }
        tracing::warn!("the output of decision records did not take the last of them; they are lost");
    }
}

/// The thread that writes.
struct Writer {
    lines: Option<Box<dyn Write + Send>>,
    journal: Option<Journal>,
    metrics: Metrics,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Message>) {
        while let Ok(first) = waiting.recv() {
            let batch = std::iter::once(first).chain(waiting.try_iter().take(TOGETHER));
            let mut durable = Vec::new();
            let mut finished = Vec::new();
            for message in batch {
                match message {
                    Message::Record(record) => drop(self.write(&record)),
                    Message::Durable(record, written) => durable.push((self.write(&record), written)),
                    Message::Finish(written) => finished.push(written),
                }
            }
            if !durable.is_empty() {
                self.make_durable(durable);
            }
            for written in finished {
                let _ = written.send(());
            }
        }
    }

    fn write(&mut self, record: &Record) -> Result<(), NotRecorded> {
        let outcome = self.try_write(record).map_err(|error| NotRecorded(error.to_string()));
        if let Err(why) = &outcome {
            self.metrics.record_lost();
            tracing::error!(%why, "a decision record could not be written");
        }
        outcome
    }

    fn try_write(&mut self, record: &Record) -> std::io::Result<()> {
        let mut line = record.to_line()?;
        let kept = match &mut self.journal {
            Some(journal) => {
                let kept = if record.is_grant() { Kept::Grant } else { Kept::Refusal };
                journal.append(kept, &record.r#ref, line.as_bytes())
            }
            None => Ok(()),
        };
        if let Some(lines) = &mut self.lines {
            line.push('\n');
            // One write call a line: a process that is killed leaves whole lines.
            lines.write_all(line.as_bytes()).and_then(|()| lines.flush())?;
        }
        kept
    }

    /// One sync for all of them. Without a journal nothing can be promised.
    fn make_durable(&mut self, durable: Vec<(Written, oneshot::Sender<Written>)>) {
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
