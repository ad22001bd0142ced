//! Files that a request needs, read off the async threads and within a time.
//!
//! Never begins a second reading while the first one hangs: a mount that is gone blocks one thread a source, however often it is tried.

use std::time::Duration;

use tokio::task::JoinHandle;

/// As long as a whole request may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The readings of one source.
pub(super) struct Reading<T> {
    /// What nobody waited for any longer.
    left: Option<JoinHandle<T>>,
    deadline: Duration,
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self { left: None, deadline: DEADLINE }
    }
}

impl<T: Send + 'static> Reading<T> {
    /// What `read` gives. It may block.
    ///
    /// # Errors
    /// A sentence, when that takes too long.
    pub(super) async fn of(&mut self, what: &str, read: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let deadline = self.deadline;
        match tokio::time::timeout(deadline, self.after_the_last(read)).await {
            Ok(outcome) => outcome.map_err(|_gone| format!("reading {what} was interrupted")),
            Err(_elapsed) => {
                Err(format!("{what} could not be read within {} s; does a mount hang?", deadline.as_secs()))
            }
        }
    }

    async fn after_the_last(&mut self, read: impl FnOnce() -> T + Send + 'static) -> Result<T, tokio::task::JoinError> {
        if let Some(left) = &mut self.left {
            // What it read is from then.
            let _late = left.await;
        }
        let outcome = self.left.insert(tokio::task::spawn_blocking(read)).await;
        self.left = None;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_reading_that_hangs_ends_for_its_reader_and_holds_one_thread() {
        let mut reading = Reading { left: None, deadline: Duration::from_millis(50) };
        let (resume, hanging) = mpsc::channel::<()>();
        let hangs = move || {
            let _ = hanging.recv();
            1
        };
        let why = reading.of("its token", hangs).await.unwrap_err();
        assert!(why.contains("its token could not be read within"), "{why}");
        let (began, has_begun) = mpsc::channel();
        let second = began.clone();
        let why = reading.of("its token", move || second.send(()).map_or(3, |()| 2)).await;
        assert!(why.is_err() && has_begun.try_recv().is_err(), "no second thread waits beside the first: {why:?}");
        resume.send(()).unwrap();
        reading.deadline = DEADLINE;
        let read = reading.of("its token", move || began.send(()).map_or(3, |()| 2)).await;
        assert_eq!(read, Ok(2), "as it is now, not as it was then");
        assert_eq!(has_begun.try_iter().count(), 1);
    }
}
