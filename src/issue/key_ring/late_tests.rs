//! Plans that were made long before they are carried out.

use std::pin::Pin;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::clock::ManualClock;
use crate::issue::key_file::KeyFile;
use crate::issue::schedule::OVERLAP;
use crate::issue::temp_dir::TempDir;
use crate::issue::{PUBLISHED_BEFORE_USE, SHORTEST_ROTATION};

const ES: Algorithm = Algorithm::ES256;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_790_000_000 + seconds)
}

fn ring(temp: &TempDir, clock: Arc<dyn Clock>) -> Arc<KeyRing> {
    let settings = SigningSettings::Directory { path: temp.path().to_owned(), rotate: SHORTEST_ROTATION };
    KeyRing::open(&settings, &BTreeSet::from([ES]), clock).unwrap()
}

/// A process that is suspended for a while just before it asks for the time once more.
#[derive(Debug)]
struct Suspended {
    clock: ManualClock,
    before: AtomicUsize,
    away: Lifetime,
}

impl Clock for Suspended {
    fn now(&self) -> Timestamp {
        if self.before.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.clock.advance(self.away);
        }
        self.clock.now()
    }

    fn sleep_until<'a>(&'a self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.clock.sleep_until(moment)
    }
}

#[test]
fn jwk_17_a_process_that_is_suspended_on_the_way_makes_no_key_that_signs_unknown() {
    for away in [Lifetime::from_minutes(11), Lifetime::from_hours(30)] {
        // Before the plan, before the dates, and after both.
        for before in 0..4 {
            let temp = TempDir::new();
            let clock = ManualClock::starting_at(at(0));
            let awake = AtomicUsize::new(usize::MAX);
            let suspended = Arc::new(Suspended { clock: clock.clone(), before: awake, away });
            let one = ring(&temp, suspended.clone());
            let other = ring(&temp, Arc::new(clock.clone()));
            let first = one.active(ES, at(0)).unwrap().signing_key().key_id().clone();
            suspended.before.store(before, Ordering::SeqCst);
            let states = one.rotate(ES, at(0)).unwrap();
            let (old, new): (Vec<_>, Vec<_>) = states.into_iter().partition(|key| key.key_id == first);
            let written = if before < 2 { clock.now() } else { at(0) };
            assert_eq!(new[0].schedule.publish(), written.plus(SEEN_BY_ALL), "{away} {before}");
            assert_eq!(new[0].schedule.activate(), written.plus(SEEN_BY_ALL).plus(PUBLISHED_BEFORE_USE));
            assert_eq!(old[0].schedule.retire(), new[0].schedule.activate().plus(OVERLAP), "a signer meanwhile");
            other.reread(clock.now()).unwrap();
            assert_eq!(other.states(at(0))[0].schedule, one.states(at(0))[0].schedule);
        }
    }
}

#[test]
fn jwk_17_a_key_whose_maker_ended_before_its_dates_gets_them_from_whoever_finds_it() {
    let temp = TempDir::new();
    let one = ring(&temp, Arc::new(ManualClock::starting_at(at(0))));
    let first = one.active(ES, at(0)).unwrap().signing_key().key_id().clone();
    let planned = Schedule::announced(at(1));
    let file = KeyFile { schedule: planned.undated(), key: SigningKey::generate(ES).unwrap() };
    let (found, key_id) = (at(3000), file.key.key_id().clone());
    one.folder.put(&one.folder.lock().unwrap(), &file.name(), &file.to_text().unwrap()).unwrap();
    one.reread(found).unwrap();
    assert_eq!(one.active(ES, found).unwrap().signing_key().key_id(), &first, "nobody signs with it");
    one.rotate_if_due(found).unwrap();
    let dates = one.states(found).into_iter().find(|key| key.key_id == key_id).unwrap().schedule;
    assert_eq!((dates.created(), dates.publish()), (planned.created(), found.plus(SEEN_BY_ALL)));
    assert_eq!(dates.activate(), found.plus(SEEN_BY_ALL).plus(PUBLISHED_BEFORE_USE));
    assert_eq!(one.states(found).len(), 2, "and no other is made");
    assert_eq!(one.active(ES, dates.activate()).unwrap().signing_key().key_id(), &key_id);
}
