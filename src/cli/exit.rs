//! Exit codes (design §8).

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok,
    /// A problem was found.
    Problem,
    /// The command was not understood.
    Usage,
    /// Something could not be reached.
    Unreachable,
    /// The platform gave no identity.
    NoIdentity,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Problem => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::NoIdentity => 4,
        })
    }
}
