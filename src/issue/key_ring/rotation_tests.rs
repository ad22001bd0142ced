//! What rotation promises to verifiers with old copies of the key set, and to several processes on one folder.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::Map;

use super::*;
use crate::clock::ManualClock;
use crate::credential::CompactJws;
use crate::issue::temp_dir::TempDir;
use crate::issue::{JWKS_MAX_AGE, LONGEST_TOKEN_LIFE, NewKey, PUBLISHED_BEFORE_USE, SHORTEST_ROTATION};
use crate::jose::{Candidates, Header, KeyPurpose, KeySet, UnverifiedClaims, open as open_jws};

const ES: Algorithm = Algorithm::ES256;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_790_000_000 + seconds)
}

fn ring_at(temp: &TempDir, now: Timestamp) -> Arc<KeyRing> {
    let settings = SigningSettings::Directory { path: temp.path().to_owned(), rotate: SHORTEST_ROTATION };
    KeyRing::open(&settings, &BTreeSet::from([ES]), Arc::new(ManualClock::starting_at(now))).unwrap()
}

fn mounted(path: &Path, needed: &[Algorithm], now: Timestamp) -> Result<Arc<KeyRing>, KeyRingFault> {
    let settings = SigningSettings::Files { path: path.to_owned() };
    KeyRing::open(&settings, &needed.iter().copied().collect(), Arc::new(ManualClock::starting_at(now)))
}

fn active_id(ring: &KeyRing, now: Timestamp) -> KeyId {
    ring.active(ES, now).unwrap().signing_key().key_id().clone()
}

/// A key set as a verifier keeps it.
struct Copy {
    keys: Arc<PublishedKeys>,
    ids: Arc<BTreeSet<KeyId>>,
}

fn fetch(ring: &KeyRing, now: Timestamp, last: Option<&Copy>) -> Copy {
    let keys = ring.published(now);
    let same = last.filter(|last| last.keys.etag == keys.etag);
    let ids = same.map(|last| last.ids.clone()).unwrap_or_else(|| {
        let set = KeySet::parse(keys.document.as_bytes(), KeyPurpose::JwkSet).unwrap();
        let states = ring.states(now);
        Arc::new(states.into_iter().map(|key| key.key_id).filter(|key_id| set.knows(key_id)).collect())
    });
    Copy { keys, ids }
}

/// Whether a verifier with that copy takes a token of that key.
fn takes(copy: &Copy, key: &RingKey) -> bool {
    let sealed = key.signing_key().seal("at+jwt", &Map::new()).unwrap();
    let jws = CompactJws::parse(sealed.into_text().expose().clone()).unwrap();
    let header = Header::read(&jws).unwrap();
    let set = KeySet::parse(copy.keys.document.as_bytes(), KeyPurpose::JwkSet).unwrap();
    let Candidates::Try(keys) = set.candidates(&header) else { return false };
    let claims = UnverifiedClaims::read(&jws).unwrap();
    open_jws(&jws, &header, claims, &keys[0]).is_ok()
}

#[test]
fn jwk_17_and_md_16_200_rotations_and_no_valid_token_is_refused() {
    const STEP: i64 = 60;
    let temp = TempDir::new();
    let rings = [ring_at(&temp, at(0)), ring_at(&temp, at(0))];
    // Copies of the key set of every age up to the longest that is allowed, the freshest first.
    let mut copies: VecDeque<Copy> = VecDeque::new();
    let ages = JWKS_MAX_AGE.seconds() / STEP + 1;
    // The end of the last token of each key.
    let mut tokens: Vec<(KeyId, Timestamp)> = Vec::new();
    let mut signer = active_id(&rings[0], at(0));
    let (mut rotations, mut checked, mut opened, mut now) = (0, 0_u64, 0, at(0));
    while rotations < 200 {
        // They take turns: for ten rotations one does the work, and the other only reads; a third of that time not even that.
        let turn = rotations / 10 % 2;
        let (worker, idler) = (&rings[turn], &rings[1 - turn]);
        let asleep = rotations % 10 < 3;
        let before = worker.ring.load_full();
        worker.rotate_if_due(now).unwrap();
        let made = !Arc::ptr_eq(&before, &worker.ring.load_full());
        if !asleep && (made || worker.ring.load().keys.len() != idler.ring.load().keys.len()) {
            idler.reread(now).unwrap();
        }
        if !asleep {
            assert_eq!(worker.published(now), idler.published(now), "the same set at every moment");
            assert_eq!(active_id(worker, now), active_id(idler, now));
        }
        let key = worker.active(ES, now).unwrap();
        let key_id = key.signing_key().key_id().clone();
        if key_id != signer {
            (signer, rotations) = (key_id.clone(), rotations + 1);
        }
        // The longest token that there is, not cut short.
        let end = now.plus(LONGEST_TOKEN_LIFE).min(key.retires_at());
        assert_eq!(end, now.plus(LONGEST_TOKEN_LIFE), "AT-12");
        match tokens.iter_mut().find(|(known, _)| *known == key_id) {
            Some((_, last)) => *last = end,
            None => tokens.push((key_id, end)),
        }
        tokens.retain(|(_, end)| *end > now);
        let reader = if asleep || rotations % 2 == 0 { worker } else { idler };
        copies.push_front(fetch(reader, now, copies.front()));
        copies.truncate(ages as usize);
        for (age, copy) in copies.iter().enumerate() {
            for (key_id, _) in &tokens {
                assert!(copy.ids.contains(key_id), "JWK-17: copy of {age} minutes at {now:?} lacks {key_id}");
                checked += 1;
            }
        }
        // Now and then, and whenever a key is new, with real signatures.
        if made || now.seconds() % (97 * STEP) == 0 || key.signatures() == 0 {
            assert!(copies.iter().all(|copy| takes(copy, &key)), "JWK-17: at {now:?}");
            key.counts();
            opened += copies.len();
        }
        now = now.plus(Lifetime::from_seconds(STEP as u32));
    }
    assert!(checked > 1_000_000 && opened > 2000, "{checked} {opened}");
    assert_eq!(now.since(at(0)).seconds() / 3600, 200, "each on its hour");
}

#[test]
fn two_processes_publish_a_new_key_from_the_same_moment_on() {
    let temp = TempDir::new();
    let (one, other) = (ring_at(&temp, at(0)), ring_at(&temp, at(0)));
    let (mut sets, mut signers) = (BTreeSet::new(), BTreeSet::new());
    for second in 0..3 * 3600 {
        let now = at(second);
        // Every five seconds, as `watch` does it, one at the start of the five and one at their end.
        if second % 5 == 0 && second % 20 < 10 {
            one.look_after(now).unwrap();
        }
        if second % 5 == 4 {
            other.look_after(now).unwrap();
        }
        assert_eq!(one.published(now), other.published(now), "{second}");
        assert_eq!(active_id(&one, now), active_id(&other, now), "{second}");
        sets.insert(one.published(now).etag.clone());
        signers.insert(active_id(&one, now));
    }
    assert_eq!((sets.len(), signers.len()), (4, 3));
}

#[test]
fn of_many_that_find_a_rotation_due_one_makes_the_key() {
    let temp = TempDir::new();
    let rings: Vec<_> = (0..4).map(|_| ring_at(&temp, at(0))).collect();
    for turn in 1..6 {
        let now = at(turn * 3600);
        let barrier = std::sync::Barrier::new(rings.len());
        std::thread::scope(|scope| {
            for ring in &rings {
                scope.spawn(|| {
                    barrier.wait();
                    ring.rotate_if_due(now).unwrap();
                });
            }
        });
        assert_eq!(temp.key_files().len() as i64, turn + 1);
        let states: Vec<_> = rings.iter().map(|ring| ring.states(now)).collect();
        assert!(states.iter().all(|other| *other == states[0]), "{states:#?}");
    }
}

#[test]
fn a_process_that_slept_past_the_turn_publishes_first() {
    let temp = TempDir::new();
    let (one, other) = (ring_at(&temp, at(0)), ring_at(&temp, at(0)));
    let first = active_id(&one, at(0));
    let woken = at(90_000);
    one.look_after(woken).unwrap();
    other.look_after(woken.plus(Lifetime::from_seconds(1))).unwrap();
    assert_eq!(temp.key_files().len(), 2, "one key for all missed turns");
    let signs = woken.plus(SEEN_BY_ALL).plus(PUBLISHED_BEFORE_USE);
    for ring in [&one, &other] {
        assert_eq!(active_id(ring, signs.minus(Lifetime::from_millis(1))), first);
        assert_ne!(active_id(ring, signs), first);
        assert_eq!(ring.next_made(ES, woken), None);
    }
    assert_eq!(one.next_made(ES, signs), Some(signs.plus(Lifetime::from_minutes(45))));
}

#[test]
fn a_folder_that_cannot_be_written_keeps_its_keys() {
    let temp = TempDir::new();
    let ring = ring_at(&temp, at(0));
    let first = active_id(&ring, at(0));
    // A folder stands where the lock was.
    fs::remove_file(temp.path().join(".lock")).unwrap();
    fs::create_dir(temp.path().join(".lock")).unwrap();
    assert!(ring.look_after(at(3600)).is_err());
    assert_eq!(active_id(&ring, at(100_000)), first, "it signs on");
    assert_eq!(temp.key_files().len(), 1);
    fs::remove_dir(temp.path().join(".lock")).unwrap();
    ring.look_after(at(100_000)).unwrap();
    assert_eq!(temp.key_files().len(), 2);
}

#[test]
fn mounted_files_are_only_read() {
    let temp = TempDir::new();
    let fault = mounted(temp.path(), &[ES], at(0)).unwrap_err().to_string();
    assert!(fault.contains("no ES256 key in") && fault.contains("`countersign keys new --algorithm ES256`"), "{fault}");
    assert!(mounted(&temp.path().join("absent"), &[ES], at(0)).is_err());
    // As the kubelet mounts a Secret: a link to a link to a dated folder, and all of it changes at once.
    let version = |name: &str, keys: &[&NewKey]| {
        fs::create_dir(temp.path().join(name)).unwrap();
        for key in keys {
            key.write(&temp.path().join(name).join(&key.name)).unwrap();
            let link = temp.path().join(&key.name);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(&key.name), link).unwrap();
            }
        }
        symlink(name, temp.path().join("..data_tmp")).unwrap();
        fs::rename(temp.path().join("..data_tmp"), temp.path().join("..data")).unwrap();
    };
    let first = NewKey::make(ES, Lifetime::ZERO, at(0)).unwrap();
    let second = NewKey::make(ES, Lifetime::from_minutes(15), at(1000)).unwrap();
    version("..2026_09_21_1", &[&first]);
    let (one, other) = (mounted(temp.path(), &[ES], at(0)).unwrap(), mounted(temp.path(), &[ES], at(0)).unwrap());
    assert_eq!(active_id(&one, at(0)), first.key_id);
    version("..2026_09_21_2", &[&first, &second]);
    for ring in [&one, &other] {
        ring.look_after(at(1000)).unwrap();
        assert_eq!(active_id(ring, at(1899)), first.key_id);
        assert_eq!(active_id(ring, at(1900)), second.key_id);
        assert_eq!(ring.next_made(ES, at(1000)), None);
    }
    assert_eq!(one.published(at(1000)), other.published(at(1000)));
    // A version with a file that is not there any more behind its link: the last good keys stay until the links follow.
    version("..2026_09_21_3", &[&second]);
    assert!(one.look_after(at(100_000)).is_err());
    assert_eq!(one.states(at(100_000)).len(), 2);
    fs::remove_file(temp.path().join(&first.name)).unwrap();
    one.look_after(at(100_000)).unwrap();
    assert_eq!(one.states(at(100_000)).len(), 1);
    // Nothing is written there, whatever is asked.
    let fault = one.need(&BTreeSet::from([ES, Algorithm::RS256]), at(0)).unwrap_err();
    assert!(matches!(fault, KeyRingFault::Missing { algorithm: Algorithm::RS256, .. }), "{fault}");
    let asked = [
        one.new_key(ES, at(0)),
        one.rotate(ES, at(0)),
        one.hold(ES, at(9000), at(0)),
        one.rollback(ES, at(0)),
        one.revoke(&second.key_id, at(0)),
    ];
    for answer in asked {
        let fault = answer.unwrap_err().to_string();
        assert!(fault.starts_with("somebody else writes the signing keys"), "{fault}");
    }
    one.look_after(at(400 * 86_400)).unwrap();
    let names: BTreeSet<_> = fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 5, "{names:?}");
}

#[test]
fn needed_algorithms_get_keys_and_turns_of_their_own() {
    let temp = TempDir::new();
    let ring = ring_at(&temp, at(0));
    ring.need(&BTreeSet::from([ES, Algorithm::ES384]), at(1000)).unwrap();
    for now in (1000..4 * 3600).step_by(60) {
        ring.rotate_if_due(at(now)).unwrap();
    }
    let count = |algorithm| ring.states(at(4 * 3600)).iter().filter(|key| key.algorithm == algorithm).count();
    assert_eq!((count(ES), count(Algorithm::ES384)), (5, 4));
    // Files that somebody took away come back as new keys, published first.
    for path in temp.key_files() {
        fs::remove_file(path).unwrap();
    }
    ring.look_after(at(20_000)).unwrap();
    assert_eq!(temp.key_files().len(), 2);
    assert!(ring.active(ES, at(20_614)).is_none() && ring.active(ES, at(20_615)).is_some());
}

#[tokio::test]
async fn the_watcher_rotates() {
    let temp = TempDir::new();
    let ring = ring_at(&temp, at(0));
    let first = active_id(&ring, at(0));
    let (clock, cancel) = (ManualClock::starting_at(at(0)), CancellationToken::new());
    let watcher = tokio::spawn(ring.clone().watch(Arc::new(clock.clone()), cancel.clone()));
    let mut attempts = 0;
    while active_id(&ring, clock.now()) == first {
        attempts += 1;
        assert!(attempts < 2000, "the watcher made no key in time");
        clock.advance(Lifetime::from_minutes(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(clock.now() >= at(3600));
    cancel.cancel();
    watcher.await.unwrap();
}
