//! What an API server's word about a token or an object can be.
//!
//! Silence and trouble are words of their own: neither is ever taken for life or for death.

/// What the API server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Alive,
    /// It does not: what it is bound to is gone, or it has ended there. Why, for the operator.
    Gone(String),
    /// It counts, and for none of the audiences that were asked for; an empty list is good for the API server alone.
    OtherAudience {
        /// The audiences of the answer.
        got: String,
        /// Those that were asked for.
        want: String,
    },
    /// It counts, and is another user's, pod's or token than it says.
    OtherUser {
        /// What the API server says.
        got: String,
        /// What the token says.
        want: String,
    },
    /// It answers that it could not check. Never the caller's fault. Why, for the operator.
    Unchecked(String),
    /// It could not be asked. Never the caller's fault. Why, for the operator.
    Unknown(String),
}

impl Verdict {
    /// The word for it in metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Gone(_) => "gone",
            Self::OtherAudience { .. } => "other_audience",
            Self::OtherUser { .. } => "other_user",
            Self::Unchecked(_) | Self::Unknown(_) => "unavailable",
        }
    }

    /// Why it says neither yes nor no. The words in which an API server says that it could not check may name a workload.
    pub(super) const fn trouble(&self) -> Option<&str> {
        match self {
            Self::Unchecked(_) => {
                Some("the API server could not check a token; the record of that refusal has its words")
            }
            Self::Unknown(why) => Some(why.as_str()),
            Self::Alive | Self::Gone(_) | Self::OtherAudience { .. } | Self::OtherUser { .. } => None,
        }
    }
}
