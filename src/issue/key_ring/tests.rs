//! What the ring promises to signers, to verifiers, and to other processes on the same folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;

use super::*;
use crate::clock::ManualClock;
use crate::issue::temp_dir::TempDir;
use crate::issue::{DEFAULT_ROTATION, JWKS_MAX_AGE, KEPT_AFTER_RETIRE, LONGEST_TOKEN_LIFE, PUBLISHED_BEFORE_USE};

const START: i64 = 1_790_000_000;

/// Seconds after the start.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(START + seconds)
}

fn open_for(temp: &TempDir, needed: &[Algorithm], now: Timestamp) -> Result<Arc<KeyRing>, KeyRingFault> {
    let settings = SigningSettings::Directory { path: temp.path().to_owned(), rotate: DEFAULT_ROTATION };
    KeyRing::open(&settings, &needed.iter().copied().collect(), Arc::new(ManualClock::starting_at(now)))
}

fn open(temp: &TempDir) -> Arc<KeyRing> {
    open_for(temp, &[Algorithm::ES256], at(0)).unwrap()
}

fn es256() -> SigningKey {
    SigningKey::generate(Algorithm::ES256).unwrap()
}

fn active_id(ring: &KeyRing, now: Timestamp) -> Option<KeyId> {
    ring.active(Algorithm::ES256, now).map(|key| key.signing_key().key_id().clone())
}

fn published(ring: &KeyRing, now: Timestamp) -> Vec<Value> {
    let mut set: Value = serde_json::from_str(&ring.published(now).document).unwrap();
    serde_json::from_value(set["keys"].take()).unwrap()
}

fn published_ids(ring: &KeyRing, now: Timestamp) -> Vec<String> {
    published(ring, now).iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_first_key_of_an_empty_folder_is_active_at_once() {
    let temp = TempDir::new();
    let ring = open(&temp);
    let key = ring.active(Algorithm::ES256, at(0)).unwrap();
    assert_eq!(published_ids(&ring, at(0)), [key.signing_key().key_id().as_str()]);
    assert_eq!(key.retires_at(), at(0).plus(Lifetime::from_hours(87_660)), "AT-12");
    assert!(ring.active(Algorithm::ES256, key.retires_at()).is_none(), "AT-12");
    assert!(ring.active(Algorithm::RS256, at(0)).is_none());
    assert_eq!(temp.key_files().len(), 1);
    assert_eq!(fs::metadata(&temp.key_files()[0]).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!((key.counts(), key.counts(), key.signatures()), (0, 1, 2));
    assert_eq!(ring.read_at(), at(0));
}

#[test]
fn at_02_and_jwk_05_both_algorithms_of_an_empty_folder_are_made_together() {
    let temp = TempDir::new();
    let ring = open_for(&temp, &[Algorithm::ES256, Algorithm::RS256], at(0)).unwrap();
    assert!(ring.active(Algorithm::ES256, at(0)).is_some());
    assert!(ring.active(Algorithm::RS256, at(0)).is_some(), "AT-02");
    let keys = published(&ring, at(0));
    assert_eq!(keys.len(), 2);
    for key in &keys {
        assert_eq!(key["use"], "sig", "JWK-01");
        assert!(["kty", "kid", "alg"].iter().all(|member| key[member].is_string()), "JWK-01");
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(key.get(private).is_none(), "JWK-02: {private}");
        }
    }
    let rsa = keys.iter().find(|key| key["kty"] == "RSA").unwrap();
    let modulus = Base64UrlUnpadded::decode_vec(rsa["n"].as_str().unwrap()).unwrap();
    assert_eq!((modulus.len(), rsa["e"].as_str()), (256, Some("AQAB")), "JWK-05");
    assert_ne!(modulus[0], 0, "JWK-05");
    assert!(modulus[0] >= 0x80, "JWK-07");
    // What is secret in the files stands nowhere in the document and nowhere in Debug.
    let shown = format!("{} {ring:?} {:?}", ring.published(at(0)).document, ring.states(at(0)));
    for path in temp.key_files() {
        let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            assert!(file["key"][private].as_str().is_none_or(|secret| !shown.contains(secret)), "JWK-02: {private}");
        }
    }
}

#[test]
fn a_further_algorithm_is_published_before_it_signs() {
    let temp = TempDir::new();
    let ring = open(&temp);
    let first = active_id(&ring, at(0));
    let needed = BTreeSet::from([Algorithm::ES256, Algorithm::ES384]);
    ring.need(&needed, at(100)).unwrap();
    ring.need(&needed, at(101)).unwrap();
    assert_eq!(temp.key_files().len(), 2, "made once");
    let ready = at(100).plus(SEEN_BY_ALL).plus(PUBLISHED_BEFORE_USE);
    assert!(ring.active(Algorithm::ES384, at(100)).is_none());
    assert!(ring.active(Algorithm::ES384, ready.minus(Lifetime::from_millis(1))).is_none());
    assert!(ring.active(Algorithm::ES384, ready).is_some());
    assert_eq!(published(&ring, at(114)).len(), 1, "until every process has read it");
    assert_eq!(published(&ring, at(115)).len(), 2);
    assert_eq!(active_id(&ring, ready), first);
}

#[test]
fn a_retired_key_is_followed_by_a_new_one() {
    let temp = TempDir::new();
    temp.put("a.json", &es256(), [0, 0, 0, 1000].map(at));
    let ring = open_for(&temp, &[Algorithm::ES256], at(999)).unwrap();
    assert_eq!(temp.key_files().len(), 1);
    ring.need(&BTreeSet::from([Algorithm::ES256]), at(1000)).unwrap();
    assert_eq!(temp.key_files().len(), 2);
    assert!(active_id(&ring, at(1000)).is_none());
    assert!(active_id(&ring, at(1615)).is_some());
    assert_eq!(published(&ring, at(1015)).len(), 2, "the old one stays for its tokens");
}

#[test]
fn of_several_active_keys_the_latest_signs() {
    let temp = TempDir::new();
    let mut keys = [es256(), es256(), es256()];
    keys.sort_by(|one, other| one.key_id().cmp(other.key_id()));
    let [small, middle, large] = &keys;
    temp.put("a.json", middle, [0, 0, 0, 100_000].map(at));
    temp.put("b.json", large, [0, 100, 700, 100_000].map(at));
    temp.put("c.json", small, [0, 100, 700, 2000].map(at));
    let ring = open(&temp);
    let gone = 2000 + KEPT_AFTER_RETIRE.seconds();
    let table =
        [(0, middle, 1), (99, middle, 1), (100, middle, 3), (699, middle, 3), (700, small, 3), (1999, small, 3)];
    for (now, signer, count) in table.into_iter().chain([(2000, large, 3), (gone - 1, large, 3), (gone, large, 2)]) {
        assert_eq!(active_id(&ring, at(now)).as_ref(), Some(signer.key_id()), "{now}");
        assert_eq!(published(&ring, at(now)).len(), count, "{now}");
        let signing: Vec<_> = ring.states(at(now)).into_iter().filter(|key| key.signs).map(|key| key.key_id).collect();
        assert_eq!(signing, [signer.key_id().clone()], "{now}");
    }
    let states = |now: i64| ring.states(at(now)).iter().map(|key| key.state).collect::<Vec<_>>();
    assert_eq!(states(50), [KeyState::Pending, KeyState::Active, KeyState::Pending]);
    assert_eq!(states(100), [KeyState::Published, KeyState::Active, KeyState::Published]);
    assert_eq!(states(2000), [KeyState::Retired, KeyState::Active, KeyState::Active]);
    assert_eq!(states(gone), [KeyState::Gone, KeyState::Active, KeyState::Active]);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 3, "nothing is deleted, and no lock was needed");
}

#[test]
fn jwk_03_and_17_no_token_meets_a_key_set_that_may_be_cached_without_its_key() {
    let temp = TempDir::new();
    temp.put("a.json", &es256(), [0, 0, 0, 10_000].map(at));
    temp.put("b.json", &es256(), [0, 5000, 5000 + PUBLISHED_BEFORE_USE.seconds(), 100_000].map(at));
    let ring = open(&temp);
    let step = 50;
    for now in (0..40_000).step_by(50) {
        let key = ring.active(Algorithm::ES256, at(now)).unwrap();
        let key_id = key.signing_key().key_id().as_str().to_owned();
        let end = at(now).plus(LONGEST_TOKEN_LIFE).min(key.retires_at());
        // Any copy that a verifier may hold from the moment of signing to the end of the token, and a little after.
        let mut copy = at(now).minus(JWKS_MAX_AGE).max(at(0));
        while copy <= end.plus(Lifetime::from_minutes(4)) {
            assert!(published_ids(&ring, copy).contains(&key_id), "JWK-17: signed at {now}, copy of {copy:?}");
            copy = copy.plus(Lifetime::from_seconds(10 * step));
        }
    }
}

#[test]
fn two_rings_on_one_folder_agree_to_the_byte() {
    let temp = TempDir::new();
    let one = open(&temp);
    for (name, dates) in
        [("z.json", [0, 0, 0, 90_000]), ("b.json", [0, 60, 600, 90_000]), ("m.json", [0, 60, 600, 700])]
    {
        temp.put(name, &es256(), dates.map(at));
    }
    one.reread(at(0)).unwrap();
    let other = open(&temp);
    let mut tags = BTreeSet::new();
    for now in [0, 59, 60, 599, 600, 699, 700, 700 + KEPT_AFTER_RETIRE.seconds(), 60, 90_000] {
        assert_eq!(one.published(at(now)), other.published(at(now)), "{now}");
        assert_eq!(active_id(&one, at(now)), active_id(&other, at(now)), "{now}");
        assert_eq!(one.states(at(now)), other.states(at(now)), "{now}");
        let keys = one.published(at(now));
        assert!(keys.etag.len() > 40 && keys.etag.starts_with('"') && keys.etag.ends_with('"'), "{}", keys.etag);
        tags.insert((keys.etag.clone(), keys.document.clone()));
    }
    assert_eq!(tags.len(), 3, "one tag for each set");
    let ids = published_ids(&one, at(60));
    assert!(ids.is_sorted() && ids.iter().collect::<BTreeSet<_>>().len() == 4, "JWK-03");
    assert!(Arc::ptr_eq(&one.published(at(100)), &one.published(at(101))), "made once");
}

#[test]
fn two_that_open_an_empty_folder_at_once_end_with_one_key() {
    for _round in 0..10 {
        let temp = TempDir::new();
        let barrier = std::sync::Barrier::new(4);
        let ids: BTreeSet<_> = std::thread::scope(|scope| {
            let opener = || {
                barrier.wait();
                active_id(&open(&temp), at(0)).unwrap()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(opener)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((ids.len(), temp.key_files().len()), (1, 1));
    }
}

#[test]
fn a_torn_file_fails_at_open_and_costs_nothing_at_reread() {
    let temp = TempDir::new();
    let ring = open(&temp);
    let (before, keys) = (active_id(&ring, at(0)), ring.published(at(0)));
    let whole = fs::read_to_string(&temp.key_files()[0]).unwrap();
    for torn in ["", "{", &whole[..whole.len() / 2], "[]", "{}"] {
        temp.put_text("torn.json", torn);
        let fault = ring.reread(at(5)).unwrap_err().to_string();
        assert!(fault.contains("torn.json"), "{fault}");
        assert_eq!((active_id(&ring, at(5)), ring.published(at(5))), (before.clone(), keys.clone()));
        assert_eq!(ring.read_at(), at(0));
        let fault = open_for(&temp, &[Algorithm::ES256], at(5)).unwrap_err().to_string();
        assert!(fault.contains("torn.json"), "{fault}");
        assert!(ring.need(&BTreeSet::from([Algorithm::ES384]), at(5)).is_err());
        assert_eq!(temp.key_files().len(), 2, "nothing is made in a folder that cannot be read");
    }
    fs::remove_file(temp.path().join("torn.json")).unwrap();
    ring.reread(at(10)).unwrap();
    assert_eq!(ring.read_at(), at(10));
}

#[test]
fn an_unreadable_folder_is_said() {
    let temp = TempDir::new();
    let settings = SigningSettings::Directory { path: temp.path().join("file"), rotate: DEFAULT_ROTATION };
    fs::write(settings.path(), "").unwrap();
    let clock = ManualClock::starting_at(at(0));
    let fault = KeyRing::open(&settings, &BTreeSet::new(), Arc::new(clock)).unwrap_err().to_string();
    assert!(fault.starts_with("the folder of signing keys \"") && fault.contains("cannot be made"), "{fault}");
    let ring = open_for(&TempDir::new(), &[], at(0)).unwrap();
    let fault = ring.reread(at(0)).unwrap_err().to_string();
    assert!(fault.contains("cannot be read"), "{fault}");
}

#[test]
fn unchanged_files_keep_their_parsed_keys_and_changed_dates_count() {
    let temp = TempDir::new();
    let (one, two) = (es256(), es256());
    temp.put("one.json", &one, [0, 0, 0, 9000].map(at));
    let ring = open(&temp);
    let first = ring.active(Algorithm::ES256, at(0)).unwrap();
    first.counts();
    temp.put("two.json", &two, [0, 0, 700, 9000].map(at));
    ring.reread(at(5)).unwrap();
    assert!(Arc::ptr_eq(&first, &ring.active(Algorithm::ES256, at(5)).unwrap()));
    assert_eq!(published(&ring, at(5)).len(), 2);
    // The same key, renamed into place with an earlier end.
    temp.put("one.json", &one, [0, 0, 0, 500].map(at));
    ring.reread(at(10)).unwrap();
    let changed = ring.active(Algorithm::ES256, at(10)).unwrap();
    assert_eq!((changed.retires_at(), changed.signatures()), (at(500), 1), "AT-12");
    assert_eq!(first.retires_at(), at(9000), "who holds the old one signs within the old dates");
    assert!(active_id(&ring, at(500)).is_none());
    assert_eq!(active_id(&ring, at(700)).as_ref(), Some(two.key_id()));
}

#[test]
fn jwk_03_a_key_id_stands_for_one_key() {
    let temp = TempDir::new();
    let (key, other) = (es256(), es256());
    temp.put("one.json", &key, [0, 0, 0, 9000].map(at));
    let ring = open(&temp);
    temp.put("two.json", &key, [0, 0, 0, 8000].map(at));
    let fault = ring.reread(at(5)).unwrap_err();
    assert!(matches!(&fault, KeyRingFault::SameId { path, .. } if path.ends_with("two.json")), "{fault}");
    fs::remove_file(temp.path().join("two.json")).unwrap();
    let text = other.to_private_jwk().unwrap().expose().replace(other.key_id().as_str(), key.key_id().as_str());
    let renamed = SigningKey::from_private_jwk(&crate::jose::parse_object(text.as_bytes()).unwrap()).unwrap();
    temp.put("one.json", &renamed, [0, 0, 0, 9000].map(at));
    assert!(matches!(ring.reread(at(5)), Err(KeyRingFault::Replaced { .. })));
    assert_eq!(active_id(&ring, at(5)).as_ref(), Some(key.key_id()));
}

#[test]
fn jwk_04_coordinates_keep_their_leading_zeros() {
    let x = |key: &SigningKey| Base64UrlUnpadded::decode_vec(key.public_jwk()["x"].as_str().unwrap()).unwrap();
    // One of 256 keys has a zero there.
    let key = (0..20_000).map(|_| es256()).find(|key| x(key)[0] == 0);
    let temp = TempDir::new();
    temp.put("a.json", &key.unwrap(), [0, 0, 0, 9000].map(at));
    temp.put("b.json", &SigningKey::generate(Algorithm::ES384).unwrap(), [0, 0, 0, 9000].map(at));
    let keys = published(&open(&temp), at(0));
    assert_eq!(keys.len(), 2);
    for key in keys {
        let length = if key["crv"] == "P-256" { 32 } else { 48 };
        for coordinate in ["x", "y"] {
            let bytes = Base64UrlUnpadded::decode_vec(key[coordinate].as_str().unwrap()).unwrap();
            assert_eq!(bytes.len(), length, "JWK-04");
        }
    }
}

#[test]
fn a_key_out_of_use_never_signs_again_and_stays_published() {
    let temp = TempDir::new();
    let (old, new) = (es256(), es256());
    temp.put("old.json", &old, [0, 0, 0, 9000].map(at));
    temp.put("new.json", &new, [0, 0, 10, 9000].map(at));
    let ring = open(&temp);
    assert_eq!(active_id(&ring, at(10)).as_ref(), Some(new.key_id()));
    ring.take_out_of_use(new.key_id());
    assert_eq!(active_id(&ring, at(10)).as_ref(), Some(old.key_id()));
    temp.put("new.json", &new, [0, 0, 10, 8000].map(at));
    ring.reread(at(15)).unwrap();
    assert_eq!(active_id(&ring, at(15)).as_ref(), Some(old.key_id()), "a file written anew does not bring it back");
    ring.take_out_of_use(old.key_id());
    assert_eq!(active_id(&ring, at(15)), None);
    assert_eq!(published(&ring, at(15)).len(), 2);
    assert!(ring.states(at(15)).iter().all(|key| key.out_of_use && !key.signs && key.state == KeyState::Active));
}

#[test]
fn a_key_that_confirms_nothing_is_a_fault_and_signs_nothing() {
    // The second implementation knows no ES512, so it confirms no signature of it.
    let temp = TempDir::new();
    let ring = open(&temp);
    assert!(matches!(ring.need(&BTreeSet::from([Algorithm::ES512]), at(0)), Err(KeyRingFault::Unconfirmed { .. })));
    assert_eq!(temp.key_files().len(), 1, "it is not written");
    temp.put("odd.json", &SigningKey::generate(Algorithm::ES512).unwrap(), [0, 0, 0, 9000].map(at));
    assert!(matches!(ring.reread(at(5)), Err(KeyRingFault::Unconfirmed { .. })));
    assert!(ring.active(Algorithm::ES512, at(5)).is_none());
    assert!(ring.active(Algorithm::ES256, at(5)).is_some());
    assert_eq!(published(&ring, at(5)).len(), 2, "other processes may sign with it");
    assert!(ring.reread(at(10)).is_ok(), "said once");
    assert!(ring.active(Algorithm::ES512, at(10)).is_none());
    assert!(matches!(open_for(&temp, &[], at(5)), Err(KeyRingFault::Unconfirmed { .. })));
}

#[tokio::test]
async fn the_folder_is_watched_until_cancelled() {
    let temp = TempDir::new();
    let ring = open(&temp);
    let (clock, cancel) = (ManualClock::starting_at(at(0)), CancellationToken::new());
    let watcher = tokio::spawn(ring.clone().watch(Arc::new(clock.clone()), cancel.clone()));
    let until = async |done: &dyn Fn() -> bool| {
        for _attempt in 0..2000 {
            if done() {
                return;
            }
            clock.advance(REREAD_EVERY);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the watcher did not see the change in time");
    };
    temp.put("next.json", &es256(), [0, 0, 600, 90_000_000].map(at));
    until(&|| published(&ring, at(0)).len() == 2).await;
    // A torn file beside a good one: nothing changes until the torn one is gone.
    temp.put_text("torn.json", "{");
    temp.put("third.json", &es256(), [0, 0, 600, 90_000_000].map(at));
    let stands = ring.read_at();
    until(&|| clock.now() > stands.plus(Lifetime::from_minutes(1))).await;
    assert_eq!(published(&ring, at(0)).len(), 2);
    fs::remove_file(temp.path().join("torn.json")).unwrap();
    until(&|| published(&ring, at(0)).len() == 3).await;
    cancel.cancel();
    watcher.await.unwrap();
}
