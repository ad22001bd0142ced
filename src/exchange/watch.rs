//! When a stream of tokens acts next, and who tells it that something has changed.
//!
//! Never decides whether a token may be had: that is asked again each time.

use tokio::sync::watch;

use super::Issued;
use crate::clock::{Lifetime, Timestamp};

/// The signal that tokens would come out otherwise than a moment ago. It says that, and not what.
#[derive(Debug)]
pub(super) struct Changes(watch::Sender<()>);

impl Default for Changes {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl Changes {
    pub(super) fn tell(&self) {
        self.0.send_replace(());
    }

    pub(super) fn follow(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

/// What follows a token that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// When the next token is due. Where a fresh credential is needed for it, this is the end of the old one.
    pub next: Timestamp,
    /// When to ask for a fresh credential, where one is needed for the next token.
    pub ask: Option<Timestamp>,
}

impl Course {
    /// After this token: the next comes after four fifths of its life. A token that ends with what it rests on has no next one that
    /// would live longer; then a fresh credential is asked for at half of that time, so that there is as much again to fetch it.
    pub fn after(issued: &Issued) -> Self {
        Self::of(
            issued.token.issued_at,
            issued.token.expires_at,
            issued.refresh_in,
            Timestamp::from_seconds(issued.not_after.seconds()),
        )
    }

    fn of(began: Timestamp, ends: Timestamp, refresh_in: i64, rests_until: Timestamp) -> Self {
        let refresh_in = Lifetime::from_seconds(u32::try_from(refresh_in).unwrap_or(1));
        if ends < rests_until {
            return Self { next: began.plus(refresh_in), ask: None };
        }
        let half = Lifetime::from_seconds(u32::try_from(refresh_in.seconds() / 2).unwrap_or(0));
        Self { next: ends, ask: Some(began.plus(half)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_790_000_000 + seconds)
    }

    #[test]
    fn the_next_token_comes_before_the_last_one_dies() {
        assert_eq!(Course::of(at(0), at(300), 240, at(900)), Course { next: at(240), ask: None });
    }

    #[test]
    fn a_fresh_credential_is_asked_for_while_there_is_time_to_fetch_it() {
        assert_eq!(Course::of(at(0), at(300), 240, at(300)), Course { next: at(300), ask: Some(at(120)) });
        assert_eq!(Course::of(at(0), at(11), 8, at(11)), Course { next: at(11), ask: Some(at(4)) });
        assert_eq!(Course::of(at(0), at(1), 1, at(1)), Course { next: at(1), ask: Some(at(0)) });
    }
}
