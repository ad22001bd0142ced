//! THE FAULT MATRIX: each kind of key source against each fault, what becomes of its keys, and how many requests that costs.
//!
//! A cell starts one source that is well, spoils it in one respect, and lets exactly one attempt (or message) pass. Then it is as
//! the table says, at that cost; last good keys end at `max_stale`; and once the fault is gone the source heals by itself.

mod beside;
mod bundles;
mod owner;
mod sources;
mod ways;

use futures_util::future::join_all;

use self::Column::{ApiServer, BundleSpiffe, BundleWeb, Discovery, File, JwksUrl, Push, WorkloadApi};
use self::Fault::*;
use self::sources::Subject;
use super::*;

/// How a source gets its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    WorkloadApi,
    /// A bundle endpoint that is known by its name (`https_web`).
    BundleWeb,
    /// A bundle endpoint that is known by its X.509-SVID (`https_spiffe`).
    BundleSpiffe,
    Discovery,
    JwksUrl,
    ApiServer,
    File,
    Push,
}

const COLUMNS: [Column; 8] = [WorkloadApi, BundleWeb, BundleSpiffe, Discovery, JwksUrl, ApiServer, File, Push];

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    DownAtStart,
    DownLater,
    /// It answers after five seconds.
    Slow,
    /// It takes the question and never answers.
    Hangs,
    TenMegabytes,
    Garbage,
    /// To somebody on 127.0.0.2 who counts visits.
    Redirect,
    /// It speaks for another. A bundle names nobody: there its server shows another name, or another SPIFFE ID.
    WrongIssuer,
    /// It is who it should be, and nobody whom we know vouches for that.
    OtherAuthority,
    /// A key of a type that nobody knows, beside a new good one.
    OneBadKey,
    Empty,
    /// A new key, and the old one withdrawn.
    Rotated,
    /// The set before the last one again; of a bundle with its number, as somebody would serve it who kept it.
    RolledBack,
}

/// What becomes of the keys, and how many requests arrive at the source.
#[derive(Clone, Copy, Debug)]
enum Cell {
    /// There never were keys: callers hear 503, and the operator this.
    Without(u64, &'static str),
    /// The last good keys serve until `max_stale`, and the operator hears this.
    Kept(u64, &'static str),
    /// The last good keys serve until `max_stale`. Nobody was heard, so there is nothing to tell but their age.
    Unheard,
    /// What the source says now is what counts.
    Followed(u64),
    /// What the source says less counts, what it says more does not, and the operator hears this.
    Narrowed(u64, &'static str),
    /// Everything by this source is refused.
    Withdrawn(u64),
    /// It never comes this far: this test of the suite (`tests/suite/pushes`) plays it through the door.
    AtTheDoor(&'static str),
    /// There is no such cell, because.
    Never(&'static str),
}

use self::Cell::{AtTheDoor, Followed, Kept, Narrowed, Never, Unheard, Withdrawn, Without};

const GONE: &str = "cannot be reached";
const LATE: &str = "within 10 s";
const LONG: &str = "more than 1048576 bytes";
const STAYS: &str = "redirects are not followed";
const NO_SET: &str = "is no key set";
const NO_BUNDLE: &str = "is no bundle";
const OLDER: &str = "its bundle has spiffe_sequence 1, and an earlier one had";
const STRANGER: &str = "is not signed by an authority in";
const NOT_ASKED: &str = "we ask nobody: whoever pushes comes to our door, with its own limits";
const NO_ISSUER: &str = "a key set names no issuer; the token's is compared when it is verified";
/// The test that plays them for a source whose keys are pushed.
const FAULTS_OF_A_PUSH: &str = "jwk_14_jwk_15_what_is_wrong_with_a_push_changes_no_key_and_asks_nobody";
const NO_TLS: &str = "there is no TLS";

#[rustfmt::skip]
const TABLE: [(Fault, [Cell; COLUMNS.len()]); 13] = [
    // fault: Workload API, bundle by https_web, bundle by https_spiffe, discovery,
    //        JWKS URL, API server, file, push
    (DownAtStart, [
        Without(0, GONE), Without(0, "GET https://"), Without(0, "GET https://"), Without(0, "GET https://"),
        Without(0, "GET https://"), Without(0, "GET https://"), Without(0, "cannot be read"), Without(0, "cannot be read")]),
    (DownLater, [
        Kept(0, "the agent "), Kept(0, "GET https://"), Kept(0, "GET https://"), Kept(0, "GET https://"),
        Kept(0, "GET https://"), Kept(0, "GET https://"), Kept(0, "cannot be read"), Unheard]),
    (Slow, [
        Followed(1), Followed(1), Followed(1), Followed(2),
        Followed(1), Followed(1), Never("a slow mount is one that hangs: a thread waits, and no request"), Never(NOT_ASKED)]),
    (Hangs, [
        Kept(0, LATE), Kept(1, LATE), Kept(1, LATE), Kept(1, LATE),
        Kept(1, LATE), Kept(1, LATE), Kept(0, "is no file"), Never(NOT_ASKED)]),
    (TenMegabytes, [
        Kept(0, "message length"), Kept(1, LONG), Kept(1, LONG), Kept(1, LONG),
        Kept(1, LONG), Kept(1, LONG), Kept(0, LONG), AtTheDoor(FAULTS_OF_A_PUSH)]),
    (Garbage, [
        Kept(0, "was dropped"), Kept(1, NO_BUNDLE), Kept(1, NO_BUNDLE), Kept(1, "discovery document"),
        Kept(1, NO_SET), Kept(1, NO_SET), Kept(0, NO_SET), AtTheDoor(FAULTS_OF_A_PUSH)]),
    (Redirect, [
        Never("gRPC has none"), Kept(1, "is another host"), Kept(1, "is another host"), Kept(1, STAYS),
        Kept(1, STAYS), Kept(1, STAYS), Never("a link is how a ConfigMap is swapped: the path stays the operator's"), Never(NOT_ASKED)]),
    (WrongIssuer, [
        Withdrawn(1), Kept(0, "for another name"), Kept(0, "the source has server_id"), Kept(1, "is of issuer"),
        Never(NO_ISSUER), Never(NO_ISSUER), Never(NO_ISSUER), AtTheDoor(FAULTS_OF_A_PUSH)]),
    (OtherAuthority, [
        Never(NO_TLS), Kept(0, STRANGER), Kept(0, "none of 1 X.509 authorities of prod.example"), Kept(0, STRANGER),
        Kept(0, STRANGER), Kept(0, STRANGER), Never(NO_TLS), Never(NOT_ASKED)]),
    (OneBadKey, [
        Followed(0), Followed(1), Followed(1), Followed(2),
        Followed(1), Followed(1), Followed(0), Followed(0)]),
    (Empty, [
        Withdrawn(0), Withdrawn(1), Withdrawn(1), Withdrawn(2),
        Withdrawn(1), Withdrawn(1), Withdrawn(0), Never("a set holds the key that verified its push, so none is empty")]),
    (Rotated, [
        Followed(0), Followed(1), Followed(1), Followed(2),
        Followed(1), Followed(1), Followed(0), Followed(0)]),
    (RolledBack, [
        Followed(0), Narrowed(1, OLDER), Narrowed(1, OLDER), Followed(2),
        Followed(1), Followed(1), Followed(0), Unheard]),
];

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_jwk_14_jwk_15_bun_02_wap_06_every_source_against_every_fault() {
    let cells = TABLE
        .into_iter()
        .flat_map(|(fault, row)| COLUMNS.into_iter().zip(row).map(move |(column, cell)| (fault, column, cell)));
    let running = cells.map(|(fault, column, cell)| async move {
        let played = tokio::spawn(play(fault, column, cell)).await;
        played.err().map(|_panicked| format!("{fault:?} of {column:?}: {cell:?}"))
    });
    let wrong: Vec<String> = join_all(running).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} cells (why stands above):\n{}", wrong.len(), wrong.join("\n"));
}

async fn play(fault: Fault, column: Column, cell: Cell) {
    match cell {
        Never(why) => return assert!(!why.is_empty()),
        AtTheDoor(test) => return assert!(is_a_test_of_the_door(test), "{test}"),
        _ => {}
    }
    let mut subject = Subject::of(column, fault).await;
    let about = format!("{fault:?} of {column:?}");
    let known = subject.published();
    if fault != DownAtStart {
        assert_eq!(subject.held(), Some(known.clone()), "{about}: well at first");
    }
    let began = subject.stand.now();
    let (requests, skipped) = (subject.requests(), subject.status().skipped);
    subject.spoil(fault).await;
    subject.one_attempt(fault).await;
    let says = |text: &str| subject.status().last_error.is_some_and(|why| why.contains(text));
    let count = match cell {
        Without(count, text) => {
            subject.until(&format!("{about}: shown"), || says(text)).await;
            assert_eq!(subject.held(), None, "{about}");
            count
        }
        Kept(count, text) => {
            subject.until(&format!("{about}: shown"), || says(text)).await;
            assert_eq!(subject.held(), Some(known), "{about}");
            let end = began.plus(Lifetime::from_hours(25));
            assert_eq!(subject.held_at(end), None, "{about}: closed after max_stale");
            count
        }
        Unheard => {
            assert_eq!((subject.held(), subject.is_well()), (Some(known), true), "{about}");
            assert_eq!(subject.held_at(began.plus(Lifetime::from_hours(25))), None, "{about}: closed");
            0
        }
        Followed(count) => {
            let truth = subject.published();
            subject
                .until(&format!("{about}: followed"), || subject.held().as_ref() == Some(&truth) && subject.is_well())
                .await;
            assert!(!truth.is_empty());
            count
        }
        Narrowed(count, text) => {
            let common: BTreeSet<String> = known.intersection(&subject.published_before()).cloned().collect();
            assert!(!common.is_empty() && common != known && common != subject.published_before());
            subject.until(&format!("{about}: shown"), || says(text)).await;
            assert_eq!(subject.held(), Some(common), "{about}");
            let end = began.plus(Lifetime::from_hours(25));
            assert_eq!(subject.held_at(end), None, "{about}: nothing was confirmed");
            count
        }
        Withdrawn(count) => {
            subject.until(&format!("{about}: withdrawn"), || subject.held() == Some(BTreeSet::new())).await;
            assert!(subject.is_well(), "{about}: a withdrawal is no fault");
            count
        }
        AtTheDoor(_) | Never(_) => return,
    };
    assert_eq!(subject.requests(), requests + count, "{about}: requests at the source");
    if fault == OneBadKey {
        assert_eq!(subject.status().skipped, skipped + 1, "{about}: the odd key is counted");
    }
    subject.mend(fault).await;
    subject.healed(&about).await;
    assert_eq!(subject.visits(), 0, "{about}: nobody else was asked");
}

fn is_a_test_of_the_door(name: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/pushes/refused.rs");
    std::fs::read_to_string(path).unwrap().contains(&format!("async fn {name}() {{"))
}
