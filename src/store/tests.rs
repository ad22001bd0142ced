//! What the store promises.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::clock::{Clock, Lifetime, ManualClock, Timestamp};
use crate::telemetry::Metrics;

struct Shelf {
    folder: PathBuf,
    clock: ManualClock,
    metrics: Metrics,
}

impl Shelf {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("countersign-store-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_790_000_000));
        Self { folder, clock, metrics: Metrics::new("AA") }
    }

    fn open_with(&self, limits: StoreLimits) -> Result<Store, StoreUnopened> {
        Store::open(&self.folder, limits, Arc::new(self.clock.clone()), self.metrics.clone())
    }

    fn open(&self) -> Store {
        self.open_with(StoreLimits::default()).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder.join("store.redb")
    }

    fn claims(&self) -> i64 {
        let text = self.metrics.encode(&[], &[]);
        let line = text.lines().find(|line| line.starts_with("countersign_claims ")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn after(&self, seconds: u32) -> Timestamp {
        self.clock.now().plus(Lifetime::from_seconds(seconds))
    }

    fn once(&self, number: u16) -> Claim {
        Claim { key: key(number), tied_to: None, until: self.after(60) }
    }

    fn tied(&self, number: u16, value: u8) -> Claim {
        Claim { tied_to: Some([value; 32]), ..self.once(number) }
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn key(number: u16) -> ClaimKey {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&number.to_be_bytes());
    key
}

fn revocation(until: Option<Timestamp>) -> Revocation {
    Revocation { from: Timestamp::from_seconds(1), ends: None, until, note: "why".to_owned() }
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}

#[tokio::test]
async fn what_is_had_once_is_had_until_its_time_is_over() {
    let shelf = Shelf::new("once");
    let store = shelf.open();
    assert_eq!(store.claim(vec![shelf.once(1)]).await, Ok(Claimed::First));
    assert_eq!(store.claim(vec![shelf.once(1)]).await, Ok(Claimed::Again(0)));
    assert_eq!(store.claim(vec![shelf.once(2)]).await, Ok(Claimed::First), "another");
    shelf.clock.advance(Lifetime::from_millis(59_999));
    assert_eq!(store.claim(vec![shelf.once(1)]).await, Ok(Claimed::Again(0)));
    shelf.clock.advance(Lifetime::from_millis(1));
    assert_eq!(store.claim(vec![shelf.once(1)]).await, Ok(Claimed::First), "swept or not");
    assert_eq!(store.claim(vec![shelf.once(1)]).await, Ok(Claimed::Again(0)));
    assert_eq!(mode(&shelf.file()), 0o600);
}

#[tokio::test]
async fn several_claims_are_made_together_or_not_at_all() {
    let shelf = Shelf::new("together");
    let store = shelf.open();
    assert_eq!(store.claim(vec![shelf.once(2)]).await, Ok(Claimed::First));
    assert_eq!(store.claim(vec![shelf.once(1), shelf.once(2), shelf.once(3)]).await, Ok(Claimed::Again(1)));
    assert_eq!(store.claim(vec![shelf.once(1), shelf.once(3)]).await, Ok(Claimed::First), "nothing was burnt");
    assert_eq!(store.claim(vec![shelf.once(4), shelf.once(4)]).await, Ok(Claimed::Again(1)), "twice in one call");
    assert_eq!(store.claim(vec![shelf.once(4)]).await, Ok(Claimed::First));
}

#[tokio::test]
async fn the_first_value_of_a_tie_stays() {
    let shelf = Shelf::new("tie");
    let store = shelf.open();
    for _ in 0..2 {
        assert_eq!(store.claim(vec![shelf.tied(1, 7)]).await, Ok(Claimed::First));
        assert_eq!(store.claim(vec![shelf.tied(1, 8)]).await, Ok(Claimed::Again(0)));
        assert_eq!(store.claim(vec![shelf.once(1)]).await, Ok(Claimed::Again(0)), "a tie is no once");
    }
    shelf.clock.advance(Lifetime::from_seconds(60));
    assert_eq!(store.claim(vec![shelf.tied(1, 8)]).await, Ok(Claimed::First), "its time was over");
    assert_eq!(store.claim(vec![shelf.tied(1, 7)]).await, Ok(Claimed::Again(0)));
}

#[tokio::test]
async fn of_many_at_a_time_one_is_first() {
    let shelf = Shelf::new("race");
    let store = shelf.open();
    let claim = shelf.once(1);
    let racers: Vec<_> = (0..200)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.claim(vec![claim]).await })
        })
        .collect();
    let mut first = 0;
    for racer in racers {
        first += usize::from(racer.await.unwrap() == Ok(Claimed::First));
    }
    assert_eq!(first, 1);
}

#[tokio::test]
async fn lim_05_full_is_refused_and_what_is_over_makes_room() {
    let shelf = Shelf::new("full");
    let store = shelf.open_with(StoreLimits { claims: 10, ..StoreLimits::default() }).unwrap();
    for number in 0..10 {
        assert_eq!(store.claim(vec![shelf.once(number)]).await, Ok(Claimed::First));
    }
    assert!(matches!(store.claim(vec![shelf.once(10)]).await, Err(StoreFault::Full(_))));
    assert_eq!(store.claim(vec![shelf.once(3)]).await, Ok(Claimed::Again(0)), "what is there is still known");
    shelf.clock.advance(Lifetime::from_seconds(60));
    assert_eq!(store.claim(vec![shelf.once(10)]).await, Ok(Claimed::First));
    assert_eq!(shelf.claims(), 1, "what was over has left");
}

#[tokio::test]
async fn what_is_over_leaves_by_the_clock_and_at_the_start() {
    let shelf = Shelf::new("sweep");
    let store = shelf.open();
    let (early, late) = (Some(shelf.after(60)), Some(shelf.after(600)));
    for (name, until) in [("early", early), ("late", late), ("never", None)] {
        store.revise(RevocationKind::Token, name, move |_| Some(revocation(until))).await.unwrap();
    }
    let long = Claim { until: shelf.after(600), ..shelf.once(1) };
    assert_eq!(store.claim(vec![long, shelf.once(2), shelf.tied(3, 1)]).await, Ok(Claimed::First));
    store.forget().await.unwrap();
    assert_eq!((shelf.claims(), store.revocations().len()), (3, 3), "not before its time");
    shelf.clock.advance(Lifetime::from_seconds(60));
    store.forget().await.unwrap();
    let left = store.revocations();
    assert_eq!((shelf.claims(), left.len(), left.count(RevocationKind::Token)), (1, 2, 2));
    assert!(left.find(RevocationKind::Token, "early").is_none());
    store.close();
    shelf.clock.advance(Lifetime::from_seconds(600));
    let store = shelf.open();
    assert_eq!((shelf.claims(), store.revocations().len()), (0, 1));
    assert_eq!(store.revocations().find(RevocationKind::Token, "never"), Some(&revocation(None)));
}

#[tokio::test]
async fn a_start_forgets_more_than_one_transaction_does() {
    let shelf = Shelf::new("many");
    let store = shelf.open();
    for chunk in 0..6 {
        let claims = (0..2_000).map(|number| shelf.once(chunk * 2_000 + number)).collect();
        assert_eq!(store.claim(claims).await, Ok(Claimed::First));
    }
    store.close();
    shelf.clock.advance(Lifetime::from_seconds(60));
    drop(shelf.open());
    assert_eq!(shelf.claims(), 0);
}

#[tokio::test]
async fn rev_09_everything_is_there_after_a_restart() {
    let shelf = Shelf::new("restart");
    let store = shelf.open();
    let full = Revocation { ends: Some(shelf.after(5)), ..revocation(Some(shelf.after(60))) };
    let kept = full.clone();
    store.revise(RevocationKind::Identity, "spiffe://a/b", move |_| Some(kept)).await.unwrap();
    assert_eq!(store.claim(vec![shelf.once(1), shelf.tied(2, 1)]).await, Ok(Claimed::First));
    for _ in 0..2 {
        store.close();
        assert_eq!(store.claim(vec![shelf.once(9)]).await, Err(StoreFault::Closed));
        let again = shelf.open();
        assert_eq!(again.revocations().find(RevocationKind::Identity, "spiffe://a/b"), Some(&full));
        assert_eq!(again.claim(vec![shelf.once(1)]).await, Ok(Claimed::Again(0)));
        assert_eq!(again.claim(vec![shelf.tied(2, 2)]).await, Ok(Claimed::Again(0)));
        assert_eq!(again.claim(vec![shelf.tied(2, 1)]).await, Ok(Claimed::First));
        again.close();
    }
}

#[tokio::test]
async fn a_revocation_is_seen_by_who_looks_after_the_answer_and_by_nobody_who_looked_before() {
    let shelf = Shelf::new("snapshot");
    let store = shelf.open();
    let before = store.revocations();
    let made = store.revise(RevocationKind::Source, "prod", |before| {
        assert_eq!(before, None);
        Some(revocation(None))
    });
    assert_eq!(made.await, Ok(Some(revocation(None))));
    assert!(before.is_empty() && before.find(RevocationKind::Source, "prod").is_none());
    let after = store.revocations();
    assert!(after.find(RevocationKind::Source, "prod").is_some());
    assert!(after.find(RevocationKind::Identity, "prod").is_none(), "kinds are apart");
    let kept = store.revise(RevocationKind::Source, "prod", |before| {
        assert!(before.is_some());
        None
    });
    assert_eq!(kept.await, Ok(Some(revocation(None))));
}

#[tokio::test]
async fn rev_09_tokens_leave_room_for_what_operators_revoke() {
    let shelf = Shelf::new("room");
    let limits = StoreLimits { revocations: 5, tokens: 3, ..StoreLimits::default() };
    let store = shelf.open_with(limits).unwrap();
    let revoke = async |kind, name: &str| store.revise(kind, name, |_| Some(revocation(None))).await;
    for name in ["a", "b", "c"] {
        revoke(RevocationKind::Token, name).await.unwrap();
    }
    assert!(matches!(revoke(RevocationKind::Token, "d").await, Err(StoreFault::Full(_))));
    revoke(RevocationKind::Token, "a").await.unwrap();
    revoke(RevocationKind::Identity, "d").await.unwrap();
    revoke(RevocationKind::Key, "e").await.unwrap();
    assert!(matches!(revoke(RevocationKind::Identity, "f").await, Err(StoreFault::Full(_))));
    assert_eq!(store.revocations().len(), 5);
}

#[test]
fn a_second_owner_is_turned_away() {
    let shelf = Shelf::new("second");
    let store = shelf.open();
    let refused = shelf.open_with(StoreLimits::default()).unwrap_err();
    assert!(matches!(&refused, StoreUnopened::InUse(path) if *path == shelf.file()), "{refused}");
    store.close();
    drop(shelf.open());
}

#[test]
fn a_damaged_file_says_so_and_is_left_as_it_is() {
    let shelf = Shelf::new("damaged");
    shelf.open().close();
    let whole = std::fs::read(shelf.file()).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    let zeroed: Vec<u8> = whole.iter().enumerate().map(|(at, byte)| if at < 4096 { *byte } else { 0 }).collect();
    for (what, text) in
        [("empty", vec![]), ("foreign", b"not a store".repeat(1000)), ("half", half), ("zeroed", zeroed)]
    {
        std::fs::write(shelf.file(), &text).unwrap();
        let refused = shelf.open_with(StoreLimits::default()).expect_err(what);
        let told = refused.to_string();
        assert!(matches!(refused, StoreUnopened::Damaged { .. }), "{what}: {told}");
        assert!(told.contains("store.redb") && told.contains("every revocation is forgotten"), "{what}: {told}");
    }
    std::fs::write(shelf.file(), whole).unwrap();
    drop(shelf.open());
}

#[tokio::test]
async fn a_disk_that_takes_nothing_forgets_nothing_and_promises_nothing() {
    let shelf = Shelf::new("disk");
    let new = shelf.folder.join("store.new");
    std::fs::create_dir_all(new.join("in the way")).unwrap();
    let store = shelf.open();
    assert!(store.revocations().is_empty() && !store.works(), "there was nothing to read");
    assert!(matches!(store.claim(vec![shelf.once(1)]).await, Err(StoreFault::Failed(_))));
    std::fs::remove_dir_all(&new).unwrap();
    assert!(matches!(store.claim(vec![shelf.once(1)]).await, Err(StoreFault::Failed(_))), "not at every request");
    shelf.clock.advance(Lifetime::from_seconds(1));
    assert_eq!(store.claim(vec![shelf.once(1)]).await, Ok(Claimed::First), "it works again by itself");
    assert!(store.works());
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_says_so() {
    let shelf = Shelf::new("folder");
    std::fs::write(&shelf.folder, "a file").unwrap();
    let refused = shelf.open_with(StoreLimits::default()).unwrap_err();
    assert!(matches!(refused, StoreUnopened::Unreadable { .. }), "{refused}");
    std::fs::remove_file(&shelf.folder).unwrap();
}
