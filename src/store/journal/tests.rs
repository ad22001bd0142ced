//! What the journal promises.

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("countersign-journal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn bytes(&self) -> u64 {
        std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Appends and flushes.
fn put(journal: &mut Journal, kept: Kept, reference: &str) {
    journal.append(kept, reference, &record(reference)).unwrap();
    journal.flush().unwrap();
}

fn unsynced(journal: &Journal) -> usize {
    let segments = journal.refusals.segments.iter().chain(&journal.grants.segments);
    segments.filter(|segment| segment.is_unsynced()).count()
}

fn record(reference: &str) -> Vec<u8> {
    format!(r#"{{"ref":"{reference}","note":"{}"}}"#, "x".repeat(900)).into_bytes()
}

#[test]
fn records_are_found_by_reference_also_after_a_restart() {
    let folder = Folder::new("found");
    let mut journal = Journal::open(&folder.0, 4 << 20).unwrap();
    for number in 0..500 {
        let kept = if number % 2 == 0 { Kept::Refusal } else { Kept::Grant };
        put(&mut journal, kept, &format!("R{number:011}"));
    }
    let check = |journal: &Journal| {
        let reader = journal.reader();
        assert_eq!(reader.count(), 500);
        assert_eq!(reader.find("R00000000123").unwrap(), Some(record("R00000000123")));
        assert_eq!(reader.find("R00000000500").unwrap(), None);
    };
    check(&journal);
    assert!(Journal::open(&folder.0, 4 << 20).is_err(), "one process at a time");
    drop(journal);
    check(&Journal::open(&folder.0, 4 << 20).unwrap());
}

#[test]
fn the_limit_is_exact_and_grants_never_push_refusals_out() {
    let folder = Folder::new("limit");
    let limit = SMALLEST_LIMIT;
    let mut journal = Journal::open(&folder.0, limit).unwrap();
    put(&mut journal, Kept::Refusal, "REFUSED");
    for number in 0..5000 {
        put(&mut journal, Kept::Grant, &format!("G{number}"));
        assert!(folder.bytes() <= limit, "{} > {limit}", folder.bytes());
    }
    let reader = journal.reader();
    assert!(reader.find("REFUSED").unwrap().is_some());
    assert!(reader.find("G4999").unwrap().is_some());
    assert!(reader.find("G0").unwrap().is_none());
    for number in 0..5000 {
        put(&mut journal, Kept::Refusal, &format!("D{number}"));
        assert!(folder.bytes() <= limit);
    }
    let before = reader.count();
    drop(journal);
    assert_eq!(Journal::open(&folder.0, limit).unwrap().reader().count(), before);
}

#[test]
fn grants_that_make_room_are_seen_once_more() {
    let folder = Folder::new("fold");
    let mut journal = Journal::open(&folder.0, SMALLEST_LIMIT).unwrap();
    let seen = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let see = Arc::clone(&seen);
    journal.fold_grants(move |records| see.lock().unwrap().extend_from_slice(records));
    for number in 0..3000 {
        put(&mut journal, Kept::Grant, &format!("G{number}"));
        put(&mut journal, Kept::Refusal, &format!("D{number}"));
    }
    let mut all = seen.lock().unwrap().clone();
    assert!(!all.is_empty());
    journal.reader().grants(|record| all.push(record.to_vec())).unwrap();
    let wanted: Vec<Vec<u8>> = (0..3000).map(|number| record(&format!("G{number}"))).collect();
    assert_eq!(all, wanted, "each grant once, in order, and no refusal");
    assert!(folder.bytes() + journal.aside() <= SMALLEST_LIMIT);
}

#[test]
fn a_torn_last_record_is_passed_over_and_writing_goes_on() {
    let folder = Folder::new("torn");
    let mut journal = Journal::open(&folder.0, 4 << 20).unwrap();
    for reference in ["A", "B"] {
        put(&mut journal, Kept::Refusal, reference);
    }
    drop(journal);
    let path = folder.0.join("refusals-0000000001.log");
    for cut in [1, 500, 911] {
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let mut journal = Journal::open(&folder.0, 4 << 20).unwrap();
        assert!(journal.reader().find("A").unwrap().is_some());
        assert!(journal.reader().find("B").unwrap().is_none());
        put(&mut journal, Kept::Refusal, "B");
        assert!(journal.reader().find("B").unwrap().is_some());
    }
    // A flipped byte is found by its checksum.
    let mut whole = std::fs::read(&path).unwrap();
    let last = whole.len() - 10;
    whole[last] ^= 1;
    std::fs::write(&path, &whole).unwrap();
    assert!(Journal::open(&folder.0, 4 << 20).unwrap().reader().find("B").unwrap().is_none());
}

#[test]
fn a_record_that_is_too_long_is_refused() {
    let folder = Folder::new("long");
    let mut journal = Journal::open(&folder.0, 4 << 20).unwrap();
    assert!(journal.append(Kept::Refusal, "L", &vec![b'x'; 64 * 1024]).is_err());
    assert_eq!(journal.reader().count(), 0);
}

#[test]
fn aud_01_a_sync_is_of_every_segment_that_was_written_to() {
    let folder = Folder::new("sync");
    let mut journal = Journal::open(&folder.0, SMALLEST_LIMIT).unwrap();
    for number in 0..200 {
        for kept in [Kept::Refusal, Kept::Grant] {
            journal.append(kept, &format!("S{number}"), &record(&format!("S{number}"))).unwrap();
        }
    }
    journal.flush().unwrap();
    assert!(journal.refusals.segments.len() > 2, "the records of one turn fill several segments");
    assert_eq!(unsynced(&journal), journal.refusals.segments.len() + journal.grants.segments.len());
    journal.sync().unwrap();
    assert_eq!(unsynced(&journal), 0);
    put(&mut journal, Kept::Grant, "T");
    assert_eq!(unsynced(&journal), 1);
}

#[test]
fn a_record_is_found_when_it_was_written_and_not_before() {
    let folder = Folder::new("flush");
    let mut journal = Journal::open(&folder.0, 4 << 20).unwrap();
    for reference in ["A", "B", "C"] {
        journal.append(Kept::Refusal, reference, &record(reference)).unwrap();
        assert_eq!((journal.reader().count(), journal.reader().find(reference).unwrap()), (0, None));
    }
    journal.flush().unwrap();
    for reference in ["A", "B", "C"] {
        assert_eq!(journal.reader().find(reference).unwrap(), Some(record(reference)));
    }
}

#[test]
fn what_a_full_disk_does_not_take_is_told_once_and_nothing_is_written_behind_it() {
    let folder = Folder::new("full");
    let mut journal = Journal::open(&folder.0, 4 << 20).unwrap();
    put(&mut journal, Kept::Refusal, "A");
    journal.refusals.segments.last_mut().unwrap().fill_disk().unwrap();
    for reference in ["B", "C"] {
        journal.append(Kept::Refusal, reference, &record(reference)).unwrap();
    }
    journal.append(Kept::Grant, "D", &record("D")).unwrap();
    assert_eq!(journal.flush().unwrap_err().records, 2);
    journal.flush().unwrap();
    let before = journal.refusals.segments.len();
    put(&mut journal, Kept::Refusal, "E");
    assert_eq!(journal.refusals.segments.len(), before + 1);
    let found = |reference: &str| journal.reader().find(reference).unwrap().is_some();
    assert_eq!(["A", "B", "C", "D", "E"].map(found), [true, false, false, true, true]);
}
