//! Decides how many requests are answered at a time, and how often one identity may come.
//!
//! Never lets one identity take the places of all others, and never keeps anybody waiting: who is too many hears so at once.
//!
//! Two limits, because they protect two things. `in_flight` protects the process: a request holds memory, and may hold it for
//! the second of a key refresh or of a slow disk, so there are as many places as are configured and whoever finds none hears
//! `overloaded` before any work. `per_identity` protects whoever pays for the tokens: it counts verified identities, because
//! anything that an unverified caller writes (an issuer, an address behind a proxy) is free to be invented, and it is counted
//! before the policy is asked, because a caller that is refused a thousand times a second costs as much as one that is served.
//!
//! Places are shared fairly: while more than half of them are taken, one identity may hold at most an eighth. Below half nobody
//! is hurt by a burst, and it is let through. Above, a single workload gone wild is stopped at an eighth and hears
//! `rate_limited`, its own fault, and at least seven others would have to go wild with it before anybody else hears
//! `overloaded`. Requests that are not verified yet hold places too and have no name to be held to; they leave after the second
//! that a refresh may take, and at most 64 of them wait for one source.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use quick_cache::sync::Cache;

use super::gcra::Cell;
use super::settings::{LimitSettings, Rate};
use crate::clock::{Lifetime, Timestamp};
use crate::identity::SpiffeId;
use crate::reason::{Refusal, Unavailable};

/// Identities whose rate is remembered, about 100 bytes each. The one that came least is forgotten for a further one, and
/// begins again with a whole burst: a limit that can be outrun by 100,000 verified identities only.
const IDENTITIES: usize = 100_000;

/// Whoever finds no place comes back after this: places are held for milliseconds.
const SOON: Lifetime = Lifetime::from_seconds(1);

/// The places and the cells of one process. They outlive a reload; the settings are those of each request's generation.
#[derive(Debug, Default)]
pub(super) struct Limits {
    taken: AtomicUsize,
    /// Places that identities hold. Entries exist only while a place is held, so there are never more than places.
    held: Mutex<HashMap<u64, usize>>,
    cells: OnceLock<Cache<u64, std::sync::Arc<Cell>>>,
    /// Keyed with random numbers of this process: nobody can look for an identity that shares another's cell.
    hasher: RandomState,
}

/// A place, held until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'l> {
    limits: &'l Limits,
    places: usize,
    identity: Option<u64>,
}

impl Limits {
    /// Takes a place.
    ///
    /// # Errors
    /// `overloaded` when all are taken.
    pub(super) fn enter(&self, settings: &LimitSettings) -> Result<Place<'_>, Refusal> {
        let places = settings.in_flight;
        let before = self.taken.fetch_add(1, Ordering::AcqRel);
        let place = Place { limits: self, places, identity: None };
        if before < places {
            return Ok(place);
        }
        let note = format!("all {places} places are taken (limits.in_flight)");
        Err(Refusal::unavailable(Unavailable::Overloaded, note, SOON))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, identity: u64) -> std::sync::Arc<Cell> {
        let cells = self.cells.get_or_init(|| Cache::new(IDENTITIES));
        let Ok(cell) =
            cells.get_or_insert_with(&identity, || Ok::<_, std::convert::Infallible>(std::sync::Arc::default()));
        cell
    }
}

impl Place<'_> {
    /// Says whose place it is, once that is verified.
    ///
    /// # Errors
    /// `rate_limited` when the identity holds its share of a busy process, or comes more often than it may.
    pub(super) fn is_of(&mut self, id: &SpiffeId, rate: Option<Rate>, at: Timestamp) -> Result<(), Refusal> {
        let identity = self.limits.hasher.hash_one(id);
        self.share(identity)?;
        let Some(rate) = rate else { return Ok(()) };
        self.limits.cell(identity).take(rate, at).map_err(|wait| {
            let note = format!("{id} comes more often than {rate} (limits.per_identity)");
            Refusal::unavailable(Unavailable::RateLimited, note, wait)
        })
    }

    fn share(&mut self, identity: u64) -> Result<(), Refusal> {
        let share = (self.places / 8).max(1);
        let is_busy = self.limits.taken.load(Ordering::Acquire) > self.places / 2;
        let mut held = self.limits.held();
        let own = held.entry(identity).or_default();
        if is_busy && *own >= share {
            let note =
                format!("more than half of {} places are taken, and {own} of them by this identity", self.places);
            return Err(Refusal::unavailable(Unavailable::RateLimited, note, SOON));
        }
        *own += 1;
        self.identity = Some(identity);
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(identity) = self.identity {
            let mut held = self.limits.held();
            if let Some(own) = held.get_mut(&identity) {
                *own -= 1;
                if *own == 0 {
                    held.remove(&identity);
                }
            }
        }
        self.limits.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::reason::Reason;

    const AT: Timestamp = Timestamp::from_seconds(1_790_000_000);
    const RATE_LIMITED: Reason = Reason::Unavailable(Unavailable::RateLimited);

    fn id(name: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://prod.example/{name}")).unwrap()
    }

    fn settings(in_flight: usize) -> LimitSettings {
        LimitSettings { per_identity: None, in_flight }
    }

    #[test]
    fn there_are_as_many_places_as_configured_and_a_reload_changes_them() {
        let limits = Limits::default();
        let (one, two) = (limits.enter(&settings(2)).unwrap(), limits.enter(&settings(2)).unwrap());
        let refusal = limits.enter(&settings(2)).unwrap_err();
        assert_eq!(refusal.reason(), Reason::Unavailable(Unavailable::Overloaded));
        assert_eq!(refusal.retry_after(), Some(SOON));
        assert!(limits.enter(&settings(3)).is_ok(), "another generation has another place");
        drop(one);
        assert!(limits.enter(&settings(2)).is_ok(), "who left made room, and who was refused took none");
        drop(two);
        assert_eq!(limits.taken.load(Ordering::Acquire), 0);
    }

    #[test]
    fn while_half_is_taken_one_identity_holds_an_eighth() {
        let (limits, settings) = (Limits::default(), settings(32));
        let enter = |name: &str| -> Result<Place<'_>, Refusal> {
            let mut place = limits.enter(&settings)?;
            place.is_of(&id(name), None, AT)?;
            Ok(place)
        };
        let mut wild: Vec<_> = (0..16).map(|_| enter("wild").unwrap()).collect();
        assert_eq!(enter("wild").unwrap_err().reason(), RATE_LIMITED, "the seventeenth is over half");
        let others: Vec<_> = (0..4).map(|_| enter("calm").unwrap()).collect();
        assert_eq!(enter("calm").unwrap_err().reason(), RATE_LIMITED, "an eighth for everybody");
        assert!(enter("third").is_ok());
        wild.truncate(3);
        drop(others);
        let _unnamed: Vec<_> = (0..20).map(|_| limits.enter(&settings).unwrap()).collect();
        wild.push(enter("wild").unwrap());
        assert_eq!(enter("wild").unwrap_err().reason(), RATE_LIMITED);
        drop(wild);
        assert!(limits.held().is_empty(), "nothing is kept of who has left");
    }

    #[test]
    fn with_few_places_everybody_may_hold_one() {
        let (limits, settings) = (Limits::default(), settings(1));
        limits.enter(&settings).unwrap().is_of(&id("a"), None, AT).unwrap();
        limits.enter(&settings).unwrap().is_of(&id("a"), None, AT).unwrap();
    }

    #[test]
    fn a_rate_is_of_one_identity_and_is_told_when_to_come_back() {
        let (limits, clock) = (Limits::default(), ManualClock::starting_at(AT));
        let come =
            |name: &str, rate: Rate| limits.enter(&settings(8)).unwrap().is_of(&id(name), Some(rate), clock.now());
        let rate = Rate::parse("2/s").unwrap();
        come("a", rate).unwrap();
        come("a", rate).unwrap();
        let refusal = come("a", rate).unwrap_err();
        assert_eq!((refusal.reason(), refusal.retry_after()), (RATE_LIMITED, Some(Lifetime::from_millis(500))));
        come("b", rate).unwrap();
        clock.advance(Lifetime::from_millis(499));
        assert_eq!(come("a", rate).unwrap_err().retry_after(), Some(Lifetime::from_millis(1)));
        clock.advance(Lifetime::from_millis(1));
        come("a", rate).unwrap();
    }

    #[test]
    fn it_remembers_so_many_identities_and_no_more() {
        let limits = Limits::default();
        for identity in 0..(IDENTITIES as u64 + 5_000) {
            limits.cell(identity).take(Rate::parse("1/s").unwrap(), AT).unwrap();
        }
        assert!(limits.cells.get().unwrap().len() <= IDENTITIES);
    }
}
