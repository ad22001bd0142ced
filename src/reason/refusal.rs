//! A refusal: the reason, what the caller may hear, and what the operator should know.
//!
//! Never carries token material, and no family says more to the caller than it may.

use super::{About, Denied, Malformed, Misshapen, Reason, Unaccepted, Unavailable, Unverified};
use crate::clock::Lifetime;

/// The one sentence for everything that was not verified.
const GENERIC: &str = "The credential could not be verified; if it is brand new, retry once.";
/// The one sentence for a source whose keys cannot be used now.
const KEYS: &str = "Temporarily unable to check credentials of this platform. Not your fault; retry.";
/// The one sentence for a cluster that cannot say now whether a workload lives. Who hears it may be that workload, or ask about a
/// token of another's.
const LIVENESS: &str = "Temporarily unable to ask a cluster whether a workload still lives. Not your fault; retry.";

/// Characters of one text of a refusal: what came in may be long, what is told of it and recorded is not.
const LONGEST_TEXT: usize = 1024;

/// What a verified caller may know of itself.
const TOO_MANY: &str = "Too many requests of this identity. Come back after the time in Retry-After.";

/// The one sentence for everything else that passes.
const BUSY: &str = "Temporarily unavailable. Retry.";

/// A refusal: the reason, the sentence the caller may hear, and the note for the operator.
///
/// Made only by the constructors below, one for each family, so that a family cannot say more than it may.
#[derive(Clone, Debug)]
pub struct Refusal(Box<Told>);

#[derive(Clone, Debug)]
struct Told {
    reason: Reason,
    about: About,
    to_caller: String,
    to_operator: String,
    retry_after: Option<Lifetime>,
    comparison: Option<Comparison>,
    remedy: Option<String>,
    nonce: Option<String>,
}

/// What was found and what would have been right, side by side. For the operator; text from outside is quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// What was found.
    pub got: String,
    /// What would have been right.
    pub want: String,
}

impl Refusal {
    /// The request is wrong; `sentence` says how, from its shape alone.
    pub fn malformed(reason: Malformed, sentence: impl Into<String>) -> Self {
        Self::new(Reason::Malformed(reason), sentence, String::new(), None)
    }

    /// No credential could be read; `sentence` may say what the shape shows, `note` is the operator's.
    pub fn misshapen(reason: Misshapen, sentence: impl Into<String>, note: impl Into<String>) -> Self {
        Self::new(Reason::Misshapen(reason), sentence, note, None)
    }

    /// Not verified: the caller hears the generic sentence, the operator the note.
    pub fn unverified(reason: Unverified, note: impl Into<String>) -> Self {
        Self::new(Reason::Unverified(reason), GENERIC, note, None)
    }

    /// Verified and not accepted: `sentence` may name the caller's own claims and public facts.
    pub fn unaccepted(reason: Unaccepted, sentence: impl Into<String>, note: impl Into<String>) -> Self {
        Self::new(Reason::Unaccepted(reason), sentence, note, None)
    }

    /// Verified and not allowed: `sentence` never names other subjects or a rule's text.
    pub fn denied(reason: Denied, sentence: impl Into<String>, note: impl Into<String>) -> Self {
        Self::new(Reason::Denied(reason), sentence, note, None)
    }

    /// Ours or a dependency's; the caller is told when to come back, and that it is not its fault.
    pub fn unavailable(reason: Unavailable, note: impl Into<String>, retry_after: Lifetime) -> Self {
        let sentence = match reason {
            Unavailable::KeysUnreachable | Unavailable::KeysStale | Unavailable::KeysRefreshing => KEYS,
            Unavailable::LivenessUnavailable => LIVENESS,
            Unavailable::RateLimited => TOO_MANY,
            Unavailable::StoreUnavailable | Unavailable::AuditUnavailable | Unavailable::Overloaded => BUSY,
        };
        Self::new(Reason::Unavailable(reason), sentence, note, Some(retry_after))
    }

    /// A fault of ours; the caller hears a fixed text.
    pub fn internal(note: impl Into<String>) -> Self {
        Self::new(Reason::Internal, "A fault of ours. It has been recorded.", note, None)
    }

    fn new(
        reason: Reason,
        to_caller: impl Into<String>,
        to_operator: impl Into<String>,
        retry_after: Option<Lifetime>,
    ) -> Self {
        let (to_caller, to_operator) = (cut(to_caller.into()), cut(to_operator.into()));
        Self(Box::new(Told {
            reason,
            about: About::Caller,
            to_caller,
            to_operator,
            retry_after,
            comparison: None,
            remedy: None,
            nonce: None,
        }))
    }

    /// Says which token of the request it is about.
    #[must_use]
    pub fn about(mut self, about: About) -> Self {
        self.0.about = about;
        self
    }

    /// Which token of the request it is about.
    pub const fn is_about(&self) -> About {
        self.0.about
    }

    /// Adds what was found and what would have been right, for the operator.
    #[must_use]
    pub fn comparing(mut self, got: impl Into<String>, want: impl Into<String>) -> Self {
        self.0.comparison = Some(Comparison { got: cut(got.into()), want: cut(want.into()) });
        self
    }

    /// Adds the smallest change that would let it pass, for the operator.
    #[must_use]
    pub fn mended_by(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(cut(remedy.into()));
        self
    }

    /// Adds the nonce that the next proof must repeat (RFC 9449 §8).
    #[must_use]
    pub fn with_nonce(mut self, nonce: String) -> Self {
        self.0.nonce = Some(nonce);
        self
    }

    /// The nonce that the next proof must repeat.
    pub fn nonce(&self) -> Option<&str> {
        self.0.nonce.as_deref()
    }

    /// Why.
    pub const fn reason(&self) -> Reason {
        self.0.reason
    }

    /// What the caller may hear.
    pub fn to_caller(&self) -> &str {
        &self.0.to_caller
    }

    /// What the operator should know besides; empty when the sentence says it all.
    pub fn to_operator(&self) -> &str {
        &self.0.to_operator
    }

    /// What was found and what would have been right, where there is such a pair.
    pub const fn comparison(&self) -> Option<&Comparison> {
        self.0.comparison.as_ref()
    }

    /// The smallest change that would let it pass, where one is known.
    pub fn remedy(&self) -> Option<&str> {
        self.0.remedy.as_deref()
    }

    /// When coming back may help.
    pub const fn retry_after(&self) -> Option<Lifetime> {
        self.0.retry_after
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(end);
        text.push('…');
    }
    text
}
