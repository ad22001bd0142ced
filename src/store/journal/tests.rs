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

fn record(reference: &str) -> Vec<u8> {
    format!(r#"{{"ref":"{reference}","note":"{}"}}"#, "x".repeat(900)).into_bytes()
}

#[test]
fn records_are_found_by_reference_also_after_a_restart() {
    let folder = Folder::new("found");
    let mut journal = Journal::open(&folder.0, 4 << 20).unwrap();
    for number in 0..500 {
        let kept = if number % 2 == 0 { Kept::Refusal } else { Kept::Grant };
        journal.append(kept, &format!("R{number:011}"), &record(&format!("R{number:011}"))).unwrap();
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
    journal.append(Kept::Refusal, "REFUSED", &record("REFUSED")).unwrap();
    for number in 0..5000 {
        journal.append(Kept::Grant, &format!("G{number}"), &record(&format!("G{number}"))).unwrap();
        assert!(folder.bytes() <= limit, "{} > {limit}", folder.bytes());
    }
    let reader = journal.reader();
    assert!(reader.find("REFUSED").unwrap().is_some());
    assert!(reader.find("G4999").unwrap().is_some());
    assert!(reader.find("G0").unwrap().is_none());
    for number in 0..5000 {
        journal.append(Kept::Refusal, &format!("D{number}"), &record(&format!("D{number}"))).unwrap();
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
        journal.append(Kept::Grant, &format!("G{number}"), &record(&format!("G{number}"))).unwrap();
        journal.append(Kept::Refusal, &format!("D{number}"), &record(&format!("D{number}"))).unwrap();
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
        journal.append(Kept::Refusal, reference, &record(reference)).unwrap();
    }
    drop(journal);
    let path = folder.0.join("refusals-0000000001.log");
    for cut in [1, 500, 911] {
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let mut journal = Journal::open(&folder.0, 4 << 20).unwrap();
        assert!(journal.reader().find("A").unwrap().is_some());
        assert!(journal.reader().find("B").unwrap().is_none());
        journal.append(Kept::Refusal, "B", &record("B")).unwrap();
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
