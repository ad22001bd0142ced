//! The key that verifies a credential, among the sources that it may come from.
//!
//! Where several sources share an issuer, those that know the key id are tried, and only those (design §9.4).
//! The source whose key verifies is the authority; the token's text never is.

use std::sync::Arc;

use futures_util::future::join_all;

use super::Evidence;
use crate::clock::{Lifetime, Timestamp};
use crate::credential::CompactJws;
use crate::identity::{KeyId, SourceName};
use crate::jose::{Candidates, Header, UnverifiedClaims, VerificationKey, VerifiedClaims, open};
use crate::reason::{Refusal, Unavailable, Unverified, quoted};
use crate::trust::{KeysUnusable, LookAgain, TrustedSource};

/// A credential whose signature holds, and whose word that is.
pub(super) struct Opened {
    pub(super) source: Arc<TrustedSource>,
    pub(super) claims: VerifiedClaims,
}

/// What the sources have for a header, without waiting.
#[derive(Default)]
struct Search {
    tries: Vec<(Arc<TrustedSource>, Arc<VerificationKey>)>,
    unusable: Vec<(Arc<TrustedSource>, KeysUnusable)>,
    ambiguous: usize,
    other_algorithm: bool,
}

/// How long a caller waits whose platform cannot be asked now.
const RETRY: Lifetime = Lifetime::from_seconds(5);

/// Finds the key, waiting for one shared look at the sources if nobody knows the key id, and checks the signature.
pub(super) async fn open_with(
    sources: &[Arc<TrustedSource>],
    jws: &CompactJws,
    header: &Header,
    claims: UnverifiedClaims,
    at: Timestamp,
    evidence: &mut Evidence,
) -> Result<Opened, Refusal> {
    let mut search = search(sources, header, at);
    if search.tries.is_empty() && !search.other_algorithm && search.ambiguous == 0 {
        let looked = match &header.key_id {
            Some(key_id) => look_again(sources, key_id, at).await,
            None => Looked::default(),
        };
        if looked.found {
            search = self::search(sources, header, at);
        }
        if search.tries.is_empty() && !search.other_algorithm {
            return Err(refuse(&search, &looked, header));
        }
    }
    if search.ambiguous > 0 {
        let note = format!("no kid, and {} keys fit {}", search.ambiguous, header.algorithm);
        return Err(Refusal::unverified(Unverified::KeyAmbiguous, note));
    }
    if search.tries.is_empty() {
        let note = format!("key {} is not for {}, or the source does not take it", shown(header), header.algorithm);
        return Err(Refusal::unverified(Unverified::AlgorithmRefused, note));
    }
    let tried = search.tries.len();
    let mut unopened = claims;
    for (source, key) in std::mem::take(&mut search.tries) {
        match open(jws, header, unopened, &key) {
            Ok(claims) => {
                evidence.source = Some(source.settings.name.clone());
                evidence.key_id = key.key_id().cloned();
                evidence.key = Some(key.thumbprint().clone());
                evidence.algorithm = Some(header.algorithm);
                return Ok(Opened { source, claims });
            }
            Err((_invalid, claims)) => unopened = claims,
        }
    }
    // A source that shares the issuer and cannot be asked may have the key: that is not the caller's fault.
    if let Some(unusable) = unusable(&search) {
        return Err(unusable);
    }
    let note = format!("{tried} key(s) with kid {} do not verify the signature", shown(header));
    Err(Refusal::unverified(Unverified::SignatureInvalid, note))
}

fn search(sources: &[Arc<TrustedSource>], header: &Header, at: Timestamp) -> Search {
    let mut found = Search::default();
    let mut fitting_without_id = 0;
    for source in sources {
        let set = match source.keys_at(at) {
            Ok(now) => now.set,
            Err(unusable) => {
                found.unusable.push((Arc::clone(source), unusable));
                continue;
            }
        };
        match set.candidates(header) {
            // The algorithms are the source's decision, not the token's (BCJ-01).
            Candidates::Try(_) if !source.settings.algorithms.contains(&header.algorithm) => {
                found.other_algorithm = true
            }
            Candidates::Try(keys) => {
                fitting_without_id += keys.len();
                found.tries.extend(keys.into_iter().map(|key| (Arc::clone(source), key)));
            }
            Candidates::OtherAlgorithm => found.other_algorithm = true,
            Candidates::Ambiguous(count) => fitting_without_id += count,
            Candidates::Unknown => {}
        }
    }
    // Without a key id exactly one key of all sources may fit (JSV-04).
    if header.key_id.is_none() && fitting_without_id > 1 {
        found.ambiguous = fitting_without_id;
    }
    found
}

/// What came of asking the sources again.
#[derive(Default)]
struct Looked {
    found: bool,
    failed: Option<String>,
    refreshing: Option<Lifetime>,
}

async fn look_again(sources: &[Arc<TrustedSource>], key_id: &KeyId, at: Timestamp) -> Looked {
    let mut looked = Looked::default();
    for outcome in join_all(sources.iter().map(|source| source.look_again(key_id, at))).await {
        match outcome {
            LookAgain::Found => looked.found = true,
            LookAgain::Failed { why } => looked.failed = Some(why),
            LookAgain::Refreshing { retry_after } => {
                looked.refreshing = Some(looked.refreshing.map_or(retry_after, |other| other.min(retry_after)));
            }
            LookAgain::NotThere | LookAgain::CannotBeAsked => {}
        }
    }
    looked
}

/// Nobody has the key: ours to explain when a source could not be asked, the caller's otherwise.
fn refuse(search: &Search, looked: &Looked, header: &Header) -> Refusal {
    if let Some(unusable) = unusable(search) {
        return unusable;
    }
    if let Some(retry_after) = looked.refreshing {
        let note = format!("kid {} is unknown, and its sources may not be asked again yet", shown(header));
        return Refusal::unavailable(Unavailable::KeysRefreshing, note, retry_after);
    }
    if let Some(why) = &looked.failed {
        let note = format!("kid {} is unknown, and asking again failed: {why}", shown(header));
        return Refusal::unavailable(Unavailable::KeysUnreachable, note, RETRY);
    }
    Refusal::unverified(Unverified::KeyUnknown, format!("no key {} that fits {}", shown(header), header.algorithm))
}

fn unusable(search: &Search) -> Option<Refusal> {
    search.unusable.first().map(|(source, unusable)| refuse_unusable(&source.settings.name, unusable))
}

/// What is ours to explain when a source has no keys that may be used.
pub(super) fn refuse_unusable(name: &SourceName, unusable: &KeysUnusable) -> Refusal {
    match unusable {
        KeysUnusable::Stale { confirmed_at, why } => {
            let note = format!("keys of {name} were last confirmed at {confirmed_at:?}: {why}");
            Refusal::unavailable(Unavailable::KeysStale, note, RETRY)
        }
        KeysUnusable::Unreachable { why } => {
            let note = format!("keys of {name} have never been reached: {why}");
            Refusal::unavailable(Unavailable::KeysUnreachable, note, RETRY)
        }
    }
}

fn shown(header: &Header) -> String {
    header.key_id.as_ref().map_or_else(|| "(none)".to_owned(), |key_id| quoted(key_id.as_str()))
}
