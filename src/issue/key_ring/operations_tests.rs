//! What operators may ask of the ring, and what every process on the folder then does.

use super::*;
use crate::clock::ManualClock;
use crate::issue::temp_dir::TempDir;
use crate::issue::{DEFAULT_ROTATION, KEPT_AFTER_RETIRE, PlanFault, timeline};

const ES: Algorithm = Algorithm::ES256;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_790_000_000 + seconds)
}

/// Two processes on one folder.
struct Stage {
    _temp: TempDir,
    one: Arc<KeyRing>,
    other: Arc<KeyRing>,
    first: KeyId,
}

fn stage() -> Stage {
    let temp = TempDir::new();
    let settings = SigningSettings::Directory { path: temp.path().to_owned(), rotate: DEFAULT_ROTATION };
    let open = || KeyRing::open(&settings, &BTreeSet::from([ES]), Arc::new(ManualClock::starting_at(at(0)))).unwrap();
    let (one, other) = (open(), open());
    let first = one.active(ES, at(0)).unwrap().signing_key().key_id().clone();
    Stage { _temp: temp, one, other, first }
}

impl Stage {
    /// Who signs at that moment, in both processes.
    fn signer(&self, now: Timestamp) -> Option<KeyId> {
        self.other.look_after(now).unwrap();
        self.one.look_after(now).unwrap();
        assert_eq!(self.one.published(now), self.other.published(now));
        let signer = |ring: &KeyRing| ring.active(ES, now).map(|key| key.signing_key().key_id().clone());
        assert_eq!(signer(&self.one), signer(&self.other));
        signer(&self.one)
    }

    fn published(&self, now: Timestamp, key_id: &KeyId) -> bool {
        self.one.published(now).document.contains(key_id.as_str())
    }
}

fn other_than(keys: &[KeyStatus], known: &[&KeyId]) -> KeyId {
    keys.iter().map(|key| &key.key_id).find(|key_id| !known.contains(key_id)).unwrap().clone()
}

#[test]
fn a_new_key_is_published_and_then_signs() {
    let stage = stage();
    let keys = stage.one.new_key(ES, at(100)).unwrap();
    let new = other_than(&keys, &[&stage.first]);
    assert_eq!(keys.len(), 2);
    assert_eq!(stage.signer(at(714)), Some(stage.first.clone()));
    assert!(stage.published(at(115), &new));
    assert_eq!(stage.signer(at(715)), Some(new));
    let said = timeline(&stage.one.states(at(235)), at(235));
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].contains(" signs now, since 4 m; ") && lines[0].ends_with(" takes over in 8 m"), "{said}");
    assert!(lines[1].ends_with(" is published since 2 m and signs in 8 m"), "{said}");
    // An algorithm that nothing needs yet, before the resource that does.
    let keys = stage.one.new_key(Algorithm::ES384, at(1000)).unwrap();
    assert_eq!(keys.iter().filter(|key| key.algorithm == Algorithm::ES384).count(), 1);
    assert!(stage.one.active(Algorithm::ES384, at(1615)).is_some());
    assert!(matches!(stage.one.new_key(Algorithm::ES512, at(1000)), Err(KeyRingFault::Unconfirmed { .. })));
}

#[test]
fn rotate_hold_and_rotate_again() {
    let stage = stage();
    assert!(matches!(
        stage.one.hold(ES, at(9000), at(0)),
        Err(KeyRingFault::Plan(PlanFault::NothingToHold(Algorithm::ES256)))
    ));
    let keys = stage.one.rotate(ES, at(1000)).unwrap();
    let next = other_than(&keys, &[&stage.first]);
    assert_eq!(stage.other.rotate(ES, at(1100)).unwrap(), keys_at(&stage, at(1100)), "the same plan in both");
    stage.other.hold(ES, at(200_000), at(1200)).unwrap();
    assert!(matches!(stage.one.hold(ES, at(100_000), at(1200)), Err(KeyRingFault::Plan(PlanFault::NotLater(..)))));
    for now in [1615, 100_000, 199_999] {
        assert_eq!(stage.signer(at(now)), Some(stage.first.clone()), "{now}");
        assert!(stage.published(at(now), &next));
    }
    let kept = stage.one.active(ES, at(199_999)).unwrap();
    assert!(kept.retires_at() >= at(199_999).plus(Lifetime::from_hours(24)), "no token is cut short");
    stage.one.tried(&next, Ok(()));
    stage.one.rotate(ES, at(199_000)).unwrap();
    assert_eq!(stage.signer(at(199_000)), Some(next));
}

fn keys_at(stage: &Stage, now: Timestamp) -> Vec<KeyStatus> {
    stage.one.reread(now).unwrap();
    stage.one.states(now)
}

#[test]
fn a_rollback_brings_the_former_key_back_everywhere() {
    let stage = stage();
    assert!(matches!(stage.one.rollback(ES, at(0)), Err(KeyRingFault::Plan(PlanFault::NothingToGoBackTo(_)))));
    let keys = stage.one.rotate(ES, at(0)).unwrap();
    let next = other_than(&keys, &[&stage.first]);
    assert_eq!(stage.signer(at(700)), Some(next.clone()));
    let keys = stage.other.rollback(ES, at(800)).unwrap();
    let signs = |key_id: &KeyId| keys.iter().find(|key| key.key_id == *key_id).map(|key| (key.signs, key.state));
    assert_eq!(signs(&stage.first), Some((true, KeyState::Active)));
    assert_eq!(signs(&next), Some((false, KeyState::Retired)));
    let day = 24 * 3600;
    for now in [800, 5000, 2 * day, 28 * day] {
        assert_eq!(stage.signer(at(now)), Some(stage.first.clone()), "{now}");
    }
    assert!(stage.published(at(799 + day), &next), "for the tokens that it signed");
    assert!(!stage.published(at(800).plus(KEPT_AFTER_RETIRE), &next));
    assert_eq!(stage.signer(at(30 * day)), Some(stage.first.clone()), "a whole turn");
    let last = stage.signer(at(30 * day + 800)).unwrap();
    assert!(last != stage.first && last != next, "then rotation goes on");
}

#[test]
fn a_revoked_key_is_nowhere_at_once_and_for_good() {
    let stage = stage();
    let keys = stage.one.rotate(ES, at(0)).unwrap();
    let next = other_than(&keys, &[&stage.first]);
    assert_eq!(stage.signer(at(700)), Some(next.clone()));
    let keys = stage.one.revoke(&next, at(800)).unwrap();
    assert!(keys.iter().any(|key| key.key_id == next && key.state == KeyState::Revoked && !key.signs));
    assert!(!stage.published(at(800), &next));
    assert_eq!(stage.signer(at(800)), Some(stage.first.clone()), "until a fresh one may sign");
    assert_eq!(stage.one.revoke(&next, at(900)).unwrap().len(), keys.len(), "once is enough");
    let unknown = KeyId::parse("unknown").unwrap();
    assert!(matches!(stage.one.revoke(&unknown, at(900)), Err(KeyRingFault::Plan(PlanFault::Unknown))));
    // The only key: nobody signs until the next has been published for long enough.
    let keys = stage.one.revoke(&stage.first, at(1000)).unwrap();
    assert_eq!(stage.signer(at(1000)), None);
    let last = other_than(&keys, &[&stage.first, &next]);
    assert_eq!(stage.signer(at(1614)), None);
    assert_eq!(stage.signer(at(1615)), Some(last));
    let said = timeline(&keys, at(1000));
    assert!(said.starts_with("ES256 has no key that signs now\n") && said.contains(" was revoked 0 s ago"), "{said}");
}
