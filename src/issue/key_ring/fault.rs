//! What can be wrong with the folder of signing keys, in sentences for the operator.
//!
//! Names files and key ids, never what is in a key.

use std::io;
use std::path::PathBuf;

use crate::identity::KeyId;
use crate::issue::{KeyFileFault, PlanFault};
use crate::jose::{Algorithm, KeyFault};

/// Why the ring cannot be opened, extended or read again. Names files, never what is in a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingFault {
    /// The folder itself.
    #[error("the folder of signing keys {path:?} cannot be {action}: {why}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What was tried, as a participle.
        action: &'static str,
        /// The system's words.
        why: io::Error,
    },
    /// More files than are read.
    #[error("the folder of signing keys {path:?} has over {limit} files; remove those of keys that are gone")]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// Another process holds the lock and does not let go.
    #[error("another process has been making keys in {path:?} for too long; it holds the lock on the file .lock there")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A key file that the system does not hand out.
    #[error("the signing key file {path:?} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: io::Error,
    },
    /// A key file with too many bytes.
    #[error("the signing key file {path:?} has over {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// A key file that says something else than a key and its dates.
    #[error("the signing key file {path:?} {why}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: KeyFileFault,
    },
    /// Two files with one key id (JWK-03).
    #[error("the signing key file {path:?} has the key id of another file, {key_id}")]
    SameId {
        /// The second of the two files.
        path: PathBuf,
        /// The key id.
        key_id: KeyId,
    },
    /// A key id that stands for another key than before (JWK-03).
    #[error(
        "the signing key file {path:?} has another key than before under the key id {key_id}; give it an id of its own"
    )]
    Replaced {
        /// The file.
        path: PathBuf,
        /// The key id.
        key_id: KeyId,
    },
    /// No key could be made.
    #[error("no {algorithm} key can be made: {why}")]
    NotMade {
        /// Its algorithm.
        algorithm: Algorithm,
        /// Why.
        why: KeyFault,
    },
    /// A signature that does not verify with the public half. The key is published as before, and signs nothing here.
    #[error("the signature of the {algorithm} key {key_id} does not verify; it signs nothing in this process")]
    Unconfirmed {
        /// The key id.
        key_id: KeyId,
        /// Its algorithm.
        algorithm: Algorithm,
    },
    /// The settings say `files`: nothing is made or changed there.
    #[error(
        "somebody else writes the signing keys in {path:?} (`signing.files`); change them where they are kept, with files that `countersign keys new` writes"
    )]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// The settings say `files`, and a needed key is not there.
    #[error(
        "no {algorithm} key in {path:?} signs or will sign; make one with `countersign keys new --algorithm {algorithm}` and put its file there"
    )]
    Missing {
        /// The folder.
        path: PathBuf,
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// A new key's file that the system does not write.
    #[error("the signing key file {path:?} cannot be written: {why}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: io::Error,
    },
    /// A change of plan that makes no sense.
    #[error("{0}")]
    Plan(#[from] PlanFault),
}
