//! Where decision records go: one JSON line each, off the request's path.
//!
//! Never makes a request wait. What does not fit is lost and counted (design §6); a line is written whole or not at all.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use crate::telemetry::Metrics;

/// Records that may wait for a slow output: some seconds of a busy process, at about 1 KiB each.
const WAITING: usize = 8192;

/// How long the end of the process waits for a slow output.
const FINISH: Duration = Duration::from_secs(5);

/// How often it looks for room in a full queue: five seconds together.
const FINISH_TRIES: u32 = 100;
const FINISH_PAUSE: Duration = Duration::from_millis(50);

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

fn write(waiting: &Receiver<Message>, mut output: Box<dyn Write + Send>, metrics: &Metrics) {
    while let Ok(message) = waiting.recv() {
        match message {
            // One write call a line: a process that is killed leaves whole lines.
            Message::Line(line) => {
                if let Err(error) = output.write_all(line.as_bytes()).and_then(|()| output.flush()) {
                    metrics.record_lost();
                    tracing::error!(%error, "a decision record could not be written");
                }
            }
            Message::Finish(written) => {
                let _ = written.send(());
            }
        }
    }
}
