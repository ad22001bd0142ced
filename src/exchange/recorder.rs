//! Where decision records go: the output, one JSON line each, and the journal that `explain` reads. Off the request's path.
//!
//! Never makes a request wait unless durable records are asked for, nor wakes a thread for each. What does not fit is lost and
//! counted (design §6).

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::record::Record;
use super::writer::Writer;
use crate::store::{Journal, JournalReader};
use crate::telemetry::Metrics;

/// Records that may wait for a slow output: some seconds of a busy process, at about 1 KiB each.
const WAITING: usize = 8192;

/// How long an answer waits for its record to be durable: an output or a disk that hangs must not hold requests for ever.
const DURABLE: Duration = Duration::from_secs(2);

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
pub struct NotRecorded(pub(super) String);

pub(super) type Written = Result<(), NotRecorded>;

/// Hands records to their outputs.
#[derive(Clone, Debug)]
pub struct Recorder {
    waiting: Option<SyncSender<Message>>,
    reader: Option<Arc<JournalReader>>,
    required: bool,
    metrics: Metrics,
}

#[derive(Debug)]
pub(super) enum Message {
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
        let writer = Writer::new(lines, journal, metrics.clone());
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
            Ok(()) => match tokio::time::timeout(DURABLE, answer).await {
                Ok(written) => written.unwrap_or_else(|_gone| Err(lost("the writer of records has ended"))),
                Err(_elapsed) => Err(lost("the record was not durable within two seconds")),
            },
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
