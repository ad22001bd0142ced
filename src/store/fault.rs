//! Why the store did not do what it was asked.
//!
//! All of them mean: nothing was promised. Who needed the answer must refuse.

use std::path::PathBuf;

/// The store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// More is waiting than the disk keeps up with.
    #[error("more is waiting for the store than it keeps up with")]
    Busy,
    /// No answer in time.
    #[error("the disk did not answer in {0} seconds")]
    Slow(i64),
    /// There is no room for more of this.
    #[error("the store holds {0}, and that is all it may")]
    Full(String),
    /// The disk or the file failed.
    #[error("the store failed: {0}")]
    Failed(String),
    /// It has been closed.
    #[error("the store is closed")]
    Closed,
}

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreUnopened {
    /// Somebody else has it.
    #[error("{} is in use by another process: each process needs a state folder of its own", .0.display())]
    InUse(PathBuf),
    /// It cannot be read or made.
    #[error("{} cannot be opened: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is no store, or a broken one.
    #[error(
        "{} is damaged ({why}). It says what is revoked and which credentials were used, so nothing is served without it. \
         Put a good copy back, or move it away and revoke again what must stay revoked: without it every revocation is \
         forgotten, and once-only credentials that are still valid can be used again",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}
