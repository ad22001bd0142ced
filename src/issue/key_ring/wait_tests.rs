//! Keys that wait for those who verify, and never for those who only pretend to.

use super::*;
use crate::clock::ManualClock;
use crate::issue::temp_dir::TempDir;
use crate::issue::{Cause, LONGEST_WAIT, SHORTEST_ROTATION};
use crate::jose::KeyPurpose;

const ES: Algorithm = Algorithm::ES256;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_790_000_000 + seconds)
}

fn ring(temp: &TempDir) -> Arc<KeyRing> {
    let settings = SigningSettings::Directory { path: temp.path().to_owned(), rotate: SHORTEST_ROTATION };
    KeyRing::open(&settings, &BTreeSet::from([ES]), Arc::new(ManualClock::starting_at(at(0)))).unwrap()
}

fn pass(ring: &KeyRing, now: Timestamp) {
    for key in ring.untried(now) {
        let set = KeySet::parse(ring.published(now).document.as_bytes(), KeyPurpose::JwkSet).unwrap();
        assert!(key.is_verified_by(&set) && !key.is_verified_by(&KeySet::default()));
        ring.tried(key.signing_key().key_id(), Ok(()));
    }
}

fn planned(ring: &KeyRing, now: Timestamp) -> Timestamp {
    ring.waits(now).first().unwrap().schedule.activate()
}

#[test]
fn jwk_17_a_slow_verifier_makes_a_key_wait_in_every_process() {
    let temp = TempDir::new();
    let (one, other) = (ring(&temp), ring(&temp));
    let old = one.published(at(0)).etag.clone();
    one.rotate(ES, at(0)).unwrap();
    pass(&one, at(15));
    one.asked(&format!("\"unknown\", W/{}", one.published(at(100)).etag), at(500));
    assert_eq!(one.wait_for_verifiers(at(500)).unwrap(), [], "the present set and unknown ones tell nothing");
    assert_eq!(planned(&one, at(500)), at(615));
    one.asked(&format!("\"unknown\", W/{old}"), at(15 + 540));
    let postponed = one.wait_for_verifiers(at(555)).unwrap();
    assert!(postponed[0].moved && postponed[0].cause == Cause::SlowVerifier, "{postponed:?}");
    assert_eq!(planned(&one, at(555)), at(15 + 1080));
    other.reread(at(556)).unwrap();
    assert_eq!(planned(&other, at(556)), at(15 + 1080));
    assert_eq!(one.wait_for_verifiers(at(560)).unwrap(), [], "asked twice, it is the same plan");
    let new = one.waits(at(560))[0].key_id.clone();
    assert_ne!(one.active(ES, at(1094)).unwrap().signing_key().key_id(), &new);
    assert_eq!(one.active(ES, at(1095)).unwrap().signing_key().key_id(), &new);
}

#[test]
fn jwk_17_nobody_who_pretends_to_be_slow_stops_a_rotation() {
    let temp = TempDir::new();
    let ring = ring(&temp);
    let old = ring.published(at(0)).etag.clone();
    let first = ring.active(ES, at(0)).unwrap().signing_key().key_id().clone();
    ring.rotate(ES, at(0)).unwrap();
    let (mut now, mut last) = (at(15), at(615));
    while ring.active(ES, now).unwrap().signing_key().key_id() == &first {
        ring.asked(&old, now);
        // Its canary never passes either.
        ring.wait_for_verifiers(now).unwrap();
        if let Some(wait) = ring.waits(now).first() {
            assert!(wait.schedule.activate() >= last, "never earlier");
            last = wait.schedule.activate();
        }
        now = now.plus(Lifetime::from_seconds(30));
    }
    assert_eq!(last, at(615).plus(LONGEST_WAIT));
    assert!(now.since(last) <= Lifetime::from_seconds(30));
}

#[test]
fn without_a_key_that_signs_nobody_is_waited_for() {
    let temp = TempDir::new();
    let ring = ring(&temp);
    let first = ring.active(ES, at(0)).unwrap().signing_key().key_id().clone();
    ring.revoke(&first, at(0)).unwrap();
    let waiting = planned(&ring, at(20));
    let postponed = ring.wait_for_verifiers(waiting.minus(Lifetime::from_seconds(30))).unwrap();
    assert!(!postponed[0].moved && postponed[0].cause == Cause::Canary);
    assert!(ring.active(ES, waiting).is_some());
}

#[test]
fn a_key_that_is_out_of_use_makes_nobody_wait() {
    let temp = TempDir::new();
    let ring = ring(&temp);
    let first = ring.active(ES, at(0)).unwrap().signing_key().key_id().clone();
    ring.rotate(ES, at(0)).unwrap();
    ring.take_out_of_use(&first);
    assert!(ring.active(ES, at(600)).is_none());
    let postponed = ring.wait_for_verifiers(at(600)).unwrap();
    assert!(!postponed[0].moved && postponed[0].cause == Cause::Canary, "{postponed:?}");
    assert!(ring.active(ES, at(615)).is_some());
}

#[test]
fn jwk_17_verifiers_of_short_rotations_are_known_for_as_long_as_they_are_waited_for() {
    let temp = TempDir::new();
    let ring = ring(&temp);
    let old = ring.published(at(0)).etag.clone();
    let mut now = at(0);
    while now < at(5 * 3600) {
        ring.rotate_if_due(now).unwrap();
        pass(&ring, now);
        now = now.plus(Lifetime::from_seconds(60));
    }
    ring.asked(&old, now);
    let first_change = at(2700 + 15);
    let seen = ring.waits(now).first().map_or_else(|| ring.verifiers.slowest(now), |wait| wait.slowest);
    let kept = now.since(first_change).seconds();
    assert!((kept..kept + 120).contains(&seen.unwrap().seconds()), "{seen:?} of {kept} s");
}

#[test]
fn mounted_files_are_not_moved() {
    let temp = TempDir::new();
    let writer = ring(&temp);
    writer.rotate(ES, at(0)).unwrap();
    let settings = SigningSettings::Files { path: temp.path().to_owned() };
    let reader = KeyRing::open(&settings, &BTreeSet::from([ES]), Arc::new(ManualClock::starting_at(at(1)))).unwrap();
    let postponed = reader.wait_for_verifiers(at(600)).unwrap();
    assert!(!postponed[0].moved && postponed[0].cause == Cause::Canary, "{postponed:?}");
    assert_eq!(planned(&reader, at(600)), at(615));
}

#[test]
fn jwk_17_200_rotations_and_slow_verifiers_know_every_key_that_signs() {
    const STEP: u32 = 30;
    const PERIOD: i64 = 20 * 60;
    let temp = TempDir::new();
    let ring = ring(&temp);
    // Eight verifiers that read the key set every twenty minutes, four times as seldom as allowed.
    let mut copies: Vec<(Arc<PublishedKeys>, KeySet)> = (0..8).map(|_| copy(&ring, at(0))).collect();
    let mut signer = ring.active(ES, at(0)).unwrap().signing_key().key_id().clone();
    let (mut now, mut rotations, mut late) = (at(0), 0, 0);
    while rotations < 200 {
        ring.rotate_if_due(now).unwrap();
        for (index, known) in copies.iter_mut().enumerate() {
            if (now.since(at(0)).seconds() + index as i64 * PERIOD / 8) % PERIOD == 0 {
                ring.asked(&known.0.etag, now);
                *known = copy(&ring, now);
            }
        }
        pass(&ring, now);
        late += ring.wait_for_verifiers(now).unwrap().len();
        let key = ring.active(ES, now).unwrap();
        let key_id = key.signing_key().key_id();
        if *key_id != signer {
            (signer, rotations) = (key_id.clone(), rotations + 1);
            assert!(copies.iter().all(|(_, keys)| key.is_verified_by(keys)), "at {now:?}");
        }
        assert!(copies.iter().all(|(_, keys)| keys.knows(key_id)), "at {now:?}");
        now = now.plus(Lifetime::from_seconds(STEP));
    }
    assert!(late > 0, "they were waited for");
}

fn copy(ring: &KeyRing, now: Timestamp) -> (Arc<PublishedKeys>, KeySet) {
    let keys = ring.published(now);
    let set = KeySet::parse(keys.document.as_bytes(), KeyPurpose::JwkSet).unwrap();
    (keys, set)
}
