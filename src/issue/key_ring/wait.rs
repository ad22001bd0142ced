//! Keys that are published and wait: what is seen of those who verify, and dates that move later.
//!
//! Never makes a key sign earlier than its file says, and never postpones one without which nobody would sign.

use std::sync::{Arc, PoisonError};

use serde_json::Map;

use super::change::dated;
use super::{KeyRing, KeyRingFault, RingKey};
use crate::clock::Timestamp;
use crate::credential::CompactJws;
use crate::identity::KeyId;
use crate::issue::plan::{self, Dated};
use crate::issue::schedule::KeyState;
use crate::issue::wait::{Canary, Cause, Wait};
use crate::jose::{Candidates, Header, KeySet, UnverifiedClaims, open};

/// Most tags of one request that are looked at.
const MOST_TAGS: usize = 8;

/// A key that signs later than planned, or should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postponed {
    /// The key and what it waits for.
    pub wait: Wait,
    /// When it should sign.
    pub until: Timestamp,
    /// For whose sake.
    pub cause: Cause,
    /// Whether its file says so now. `false` where somebody else writes the files, and where no other key signs.
    pub moved: bool,
}

impl RingKey {
    /// Whether a verifier with that key set takes a signature of this key. Nothing that is signed here leaves the process.
    pub fn is_verified_by(&self, keys: &KeySet) -> bool {
        let Ok(sealed) = self.key.seal("canary+jwt", &Map::new()) else { return false };
        let Ok(jws) = CompactJws::parse(sealed.into_text().expose().clone()) else { return false };
        let (Ok(header), Some(claims)) = (Header::read(&jws), UnverifiedClaims::read(&jws).ok()) else { return false };
        let Candidates::Try(found) = keys.candidates(&header) else { return false };
        found.first().is_some_and(|key| open(&jws, &header, claims, key).is_ok())
    }
}

impl KeyRing {
    /// A conditional request for the key set: if it names a set that we published before, its sender kept that until now.
    pub fn asked(&self, if_none_match: &str, at: Timestamp) {
        let published = self.published_for(at);
        for tag in if_none_match.split(',').take(MOST_TAGS) {
            let tag = tag.trim().trim_start_matches("W/");
            if let Some((_, replaced)) = published.former.iter().find(|(former, _)| former == tag) {
                self.verifiers.saw(*replaced, at);
            }
        }
    }

    /// The published keys that do not sign yet, and what they wait for.
    pub fn waits(&self, at: Timestamp) -> Vec<Wait> {
        let ring = self.ring.load();
        let dated = dated(&ring.keys);
        dated.iter().filter_map(|key| self.wait_of(key, at)).collect()
    }

    /// The published keys that do not sign yet and whose canary has not passed.
    pub fn untried(&self, at: Timestamp) -> Vec<Arc<RingKey>> {
        let ring = self.ring.load();
        let published = ring.keys.iter().filter(|key| key.schedule.state(at) == KeyState::Published);
        published.filter(|key| self.canary_of(key.key.key_id()) != Canary::Passed).cloned().collect()
    }

    /// What became of the trial of a key. What has passed stays passed.
    pub fn tried(&self, key_id: &KeyId, outcome: Result<(), String>) {
        let ring = self.ring.load();
        let mut canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        canaries.retain(|known, _| ring.keys.iter().any(|key| key.key.key_id() == known));
        let canary = canaries.entry(key_id.clone()).or_insert(Canary::Waiting);
        if *canary != Canary::Passed {
            *canary = outcome.map_or_else(Canary::Failed, |()| Canary::Passed);
        }
    }

    /// Moves the activation of keys later in their files where verifiers or the canary ask for that, and lets the key that signs
    /// last until then. With `files` it only says so. Blocks as [`KeyRing::open`] does, and on nothing as long as nothing moves.
    ///
    /// # Errors
    /// As [`KeyRing::open`]; the dates stay as they were.
    pub fn wait_for_verifiers(&self, at: Timestamp) -> Result<Vec<Postponed>, KeyRingFault> {
        let wanted: Vec<Postponed> = self
            .waits(at)
            .into_iter()
            .filter_map(|wait| {
                let (until, cause) = wait.later(at)?;
                Some(Postponed { wait, until, cause, moved: false })
            })
            .collect();
        if wanted.is_empty() || self.rotate.is_none() {
            return Ok(wanted);
        }
        let until = |key: &Dated, at| Some(self.wait_of(key, at)?.later(at)?.0);
        let out_of_use = self.out_of_use.load_full();
        self.change(&mut self.writer(), at, |keys, at| Ok(plan::wait(keys, &out_of_use, |key| until(key, at), at)))?;
        let dates = dated(&self.ring.load().keys);
        let moved = |wait: &Wait| {
            let now = dates.iter().find(|key| key.key_id.as_ref() == Some(&wait.key_id));
            now.is_some_and(|now| now.schedule.activate() > wait.schedule.activate())
        };
        Ok(wanted.into_iter().map(|postponed| Postponed { moved: moved(&postponed.wait), ..postponed }).collect())
    }

    pub(super) fn wait_of(&self, key: &Dated, at: Timestamp) -> Option<Wait> {
        let key_id = key.key_id.clone().filter(|_| key.schedule.state(at) == KeyState::Published)?;
        let canary = self.canary_of(&key_id);
        let slowest = self.verifiers.slowest(at);
        let ours = self.rotate.is_some();
        Some(Wait { key_id, algorithm: key.algorithm, schedule: key.schedule, ours, slowest, canary })
    }

    fn canary_of(&self, key_id: &KeyId) -> Canary {
        let canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        canaries.get(key_id).cloned().unwrap_or(Canary::Waiting)
    }
}
