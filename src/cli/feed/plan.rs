//! Which token pushes which key set, and when: each token does it once, and the kubelet brings a new one now and then.
//!
//! Never spends the last token without need: after a rotation the next one is signed by a key that has to be pushed first.

use std::fmt;

use crate::clock::{Lifetime, Timestamp};
use crate::secret::Secret;

/// After this without a push that was taken the last token is spent too. Well below `max_stale`.
const CONFIRM: Lifetime = Lifetime::from_hours(1);

/// Tokens that were not spent, and the set that was taken last.
#[derive(Default)]
pub(super) struct Plan {
    /// From the file, before the newest; signed earlier, so it goes first.
    before: Option<Secret<String>>,
    newest: Option<Secret<String>>,
    newest_is_spent: bool,
    taken: Option<(String, Timestamp)>,
}

/// What is to be done. Its `Debug` says no token.
#[derive(PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// Push the set with this token.
    Push(&'a str),
    /// The set is new, and every token is spent.
    WaitForToken,
    /// The set is known, and was confirmed a moment ago.
    Nothing,
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Push(_) => "push",
            Self::WaitForToken => "wait for a token",
            Self::Nothing => "nothing",
        })
    }
}

impl Plan {
    /// What the file of tokens says now.
    pub(super) fn see(&mut self, token: String) {
        if self.newest.as_ref().is_some_and(|newest| *newest.expose() == token) {
            return;
        }
        let replaced = self.newest.replace(Secret::new("push token", token));
        if !std::mem::take(&mut self.newest_is_spent) {
            self.before = replaced;
        }
    }

    /// What to do about a set. Tokens that are not spent are used in the order in which they were issued.
    pub(super) fn next(&self, set: &str, now: Timestamp) -> Next<'_> {
        let newest = self.newest.as_ref().filter(|_| !self.newest_is_spent);
        let is_known = self.taken.as_ref().is_some_and(|(taken, _)| taken == set);
        let is_recent = self.taken.as_ref().is_some_and(|(_, at)| now.since(*at) < CONFIRM);
        match (&self.before, newest) {
            // It ends soon: a set that is known is confirmed by it.
            (Some(before), _) => Next::Push(before.expose()),
            (None, _) if is_known && is_recent => Next::Nothing,
            (None, Some(newest)) => Next::Push(newest.expose()),
            (None, None) if is_known => Next::Nothing,
            (None, None) => Next::WaitForToken,
        }
    }

    /// The token of the last [`next`](Self::next) is used up.
    pub(super) fn spent(&mut self) {
        match self.before.take() {
            Some(_) => {}
            None => self.newest_is_spent = true,
        }
    }

    /// The set was taken.
    pub(super) fn taken(&mut self, set: String, now: Timestamp) {
        self.taken = Some((set, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// Pushes as long as there is something to push, all of it taken; says by which tokens.
    fn pushed(plan: &mut Plan, set: &str, now: i64) -> Vec<String> {
        let mut by = Vec::new();
        while let Next::Push(token) = plan.next(set, at(now)) {
            by.push(token.to_owned());
            plan.spent();
            plan.taken(set.to_owned(), at(now));
        }
        by
    }

    #[test]
    fn a_token_is_spent_once_and_the_last_one_is_kept_for_a_new_set() {
        let mut plan = Plan::default();
        assert_eq!(plan.next("one", at(0)), Next::WaitForToken, "there is no token yet");
        plan.see("a".to_owned());
        assert_eq!(pushed(&mut plan, "one", 0), ["a"]);
        plan.see("a".to_owned());
        assert_eq!(plan.next("two", at(10)), Next::WaitForToken, "a token pushes once");
        plan.see("b".to_owned());
        assert_eq!(pushed(&mut plan, "one", 20), [""; 0], "b is kept");
        plan.see("c".to_owned());
        assert_eq!(pushed(&mut plan, "one", 30), ["b"], "what was replaced confirms");
        assert_eq!(pushed(&mut plan, "two", 40), ["c"], "the new set is pushed at once");
        assert_eq!(pushed(&mut plan, "two", 50), [""; 0]);
    }

    #[test]
    fn an_earlier_token_goes_first() {
        let mut plan = Plan::default();
        plan.see("a".to_owned());
        plan.see("b".to_owned());
        let Next::Push(token) = plan.next("two", at(0)) else { panic!() };
        assert_eq!(format!("{:?}", Next::Push(token)), "push");
        assert_eq!(token, "a", "signed earlier: the key before the rotation verifies it");
        // It is refused: the next one has its turn with the same set.
        plan.spent();
        assert_eq!(pushed(&mut plan, "two", 0), ["b"]);
    }

    #[test]
    fn without_a_push_for_an_hour_the_last_token_is_spent() {
        let mut plan = Plan::default();
        plan.see("a".to_owned());
        assert_eq!(pushed(&mut plan, "one", 0), ["a"]);
        plan.see("b".to_owned());
        assert_eq!(pushed(&mut plan, "one", 3599), [""; 0]);
        assert_eq!(pushed(&mut plan, "one", 3600), ["b"]);
        assert_eq!(plan.next("one", at(90_000)), Next::Nothing, "there is nothing to spend, and nothing new to say");
    }
}
