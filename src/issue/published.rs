//! The key set that verifiers read, as text.
//!
//! The same bytes in every process that has the same keys; holds public members alone (JWK-02).

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64ct::{Base64UrlUnpadded, Encoding};

use crate::clock::{Lifetime, Timestamp};
use crate::issue::RingKey;
use crate::issue::wait::LONGEST_WAIT;
use crate::jose::{KeyPurpose, KeySet, PublicJwk};

/// So many sets before the present one are known again by their tags, however old they are.
const LEAST_FORMER: usize = 8;
/// And so many at most of those that were replaced within [`LONGEST_WAIT`]: with `rotate: 1h` a set lasts minutes.
const MOST_FORMER: usize = 64;

/// A JWK Set document (RFC 7517 §5) and its name for caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKeys {
    /// The JSON text: keys in order of their ids, members in order of their names.
    pub document: String,
    /// A strong entity tag with its quotes (RFC 9110 §8.8.3): other bytes, other tag.
    pub etag: String,
}

impl PublishedKeys {
    fn of<'a>(keys: impl Iterator<Item = &'a str>) -> Self {
        let keys: Vec<&str> = keys.collect();
        let document = format!("{{\"keys\":[{}]}}", keys.join(","));
        let hash = digest::digest(&digest::SHA256, document.as_bytes());
        let etag = format!("\"{}\"", Base64UrlUnpadded::encode_string(hash.as_ref()));
        Self { document, etag }
    }
}

/// The JSON text of one key: members in order of their names.
fn text(key: &PublicJwk) -> Option<String> {
    serde_json::to_string(&key.iter().collect::<BTreeMap<_, _>>()).ok()
}

/// A key set and the time in which no key enters or leaves it.
#[derive(Debug)]
pub(super) struct PublishedFor {
    from: Timestamp,
    until: Timestamp,
    pub(super) keys: Arc<PublishedKeys>,
    /// The same keys, ready to verify.
    pub(super) verification: Arc<KeySet>,
    /// The tags of the sets before it, and when each was replaced: the last ones first.
    pub(super) former: Vec<(String, Timestamp)>,
}

impl PublishedFor {
    /// The set at `at`. `keys` stand in order of their ids.
    pub(super) fn at(keys: &[Arc<RingKey>], at: Timestamp) -> Self {
        let texts: Vec<_> =
            keys.iter().filter_map(|key| Some((key.schedule(), text(key.signing_key().public_jwk())?))).collect();
        let set = |at: Timestamp| {
            let published = texts.iter().filter(|(schedule, _)| schedule.state(at).is_published());
            PublishedKeys::of(published.map(|(_, text)| text.as_str()))
        };
        let document = set(at);
        // What others verify by is what we verify by.
        let verification = KeySet::parse(document.document.as_bytes(), KeyPurpose::JwkSet).unwrap_or_default();
        let changes = || keys.iter().flat_map(|key| [key.schedule().publish(), key.schedule().gone()]);
        let mut past: Vec<Timestamp> = changes().filter(|change| *change <= at).collect();
        past.sort_by_key(|change| std::cmp::Reverse(*change));
        past.dedup();
        let before = |change: Timestamp| (set(change.minus(Lifetime::from_millis(1))).etag, change);
        let recent = |(index, change): &(usize, Timestamp)| *index < LEAST_FORMER || *change > at.minus(LONGEST_WAIT);
        let known = past.into_iter().enumerate().take_while(recent).take(MOST_FORMER).map(|(_, change)| change);
        let former = known.map(before).filter(|(etag, _)| *etag != document.etag).collect();
        Self {
            former,
            from: changes().filter(|change| *change <= at).max().unwrap_or(Timestamp::from_millis(i64::MIN)),
            until: changes().filter(|change| *change > at).min().unwrap_or(Timestamp::from_millis(i64::MAX)),
            keys: Arc::new(document),
            verification: Arc::new(verification),
        }
    }

    pub(super) fn covers(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}
