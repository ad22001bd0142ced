//! The output of decision records: one JSON line each, from a thread of its own.
//!
//! Never keeps anybody waiting, the journal least of all: a line that does not fit is lost and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};

use super::recorder::WAITING;
use crate::telemetry::Metrics;

/// Bytes of one write call: what a pipe takes whole or not at all (`PIPE_BUF`), so that no other writer's line lands inside
/// one of ours. A longer line goes alone.
const AT_ONCE: usize = 4096;

/// What the thread is told.
enum Message {
    Lines(Vec<String>),
    /// Answered once everything before it has been written.
    Finish(SyncSender<()>),
}

/// Hands lines to the thread that writes them.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    sender: Sender<Message>,
    /// Lines that wait, which the channel itself does not bound.
    waiting: Arc<AtomicUsize>,
    metrics: Metrics,
}

impl Lines {
    /// Starts the thread. It ends with the last clone of this.
    pub(super) fn start(output: Box<dyn Write + Send>, metrics: Metrics) -> io::Result<Self> {
        let (sender, receiver) = channel();
        let waiting = Arc::<AtomicUsize>::default();
        let (mut output, taken) = (Output { output, torn: false, metrics: metrics.clone() }, Arc::clone(&waiting));
        std::thread::Builder::new().name("record-lines".to_owned()).spawn(move || output.run(&receiver, &taken))?;
        Ok(Self { sender, waiting, metrics })
    }

    /// Lines without their ends, in order. One writer calls this at a time.
    pub(super) fn write(&self, mut lines: Vec<String>) {
        let room = WAITING.saturating_sub(self.waiting.load(Ordering::Acquire));
        let lost = lines.len().saturating_sub(room);
        lines.truncate(room);
        (0..lost).for_each(|_| self.metrics.record_lost());
        if !lines.is_empty() {
            self.waiting.fetch_add(lines.len(), Ordering::AcqRel);
            // The thread ends with the last sender, and this is one.
            let _ = self.sender.send(Message::Lines(lines));
        }
    }

    /// Tells `written` when everything before this has been written.
    pub(super) fn finish(&self, written: SyncSender<()>) {
        let _ = self.sender.send(Message::Finish(written));
    }
}

struct Output {
    output: Box<dyn Write + Send>,
    /// The last write ended in the middle of a line: the next one begins on a line of its own.
    torn: bool,
    metrics: Metrics,
}

impl Output {
    fn run(&mut self, receiver: &Receiver<Message>, waiting: &AtomicUsize) {
        while let Ok(message) = receiver.recv() {
            match message {
                Message::Lines(lines) => {
                    waiting.fetch_sub(lines.len(), Ordering::AcqRel);
                    self.write(&lines);
                }
                Message::Finish(written) => {
                    let _ = written.send(());
                }
            }
        }
    }

    fn write(&mut self, lines: &[String]) {
        let mut gathered = String::with_capacity(AT_ONCE);
        let mut count = 0;
        for line in lines {
            if gathered.len() + line.len() + 1 + usize::from(self.torn) > AT_ONCE {
                self.flush(&mut gathered, &mut count);
            }
            gathered.push_str(line);
            gathered.push('\n');
            count += 1;
        }
        self.flush(&mut gathered, &mut count);
    }

    fn flush(&mut self, gathered: &mut String, count: &mut usize) {
        if gathered.is_empty() {
            return;
        }
        let apart = self.torn;
        if apart {
            gathered.insert(0, '\n');
        }
        let (taken, written) = self.write_whole(gathered.as_bytes());
        let ends = gathered.bytes().take(taken).skip(usize::from(apart)).filter(|byte| *byte == b'\n').count();
        gathered.clear();
        // JSON has no line end inside a line: each one that was taken is a whole line.
        let lost = std::mem::take(count).saturating_sub(ends);
        if let Err(error) = written {
            (0..lost).for_each(|_| self.metrics.record_lost());
            tracing::error!(%error, lost, "decision records could not be written");
        }
    }

    /// How many bytes the output took, and whether that is all.
    fn write_whole(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(0) => return (taken, Err(io::ErrorKind::WriteZero.into())),
                Ok(some) => {
                    self.torn = rest.get(..some).is_none_or(|written| !written.ends_with(b"\n"));
                    taken += some;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (taken, Err(error)),
            }
        }
        (taken, self.output.flush())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Keeps what each write call brought; with a number, takes so many bytes more and then fails.
    #[derive(Clone, Default)]
    struct Calls(Arc<Mutex<(Vec<String>, Option<usize>)>>);

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut calls = self.0.lock().unwrap();
            let taken = match &mut calls.1 {
                Some(0) => return Err(std::io::Error::other("full")),
                Some(left) => std::mem::take(left).min(bytes.len()),
                None => bytes.len(),
            };
            calls.0.push(String::from_utf8(bytes[..taken].to_vec()).unwrap());
            Ok(taken)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn aud_a_write_call_has_whole_lines_and_no_more_than_a_pipe_takes_at_once() {
        let calls = Calls::default();
        let mut output = Output { output: Box::new(calls.clone()), torn: false, metrics: Metrics::new("00") };
        let mut lines: Vec<String> = (0..100).map(|number| format!("{number} {}", "x".repeat(number * 10))).collect();
        lines.push("y".repeat(2 * AT_ONCE));
        output.write(&lines);
        let calls = &calls.0.lock().unwrap().0;
        assert!(calls.iter().all(|call| call.ends_with('\n')));
        assert!(calls.iter().all(|call| call.len() <= AT_ONCE || call.lines().count() == 1));
        assert!(calls.len() < lines.len() / 2, "{} calls", calls.len());
        assert_eq!(calls.concat(), format!("{}\n", lines.join("\n")), "in order, each once");
    }

    #[test]
    fn after_a_torn_line_the_next_one_stands_alone() {
        for (taken, written) in [
            (
                0, "kept
",
            ),
            (
                3,
                "los
kept
",
            ),
        ] {
            let calls = Calls::default();
            let metrics = Metrics::new("00");
            let mut output = Output { output: Box::new(calls.clone()), torn: false, metrics: metrics.clone() };
            calls.0.lock().unwrap().1 = Some(taken);
            output.write(&["lost".to_owned()]);
            calls.0.lock().unwrap().1 = None;
            output.write(&["kept".to_owned()]);
            assert_eq!(calls.0.lock().unwrap().0.concat(), written);
            assert!(metrics.encode(&[], &[]).contains(
                "countersign_records_lost_total 1
"
            ));
        }
    }

    #[test]
    fn of_lines_that_are_written_together_those_are_lost_that_were_not_taken() {
        let calls = Calls::default();
        let metrics = Metrics::new("00");
        let mut output = Output { output: Box::new(calls.clone()), torn: false, metrics: metrics.clone() };
        let lines = ["first", "second", "third"].map(str::to_owned);
        for (taken, lost) in [(8, 2), (7, 4)] {
            calls.0.lock().unwrap().1 = Some(taken);
            output.write(&lines);
            assert!(metrics.encode(&[], &[]).contains(&format!("countersign_records_lost_total {lost}\n")));
        }
        assert_eq!(calls.0.lock().unwrap().0.concat(), "first\nse\nfirst\n");
    }
}
