//! Notices that the configuration on disk has changed.
//!
//! By content, so that a ConfigMap's symlink swap counts and a touched file does not. Decides nothing about the new content.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;

use super::App;
use crate::clock::Lifetime;

/// How often the files are looked at.
const EVERY: Lifetime = Lifetime::from_seconds(2);

/// A configuration file is at most this long; more is not read here, and refused where it is.
const LONGEST: u64 = 1024 * 1024;

/// Reloads whenever what is on disk differs from what was last seen there.
pub(super) async fn follow(app: Arc<App>) {
    // Nothing yet: what changed between the load at the start and the first look is a change too.
    let mut seen = Vec::new();
    loop {
        let due = app.clock.now().plus(EVERY);
        tokio::select! {
            () = app.background.cancelled() => return,
            () = app.clock.sleep_until(due) => {}
        }
        let now = app.seen().await;
        if now != seen {
            app.reload().await;
            // What was read for the reload, not what was there before it: nothing in between is missed.
            seen = now;
        }
    }
}

impl App {
    /// A digest of the configuration's files and of the names beside them (an included file may be new).
    async fn seen(&self) -> Vec<u8> {
        let files = self.fixed.lock().await.files.clone();
        let main = self.config.clone();
        tokio::task::spawn_blocking(move || digest_of(&main, &files)).await.unwrap_or_default()
    }
}

fn digest_of(main: &Path, files: &[PathBuf]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut folders: Vec<&Path> = files.iter().skip(1).filter_map(|file| file.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    for file in std::iter::once(main).chain(files.iter().map(PathBuf::as_path)) {
        context.update(file.as_os_str().as_encoded_bytes());
        context.update(&read(file));
    }
    for folder in folders {
        let names = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        for name in names {
            context.update(name.as_encoded_bytes());
            context.update(b"/");
        }
    }
    context.finish().as_ref().to_vec()
}

fn read(file: &Path) -> Vec<u8> {
    use std::io::Read;
    let mut content = Vec::new();
    if let Ok(opened) = std::fs::File::open(file) {
        let _ = opened.take(LONGEST).read_to_end(&mut content);
    }
    content
}
