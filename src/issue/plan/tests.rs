//! What plans promise: always a signer, never one that verifiers may not know, no token cut short.

use super::*;
use crate::issue::{JWKS_MAX_AGE, LONGEST_TOKEN_LIFE};

const ES: Algorithm = Algorithm::ES256;
const DAY: Lifetime = Lifetime::from_hours(24);
const MONTH: Lifetime = Lifetime::from_hours(30 * 24);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_790_000_000 + seconds)
}

fn id(text: &str) -> KeyId {
    KeyId::parse(text).unwrap()
}

/// Keys without their secrets.
struct Folder {
    keys: Vec<Dated>,
    made: usize,
}

impl Folder {
    /// A folder whose first key, `k0`, signs from the start.
    fn new() -> Self {
        let mut folder = Self { keys: Vec::new(), made: 0 };
        folder.apply(Changes { make: vec![(ES, Schedule::at_once(at(0)))], ..Changes::default() });
        folder
    }

    fn apply(&mut self, changes: Changes) {
        for (algorithm, schedule) in changes.make {
            self.keys.push(Dated { key_id: Some(id(&format!("k{}", self.made))), algorithm, schedule });
            self.made += 1;
        }
        for (key_id, schedule) in changes.dates {
            self.keys.iter_mut().find(|key| key.key_id.as_ref() == Some(&key_id)).unwrap().schedule = schedule;
        }
        self.keys.retain(|key| !changes.forget.contains(key.key_id.as_ref().unwrap()));
    }

    fn due(&mut self, rotate: Lifetime, now: Timestamp) {
        self.apply(due(&self.keys, &BTreeSet::from([ES]), rotate, now));
        assert!(due(&self.keys, &BTreeSet::from([ES]), rotate, now).is_empty(), "a plan leaves nothing to plan");
    }

    /// As the ring chooses it.
    fn signer(&self, now: Timestamp) -> Option<&Dated> {
        let active = self.keys.iter().filter(|key| key.schedule.state(now) == KeyState::Active);
        active.max_by_key(|key| (key.schedule.activate(), Reverse(key.key_id.clone())))
    }

    fn signer_id(&self, now: Timestamp) -> &str {
        self.signer(now).map_or("nobody", |key| key.key_id.as_ref().unwrap().as_str())
    }

    fn schedule(&self, key_id: &str) -> Schedule {
        self.keys.iter().find(|key| key.key_id.as_ref().unwrap().as_str() == key_id).unwrap().schedule
    }
}

#[test]
fn the_next_key_comes_a_day_early_and_takes_over_on_the_day() {
    let mut folder = Folder::new();
    let turn = at(0).plus(MONTH);
    assert_eq!(next_made(&folder.keys, ES, MONTH, at(0)), Some(turn.minus(DAY)));
    folder.due(MONTH, turn.minus(DAY).minus(Lifetime::from_millis(1)));
    assert_eq!(folder.made, 1, "not before it is due");
    folder.due(MONTH, turn.minus(DAY));
    let (first, next) = (folder.schedule("k0"), folder.schedule("k1"));
    assert_eq!((next.publish(), next.activate()), (turn.minus(DAY).plus(SEEN_BY_ALL), turn));
    assert_eq!(first.retire(), turn.plus(OVERLAP));
    assert_eq!(next_made(&folder.keys, ES, MONTH, turn.minus(DAY)), None, "one waits");
    assert_eq!(folder.signer_id(turn.minus(Lifetime::from_millis(1))), "k0");
    assert_eq!(folder.signer_id(turn), "k1");
    assert_eq!(next_made(&folder.keys, ES, MONTH, turn), Some(turn.plus(MONTH).minus(DAY)));
}

#[test]
fn who_slept_past_the_day_publishes_first() {
    let mut folder = Folder::new();
    let late = at(0).plus(MONTH).plus(MONTH);
    folder.due(MONTH, late);
    let next = folder.schedule("k1");
    assert_eq!(next.activate(), late.plus(SEEN_BY_ALL).plus(PUBLISHED_BEFORE_USE));
    assert_eq!(folder.schedule("k0").retire(), next.activate().plus(OVERLAP));
    assert_eq!((folder.made, folder.signer_id(late)), (2, "k0"), "one key for two missed turns");
}

#[test]
fn a_key_whose_own_end_is_near_is_followed_in_time() {
    let mut folder = Folder::new();
    folder.keys[0].schedule = folder.keys[0].schedule.ending_by(at(0).plus(Lifetime::from_hours(100)));
    folder.due(MONTH, at(0).plus(Lifetime::from_hours(51)));
    assert_eq!(folder.schedule("k1").activate(), at(0).plus(Lifetime::from_hours(75)), "no token is cut short");
    // And one that ended already.
    let mut folder = Folder::new();
    folder.keys[0].schedule = folder.keys[0].schedule.ending_by(at(1000));
    folder.due(MONTH, at(2000));
    assert_eq!(folder.schedule("k1").activate(), at(2615));
}

#[test]
fn a_maker_that_dies_on_the_way_is_followed_by_one_that_ends_the_work() {
    let mut folder = Folder::new();
    let now = at(0).plus(MONTH).minus(DAY);
    let mut changes = due(&folder.keys, &BTreeSet::new(), MONTH, now);
    assert_eq!((changes.make.len(), changes.dates.len()), (1, 1));
    changes.dates.clear();
    folder.apply(changes);
    folder.due(MONTH, now);
    assert_eq!((folder.made, folder.schedule("k0").retire()), (2, at(0).plus(MONTH).plus(OVERLAP)));
}

#[test]
fn rotate_makes_one_key_and_hastens_the_one_that_waits() {
    let mut folder = Folder::new();
    folder.apply(rotate(&folder.keys, ES, |_| None, at(1000)));
    assert_eq!((folder.made, folder.schedule("k1").activate()), (2, at(1615)));
    assert!(rotate(&folder.keys, ES, |_| None, at(1300)).is_empty(), "the same plan");
    // One that waits for its day signs as soon as it has been published for long enough, or now.
    for (asked, signs) in [(100, 615), (5000, 5000)] {
        let mut folder = Folder::new();
        let made = at(0).plus(MONTH).minus(DAY);
        folder.due(MONTH, made);
        folder.apply(rotate(&folder.keys, ES, |_| None, made.plus(Lifetime::from_seconds(asked))));
        let signs = made.plus(Lifetime::from_seconds(signs));
        assert_eq!((folder.made, folder.schedule("k1").activate()), (2, signs));
        assert_eq!(folder.schedule("k0").retire(), signs.plus(OVERLAP));
    }
}

#[test]
fn a_new_key_is_a_further_one() {
    let mut folder = Folder::new();
    folder.due(MONTH, at(0).plus(MONTH).minus(DAY));
    let now = at(0).plus(MONTH).minus(Lifetime::from_hours(20));
    folder.apply(new_key(&folder.keys, ES, now));
    let [first, waiting, new] = ["k0", "k1", "k2"].map(|key| folder.schedule(key));
    assert_eq!(new.activate(), now.plus(SEEN_BY_ALL).plus(PUBLISHED_BEFORE_USE));
    assert_eq!(first.retire(), new.activate().plus(OVERLAP));
    assert_eq!(new.retire(), waiting.activate().plus(OVERLAP), "the one that waited takes over on its day");
}

#[test]
fn a_hold_moves_later_and_keeps_the_signer() {
    let mut folder = Folder::new();
    let until = at(0).plus(MONTH).plus(MONTH);
    assert_eq!(hold(&folder.keys, ES, until, at(0)), Err(PlanFault::NothingToHold(ES)));
    let turn = at(0).plus(MONTH);
    let now = turn.minus(Lifetime::from_hours(1));
    folder.due(MONTH, now);
    assert_eq!(hold(&folder.keys, ES, turn, now), Err(PlanFault::NotLater(ES, turn)));
    let too_long = now.plus(LONGEST_ROTATION).plus(Lifetime::from_millis(1));
    assert_eq!(hold(&folder.keys, ES, too_long, now), Err(PlanFault::HeldTooLong));
    folder.apply(hold(&folder.keys, ES, until, now).unwrap());
    assert_eq!(folder.schedule("k1").activate(), until);
    assert_eq!(folder.schedule("k0").retire(), until.plus(OVERLAP));
    folder.due(MONTH, until.minus(Lifetime::from_seconds(1)));
    assert_eq!((folder.made, folder.signer_id(until.minus(Lifetime::from_seconds(1)))), (2, "k0"));
    assert_eq!(folder.signer_id(until), "k1");
    folder.apply(rotate(&folder.keys, ES, |_| None, turn.plus(Lifetime::from_seconds(5000))));
    assert_eq!(folder.schedule("k1").activate(), turn.plus(Lifetime::from_seconds(5000)), "rotate lets go");
}

#[test]
fn a_rollback_lasts_for_a_whole_turn() {
    let mut folder = Folder::new();
    assert_eq!(rollback(&folder.keys, ES, at(0)), Err(PlanFault::NothingToGoBackTo(ES)));
    let turn = at(0).plus(MONTH);
    folder.due(MONTH, turn.minus(DAY));
    assert_eq!(rollback(&folder.keys, ES, turn.minus(DAY)), Err(PlanFault::NothingToGoBackTo(ES)), "it signs already");
    for late in [0, 1, 3600, 24 * 3600] {
        let mut folder = Folder { keys: folder.keys.clone(), made: folder.made };
        let now = turn.plus(Lifetime::from_seconds(late)).plus(Lifetime::from_millis(500));
        folder.apply(rollback(&folder.keys, ES, now).unwrap());
        let seen = now.plus(Lifetime::from_seconds(1));
        assert_eq!(folder.signer_id(seen), "k0", "{late}");
        assert!(folder.schedule("k1").state(seen.plus(LONGEST_TOKEN_LIFE)).is_published(), "its tokens are good");
        let next = next_made(&folder.keys, ES, MONTH, seen).unwrap();
        assert!(next > now.plus(MONTH).minus(DAY).minus(Lifetime::from_seconds(1)), "{late}");
        folder.due(MONTH, next.minus(Lifetime::from_seconds(1)));
        assert_eq!((folder.made, folder.signer_id(next)), (2, "k0"), "{late}");
        folder.due(MONTH, next);
        assert_eq!(folder.made, 3, "{late}");
    }
}

#[test]
fn a_key_that_loses_its_successor_lasts() {
    let mut folder = Folder::new();
    let turn = at(0).plus(MONTH);
    folder.due(MONTH, turn.minus(DAY));
    folder.apply(new_key(&folder.keys, ES, turn.minus(DAY)));
    let until = turn.plus(MONTH);
    folder.apply(hold(&folder.keys, ES, until, turn.minus(DAY).plus(Lifetime::from_seconds(60))).unwrap());
    assert_eq!(folder.schedule("k1").activate(), folder.schedule("k2").activate());
    // Whichever of the two that wait for one moment is last in line.
    for (revoked, left) in [("k1", "k2"), ("k2", "k1")] {
        let mut folder = Folder { keys: folder.keys.clone(), made: folder.made };
        folder.apply(revoke(&folder.keys, &id(revoked), turn).unwrap());
        let late = until.plus(Lifetime::from_hours(9));
        folder.due(MONTH, late);
        assert_eq!(folder.signer_id(late), left);
        assert!(folder.schedule(left).retire() > late.plus(DAY), "nobody looked for months, and no token is cut short");
    }
}

#[test]
fn a_revoked_key_is_followed_at_once() {
    let turn = at(0).plus(MONTH);
    let hour = Lifetime::from_hours(1);
    let mut folder = Folder::new();
    assert_eq!(revoke(&folder.keys, &id("k9"), at(0)), Err(PlanFault::Unknown));
    folder.due(MONTH, turn.minus(DAY));
    // The one that signs: the one before it signs again, and a fresh one is made.
    let mut signing = Folder { keys: folder.keys.clone(), made: folder.made };
    signing.apply(revoke(&signing.keys, &id("k1"), turn.plus(hour)).unwrap());
    assert!(revoke(&signing.keys, &id("k1"), turn.plus(hour)).unwrap().is_empty(), "once");
    assert_eq!(signing.signer_id(turn.plus(hour)), "k0");
    assert_eq!(signing.schedule("k1").state(turn.plus(hour)), KeyState::Revoked);
    signing.due(MONTH, turn.plus(hour));
    let next = signing.schedule("k2").activate();
    assert_eq!(next, turn.plus(hour).plus(SEEN_BY_ALL).plus(PUBLISHED_BEFORE_USE));
    assert_eq!(signing.schedule("k0").retire(), next.plus(OVERLAP));
    // The one that waits: the present one signs on, and the next is made in its place.
    let mut waiting = Folder { keys: folder.keys.clone(), made: folder.made };
    waiting.apply(revoke(&waiting.keys, &id("k1"), turn.minus(hour)).unwrap());
    waiting.due(MONTH, turn.minus(hour));
    assert_eq!((waiting.made, waiting.schedule("k2").activate()), (3, turn));
    // The only one: nobody signs until the next has been published for long enough.
    let mut alone = Folder::new();
    alone.apply(revoke(&alone.keys, &id("k0"), at(50)).unwrap());
    assert_eq!((alone.made, alone.signer_id(at(50)), alone.signer_id(at(664))), (2, "nobody", "nobody"));
    assert_eq!(alone.signer_id(at(665)), "k1");
    // The one that signs, alone with one that waits: that one is hastened.
    folder.apply(revoke(&folder.keys, &id("k0"), turn.minus(hour)).unwrap());
    assert_eq!((folder.made, folder.signer_id(turn.minus(hour))), (2, "k1"));
}

#[test]
fn only_a_crowded_folder_is_tidied_and_revoked_keys_stay() {
    let mut folder = Folder::new();
    let hourly = Lifetime::from_hours(1);
    let mut now = at(0);
    let mut most = 0;
    let mut revoked = false;
    while folder.made < 1500 {
        folder.due(hourly, now);
        if folder.made == 3 && !revoked {
            folder.apply(revoke(&folder.keys, &id("k2"), now).unwrap());
            revoked = true;
        }
        most = most.max(folder.keys.len());
        now = now.plus(Lifetime::from_minutes(10));
    }
    assert!(most <= CROWDED + 1, "{most}");
    assert_eq!(folder.schedule("k2").state(now), KeyState::Revoked);
    for key in folder.keys.iter().filter(|key| key.schedule.revoked().is_none()) {
        assert!(key.schedule.created() > at(0), "the first is long gone");
    }
    assert!(folder.keys.iter().filter(|key| key.schedule.state(now).is_published()).count() > 40);
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn jwk_17_whatever_the_operator_does_a_key_signs_that_verifiers_know_and_tokens_live_on() {
    for seed in 0..24 {
        let mut dice = Dice(seed);
        let rotate_every = [SHORTEST_ROTATION, DAY, MONTH, LONGEST_ROTATION][(seed % 4) as usize];
        let mut folder = Folder::new();
        let mut now = at(0);
        // The end of the last token of each key.
        let mut ends: BTreeMap<KeyId, Timestamp> = BTreeMap::new();
        for step in 0..300 {
            let lengths = [5, 300, 3600, rotate_every.seconds() as u64 / 3];
            let length = lengths[dice.below(4) as usize];
            now = now.plus(Lifetime::from_millis(1 + dice.below(length.min(4_000_000) * 1000) as u32));
            folder.due(rotate_every, now);
            let changes = match dice.below(20) {
                0 => new_key(&folder.keys, ES, now),
                1 => rotate(&folder.keys, ES, |_| None, now),
                2 => hold(&folder.keys, ES, now.plus(Lifetime::from_seconds(dice.below(3_000_000) as u32)), now)
                    .unwrap_or_default(),
                3 => rollback(&folder.keys, ES, now).unwrap_or_default(),
                4 => {
                    let revoked = folder.keys[dice.below(folder.keys.len() as u64) as usize].key_id.clone().unwrap();
                    // The last key in service is spared: without it nobody signs, as another test shows.
                    match folder.keys.iter().filter(|key| key.schedule.state(now) == KeyState::Active).count() {
                        0 | 1 => Changes::default(),
                        _ => revoke(&folder.keys, &revoked, now).unwrap(),
                    }
                }
                _ => Changes::default(),
            };
            folder.apply(changes);
            folder.due(rotate_every, now);
            // What the others see once the second is over.
            let seen = Timestamp::from_seconds(now.seconds() + 1);
            now = seen;
            let signer = folder.signer(seen).unwrap_or_else(|| panic!("{seed} {step}: nobody signs"));
            let known_for = seen.since(signer.schedule.publish());
            let first = signer.key_id == Some(id("k0"));
            assert!(first || known_for >= PUBLISHED_BEFORE_USE, "{seed} {step}: published for {known_for} only");
            let end = seen.plus(LONGEST_TOKEN_LIFE);
            assert!(signer.schedule.ends() >= end, "{seed} {step}: a token is cut short at {:?}", signer.schedule);
            ends.insert(signer.key_id.clone().unwrap(), end);
            for key in &folder.keys {
                let lives = ends.get(key.key_id.as_ref().unwrap()).is_some_and(|end| *end >= seen);
                if lives && key.schedule.revoked().is_none() {
                    assert!(key.schedule.state(seen).is_published(), "{seed} {step}: {key:?} has living tokens");
                    let oldest = seen.minus(JWKS_MAX_AGE);
                    assert!(first || key.key_id == Some(id("k0")) || key.schedule.state(oldest).is_published());
                }
            }
            let living = ends.iter().filter(|(_, end)| **end >= seen).map(|(key_id, _)| key_id);
            for key_id in living {
                assert!(folder.keys.iter().any(|key| key.key_id.as_ref() == Some(key_id)), "{seed} {step}: forgotten");
            }
        }
        assert!(folder.made > 10, "{seed}: {}", folder.made);
    }
}
