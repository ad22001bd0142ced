//! What is written below the state folder, and in which order: one task, one file after the other.
//!
//! Nobody waits for it. A disk that hangs costs files, never a refresh or a withdrawal, and blocks one thread.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::engine::Shared;
use super::last_good::{Last, LastGood};
use super::source::{SourceKeys, locked};
use super::{extension, last_good, pushed, whole_file};
use crate::clock::Lifetime;
use crate::identity::SourceName;

/// Confirmation alone is written at most this often.
const KEEP: Lifetime = Lifetime::from_minutes(1);

/// What is to be done yet; the first may be under way.
#[derive(Default)]
pub(super) struct Keeping {
    jobs: Mutex<VecDeque<Job>>,
    more: Notify,
}

#[derive(Clone)]
enum Job {
    /// Writes what a source holds then.
    Keep(Arc<SourceKeys>),
    /// Removes all that is kept of a source that is no more (FED-08).
    Forget(SourceName),
    /// Removes all that is kept of sources but these: what was taken out while nothing ran.
    ForgetOthers(BTreeSet<SourceName>),
}

impl Keeping {
    fn add(&self, job: Job) {
        let mut jobs = locked(&self.jobs);
        // The first may be under way, and have looked at its source already.
        let is_waiting = |waiting: &Job| match (waiting, &job) {
            (Job::Keep(waiting), Job::Keep(keys)) => Arc::ptr_eq(waiting, keys),
            _ => false,
        };
        if !jobs.iter().skip(1).any(is_waiting) {
            jobs.push_back(job);
            self.more.notify_one();
        }
    }

    /// What is kept of that source is to be removed, and until then not to be read.
    pub(super) fn forget(&self, source: SourceName) {
        self.add(Job::Forget(source));
    }

    /// What is kept of other sources is to be removed.
    pub(super) fn forget_others(&self, sources: BTreeSet<SourceName>) {
        self.add(Job::ForgetOthers(sources));
    }

    /// Whether what is kept of that source has yet to be removed: whoever has its name now begins anew.
    pub(super) fn forgets(&self, source: &SourceName) -> bool {
        locked(&self.jobs).iter().any(|job| match job {
            Job::Keep(_) => false,
            Job::Forget(gone) => gone == source,
            Job::ForgetOthers(sources) => !sources.contains(source),
        })
    }

    fn next(&self) -> Option<Job> {
        locked(&self.jobs).front().cloned()
    }

    fn done(&self) {
        let _done = locked(&self.jobs).pop_front();
    }
}

/// Does what is to be done, until the engine ends and nothing is left.
pub(super) async fn run(shared: Arc<Shared>, cancel: CancellationToken) {
    loop {
        match shared.keeping.next() {
            Some(Job::Keep(keys)) => shared.keep(&keys).await,
            Some(Job::Forget(source)) => shared.forget(move |_| Ok(BTreeSet::from([source]))).await,
            Some(Job::ForgetOthers(sources)) => {
                shared.forget(move |directory| Ok(&kept_in(directory)? - &sources)).await;
            }
            None => {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = shared.keeping.more.notified() => {}
                }
                continue;
            }
        }
        shared.keeping.done();
    }
}

impl Shared {
    /// Has the last good keys written soon.
    pub(super) fn keep_soon(&self, keys: &Arc<SourceKeys>) {
        self.keeping.add(Job::Keep(Arc::clone(keys)));
    }

    /// Writes the last good keys, if they have changed or were confirmed a while ago.
    pub(super) async fn keep(self: &Arc<Self>, keys: &Arc<SourceKeys>) {
        let _writing = self.writing.lock().await;
        let now = self.clock.now();
        let Some(good) = LastGood::of(keys, now) else { return };
        let content = good.content();
        let is_due = match &locked(&keys.written).last {
            // A time ahead of now: the clock was set back, and what the file says is from then.
            Some(last) => last.content != content || now.since(last.at) >= KEEP || last.at > now,
            None => true,
        };
        if !is_due || keys.gone.load(Ordering::SeqCst) {
            return;
        }
        let (of, within) = (Arc::clone(keys), Arc::clone(self));
        let write = move || last_good::write(&within.directory, &of.name, &of.digest, &good);
        let written = match tokio::task::spawn_blocking(write).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_interrupted) => Err("interrupted".to_owned()),
        };
        let mut state = locked(&keys.written);
        let trouble = written.err();
        if let (Some(why), true) = (&trouble, state.trouble != trouble) {
            tracing::warn!(source = %keys.name, "the last good keys of {} cannot be written: {why}", keys.name);
        }
        // Counted from attempts: a full disk is not tried again at every poll.
        state.last = Some(Last { content, at: now });
        state.trouble = trouble;
    }

    /// Removes what is kept of sources that are no more: when one comes back, it begins anew (FED-08).
    async fn forget(self: &Arc<Self>, which: impl FnOnce(&Path) -> io::Result<BTreeSet<SourceName>> + Send + 'static) {
        let _writing = self.writing.lock().await;
        let within = Arc::clone(self);
        let remove = move || {
            let directory = &within.directory;
            which(directory)?.iter().try_for_each(|source| forget(directory, source))
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(remove).await {
            tracing::warn!("what is kept of sources that were taken out cannot be removed: {error}");
        }
    }
}

/// The sources of which something is kept. Files of other names are not ours.
fn kept_in(directory: &Path) -> io::Result<BTreeSet<SourceName>> {
    let mut sources = BTreeSet::new();
    for folder in ["keys", "extensions"] {
        let entries = match fs::read_dir(directory.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
            sources.extend(SourceName::parse(name.strip_suffix(".pushes").unwrap_or(name)).ok());
        }
    }
    Ok(sources)
}

fn forget(directory: &Path, source: &SourceName) -> io::Result<()> {
    let paths = [
        last_good::path_of(directory, source),
        pushed::path_of(directory, source),
        extension::path_of(directory, source),
    ];
    paths.iter().try_for_each(|path| whole_file::remove(path))
}
