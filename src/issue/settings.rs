//! Where signing keys live, and who writes them.

use std::path::{Path, PathBuf};

use crate::clock::Lifetime;

/// How long a key signs before the next one takes over, unless set: 30 days.
pub const DEFAULT_ROTATION: Lifetime = Lifetime::from_hours(30 * 24);

/// The shortest such time. Far longer than a key is published before its first use.
pub const SHORTEST_ROTATION: Lifetime = Lifetime::from_hours(1);

/// The longest such time: a leap year.
pub const LONGEST_ROTATION: Lifetime = Lifetime::from_hours(366 * 24);

/// Settings of signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningSettings {
    /// A folder of dated key files that is ours: the processes on it make the keys, and the next ones.
    Directory {
        /// The folder. Made if it is not there.
        path: PathBuf,
        /// How long a key signs before the next one takes over.
        rotate: Lifetime,
    },
    /// A folder of dated key files that somebody else writes, such as a mounted Secret. Read only.
    Files {
        /// The folder.
        path: PathBuf,
    },
}

impl SigningSettings {
    /// The folder.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory { path, .. } | Self::Files { path } => path,
        }
    }
}
