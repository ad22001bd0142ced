//! Two services on one folder of keys: one writes at a time, under the lock, and the other follows.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use countersign::app::{App, Records, Start};
use countersign::clock::{Lifetime, Timestamp};
use countersign::config::Environment;
use countersign::entropy::SystemEntropy;

use super::verifier::Verifier;
use super::{Dates, Ground, LOOK, USUAL, run};
use crate::stage::{RecordLines, eventually, free_address};

/// Slower than the caches that we allow.
const EIGHT_MINUTES: Lifetime = Lifetime::from_minutes(8);

/// A second service on the folder of the first, with an address and a state of its own.
struct Other {
    app: Arc<App>,
    door: String,
}

impl Other {
    async fn beside(ground: &Ground) -> Self {
        let (directory, listen) = (ground.stage.directory.path(), free_address());
        let text = std::fs::read_to_string(directory.join("countersign.yaml")).unwrap();
        let own = ground.door.trim_start_matches("http://");
        let text = text.replace(&format!("\"{own}\""), &format!("\"{listen}\"")).replace("./state", "./state-other");
        std::fs::write(directory.join("other.yaml"), text).unwrap();
        let start = Start {
            config: directory.join("other.yaml"),
            environment: Environment::default(),
            clock: Arc::new(ground.stage.clock.clone()),
            entropy: Arc::new(SystemEntropy),
            records: Records::Writer(Box::new(RecordLines::default())),
        };
        let app = App::start(start).await.unwrap_or_else(|error| panic!("{error}"));
        eventually("every source has keys", || app.trust().status().iter().all(|source| source.keys > 0)).await;
        Self { app, door: format!("http://{listen}") }
    }

    /// It has had the time to read the folder at this moment.
    async fn has_read(&self, ground: &Ground) {
        let ring = self.app.exchange().issuer().ring();
        for _ in 0..30 {
            if ring.read_at() >= ground.now() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn signer(&self, ground: &Ground) -> String {
        let answer = ground.exchange(&self.door).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.token_header()["kid"].as_str().unwrap().to_owned()
    }
}

/// Which file it is: every change puts a new one in the old one's place.
fn inode(dates: &Dates) -> u64 {
    std::fs::metadata(&dates.file).unwrap().ino()
}

/// What each of the two says about the key that waits.
fn told_by_the_other(ground: &Ground) -> String {
    let directory = ground.stage.directory.path();
    run(directory, &["keys", "status", "--state", directory.join("state-other").to_str().unwrap()]).out
}

/// Both have looked at this moment, and so has whoever looks after the dates.
async fn both_look(ground: &Ground, other: &Other, until: Timestamp) {
    while ground.now() < until {
        ground.stage.advance(until.since(ground.now()).min(LOOK)).await;
        ground.folder_is_read().await;
        other.has_read(ground).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_what_one_service_has_seen_makes_both_wait() {
    let ground = Ground::new().await;
    let other = Other::beside(&ground).await;
    let mut slow = Verifier::by_hand(&ground.door, ground.now()).await;
    let first = ground.token_is_good(&mut []).await;
    assert_eq!(other.signer(&ground).await, first);
    let planned = ground.rotate();
    both_look(&ground, &other, planned.publish).await;
    ground.canary_is(&planned.key_id, "passed").await;
    eventually("the other's canary has passed", || told_by_the_other(&ground).contains("canary passed")).await;
    both_look(&ground, &other, planned.publish.plus(EIGHT_MINUTES)).await;

    // Somebody else writes: nobody here does, and nothing is lost.
    let lock = File::options().write(true).open(ground.keys_folder().join(".lock")).unwrap();
    lock.lock().unwrap();
    let before = inode(&planned);
    slow.ask(ground.now()).await;
    ground.stage.advance(LOOK).await;
    other.has_read(&ground).await;
    assert_eq!(ground.wait_of(&planned.key_id)["slowest_verifier_seconds"], 480, "it knows");
    assert_eq!(
        (ground.dates_of(&planned.key_id), inode(&planned)),
        (planned.clone(), before),
        "and waits for the lock"
    );
    drop(lock);
    let moved = ground.is_moved(&planned).await;
    let after = inode(&planned);
    assert_eq!(moved.activate, planned.publish.plus(EIGHT_MINUTES).plus(EIGHT_MINUTES));

    both_look(&ground, &other, planned.activate.plus(LOOK)).await;
    let told = told_by_the_other(&ground);
    assert!(told.contains("no slower verifier seen"), "it has seen nobody itself: {told}");
    assert!(told.contains(&format!("waits until {}", moved.activate.to_rfc3339())), "and follows the file: {told}");
    assert_eq!((ground.token_is_good(&mut [&mut slow]).await, other.signer(&ground).await), (first.clone(), first));
    both_look(&ground, &other, moved.activate).await;
    let new = planned.key_id.clone();
    assert_eq!((ground.token_is_good(&mut [&mut slow]).await, other.signer(&ground).await), (new.clone(), new));
    assert_eq!(inode(&planned), after, "written once, by one of them");
    other.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_two_services_that_nobody_keeps_waiting_change_together() {
    let ground = Ground::new().await;
    let other = Other::beside(&ground).await;
    let first = ground.token_is_good(&mut []).await;
    let planned = ground.rotate();
    both_look(&ground, &other, planned.publish).await;
    ground.canary_is(&planned.key_id, "passed").await;
    eventually("the other's canary has passed", || told_by_the_other(&ground).contains("canary passed")).await;
    let before = inode(&planned);
    both_look(&ground, &other, planned.activate.minus(LOOK)).await;
    assert_eq!((ground.token_is_good(&mut []).await, other.signer(&ground).await), (first.clone(), first));
    both_look(&ground, &other, planned.activate).await;
    let new = planned.key_id.clone();
    assert_eq!((ground.token_is_good(&mut []).await, other.signer(&ground).await), (new.clone(), new));
    assert_eq!((ground.dates_of(&planned.key_id), inode(&planned)), (planned.clone(), before));
    assert_eq!(planned.activate, planned.publish.plus(USUAL));
    other.app.stop().await;
}
