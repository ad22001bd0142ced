//! Where decision records go: the journal that `explain` reads, and the output, one JSON line each. Off the request's path.
//!
//! Never makes a request wait unless durable records are asked for, and then for the journal alone; nor wakes a thread for
//! each. What does not fit is lost and counted, for each of the two (design §6).

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::aggregate::Grants;
use super::lines::Lines;
use super::record::Record;
use super::writer::Writer;
use crate::clock::{Clock, Lifetime};
use crate::store::{Journal, JournalReader, Kept};
use crate::telemetry::Metrics;

/// Records that may wait for a slow output: some seconds of a busy process, at about 1 KiB each.
pub(super) const WAITING: usize = 8192;

/// How long an answer waits for its record to be durable: a disk that hangs must not hold requests for ever.
const DURABLE: Lifetime = Lifetime::from_seconds(2);

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
    lines: Option<Lines>,
    reader: Option<Arc<JournalReader>>,
    required: bool,
    metrics: Metrics,
}

#[derive(Debug)]
pub(super) enum Message {
    Record(Entry),
    /// Answered once the record is on the disk.
    Durable(Entry, oneshot::Sender<Written>),
    /// Answered once everything before it has been written.
    Finish(SyncSender<()>),
}

/// A record as it is kept and shown. It is made where the record was: to free its many strings on another thread would cost
/// more than to write them into one.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kept: Kept,
    pub(super) reference: String,
    pub(super) line: String,
}

impl Entry {
    fn of(record: &Record) -> Result<Self, NotRecorded> {
        let kept = if record.is_routine() { Kept::Grant } else { Kept::Refusal };
        let line = record.to_line().map_err(|error| NotRecorded(error.to_string()))?;
        Ok(Self { kept, reference: record.r#ref.clone(), line })
    }
}

impl Recorder {
    /// Writes every record from threads of its own, which end with the last clone of this.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start(outputs: RecordOutputs, metrics: Metrics) -> std::io::Result<Self> {
        let RecordOutputs { lines, mut journal, required } = outputs;
        if let Some(journal) = &mut journal {
            fold_grants(journal);
        }
        let reader = journal.as_ref().map(Journal::reader);
        if lines.is_none() && journal.is_none() {
            return Ok(Self { waiting: None, lines: None, reader, required: false, metrics });
        }
        let lines = lines.map(|output| Lines::start(output, metrics.clone())).transpose()?;
        let (sender, waiting) = sync_channel(WAITING);
        let writer = Writer::new(lines.clone(), journal, metrics.clone());
        std::thread::Builder::new().name("records".to_owned()).spawn(move || writer.run(&waiting))?;
        Ok(Self { waiting: Some(sender), lines, reader, required, metrics })
    }

    /// Whether a record has to be durable before its answer leaves.
    pub const fn is_required(&self) -> bool {
        self.required
    }

    pub(super) fn record(&self, record: &Record) {
        let Some(waiting) = &self.waiting else { return };
        let sent = Entry::of(record).is_ok_and(|entry| waiting.try_send(Message::Record(entry)).is_ok());
        if !sent {
            self.metrics.record_lost();
        }
    }

    /// Completes when the record is on the disk. One that is given up before the writer came to it is not written.
    pub(super) async fn durably(&self, record: &Record, clock: &dyn Clock) -> Result<(), NotRecorded> {
        let lost = |why: &str| NotRecorded(why.to_owned());
        let Some(waiting) = &self.waiting else { return Err(lost("there is no place for records")) };
        let (written, answer) = oneshot::channel();
        match waiting.try_send(Message::Durable(Entry::of(record)?, written)) {
            Ok(()) => tokio::select! {
                written = answer => written.unwrap_or_else(|_gone| Err(lost("the writer of records has ended"))),
                () = clock.sleep_until(clock.now().plus(DURABLE)) => Err(lost("the disk did not answer in two seconds")),
            },
            Err(TrySendError::Full(_)) => Err(lost("records wait for a slow disk")),
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

    /// Who was granted what, over everything that is kept: whole records and those that were put together. Reads files: blocks.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn grants(&self) -> std::io::Result<Grants> {
        let Some(reader) = &self.reader else { return Ok(Grants::default()) };
        let mut grants = Grants::read(reader.directory());
        reader.grants(|record| grants.add(record))?;
        Ok(grants)
    }

    /// Waits until everything that was recorded so far has been written, at most five seconds. Blocks.
    pub fn finish(&self) {
        let Some(waiting) = &self.waiting else { return };
        let until_kept = finished(waiting);
        // The journal's end first: what it has not passed on yet is not among the lines.
        let shown = until_kept.is_some_and(|left| self.lines.as_ref().is_none_or(|lines| lines_finished(lines, left)));
        if !shown {
            tracing::warn!("the output of decision records did not take the last of them; they are lost");
        }
    }
}

/// Waits until the journal's thread has done everything that was in line before now; how much of the time is left then.
fn finished(waiting: &SyncSender<Message>) -> Option<Duration> {
    let (written, answer) = sync_channel(1);
    let mut message = Message::Finish(written);
    // A disk that blocks leaves its queue full: the end is put in line when there is room, and never waited for in `send`.
    for waited in 0..FINISH_TRIES {
        match waiting.try_send(message) {
            Ok(()) => {
                let left = FINISH.saturating_sub(FINISH_PAUSE * waited);
                return answer.recv_timeout(left).is_ok().then_some(left);
            }
            Err(TrySendError::Full(again)) => message = again,
            Err(TrySendError::Disconnected(_)) => return None,
        }
        std::thread::sleep(FINISH_PAUSE);
    }
    None
}

fn lines_finished(lines: &Lines, left: Duration) -> bool {
    let (written, answer) = sync_channel(1);
    lines.finish(written);
    answer.recv_timeout(left).is_ok()
}

/// Grants that lose their place are put together (design §9.9).
fn fold_grants(journal: &mut Journal) {
    let (directory, most) = (journal.directory().to_owned(), journal.aside());
    let mut grants = Grants::read(&directory);
    journal.fold_grants(move |records| {
        records.iter().for_each(|record| grants.add(record));
        if let Err(error) = grants.write(&directory, most) {
            tracing::error!(%error, "grants that make room could not be put together");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    #[tokio::test]
    async fn aud_01_a_disk_that_does_not_answer_is_given_up() {
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_790_000_000));
        let (sender, stuck) = sync_channel(WAITING);
        let recorder =
            Recorder { waiting: Some(sender), lines: None, reader: None, required: true, metrics: Metrics::new("AA") };
        let record = Record::default();
        let waiting = recorder.durably(&record, &clock);
        let moved = async {
            clock.advance(Lifetime::from_millis(1_999));
            tokio::task::yield_now().await;
            let Message::Durable(_, written) = stuck.recv().unwrap() else { return None };
            let waits = !written.is_closed();
            clock.advance(Lifetime::from_millis(1));
            waits.then_some(written)
        };
        let (outcome, waited) = tokio::join!(waiting, moved);
        assert!(waited.is_some_and(|written| written.is_closed()), "not a millisecond before");
        assert_eq!(outcome.unwrap_err().to_string(), "the disk did not answer in two seconds");
    }

    #[tokio::test]
    async fn what_was_given_up_is_not_written() {
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_790_000_000));
        let directory = std::env::temp_dir().join(format!("countersign-given-up-{}", std::process::id()));
        let journal = Journal::open(&directory, 1 << 20).unwrap();
        let reader = journal.reader();
        let (sender, waiting) = sync_channel(WAITING);
        let (answer, given_up) = oneshot::channel();
        drop(given_up);
        let record = |reference: &str| Record { r#ref: reference.into(), ..Record::default() };
        sender.send(Message::Durable(Entry::of(&record("AAAAAAAAAAAA")).unwrap(), answer)).unwrap();
        let metrics = Metrics::new("AA");
        let writer = Writer::new(None, Some(journal), metrics.clone());
        std::thread::spawn(move || writer.run(&waiting));
        let recorder = Recorder { waiting: Some(sender), lines: None, reader: Some(reader), required: true, metrics };
        recorder.durably(&record("BBBBBBBBBBBB"), &clock).await.unwrap();
        assert!(recorder.find("AAAAAAAAAAAA").unwrap().is_none());
        assert!(recorder.find("BBBBBBBBBBBB").unwrap().is_some());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
