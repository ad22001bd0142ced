//! `signing.files`: somebody else writes the keys. We warn, and change nothing.

use std::os::unix::fs::MetadataExt;

use countersign::clock::Lifetime;

use super::front::Front;
use super::verifier::Verifier;
use super::{Dates, Ground, IN_TIME, LOOK, config, run};
use crate::stage::free_address;

/// Slower than the caches that we allow.
const TWELVE_MINUTES: Lifetime = Lifetime::from_minutes(12);

/// A mounted folder with a key that signs; whoever mounted it can add more.
async fn mounted() -> Ground {
    let listen = free_address();
    let mut ground = Ground::with(|world, issuer| {
        let keys = world.directory().join("keys");
        std::fs::create_dir(&keys).unwrap();
        let made = run(world.directory(), &["keys", "new", "--file", "keys/one.json", "--activate-in", "0s"]);
        assert_eq!(made.code, 0, "{}", made.err);
        let public = issuer.trim_start_matches("http://").to_owned();
        config(world, issuer, "signing: { files: ./keys }").replace(&format!("\"{public}\""), &format!("\"{listen}\""))
    })
    .await;
    ground.door = format!("http://{listen}");
    ground
}

/// Adds a key that signs in a quarter of an hour, as the manual says.
async fn add_a_key(ground: &Ground) -> Dates {
    // Files have whole seconds of the machine's time: made in one second, both keys would always have been published together.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let made = run(ground.stage.directory.path(), &["keys", "new", "--file", "keys/two.json"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let added = ground.waiting("ES256");
    // The command has the machine's time, which runs.
    ground.pass(added.publish.plus(LOOK), LOOK, &mut []).await;
    added
}

fn is_untouched(ground: &Ground, dates: &Dates, before: &(Vec<u8>, u64, i64)) {
    assert_eq!(&state(dates), before);
    let names: Vec<_> =
        std::fs::read_dir(ground.keys_folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing is made there, not even a lock: {names:?}");
}

fn state(dates: &Dates) -> (Vec<u8>, u64, i64) {
    let metadata = std::fs::metadata(&dates.file).unwrap();
    (std::fs::read(&dates.file).unwrap(), metadata.ino(), metadata.mtime())
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_mounted_keys_are_warned_about_and_never_changed() {
    let ground = mounted().await;
    let front = Front::start(&ground.stage.issuer, &ground.door).await;
    front.keeps_its_copy().await;
    let mut slow = Verifier::by_hand(&ground.door, ground.now()).await;
    let first = ground.token_is_good(&mut [&mut slow]).await;
    let added = add_a_key(&ground).await;
    let before = state(&added);
    ground.canary_is(&added.key_id, "failed").await;
    let mut at = added.publish.plus(TWELVE_MINUTES);
    ground.pass(at, LOOK, &mut [&mut slow]).await;
    slow.ask(ground.now()).await;
    at = added.activate.minus(IN_TIME);
    ground.pass(at.plus(LOOK), LOOK, &mut []).await;
    let wait = ground.wait_of(&added.key_id);
    assert_eq!(wait["slowest_verifier_seconds"], 720, "{wait}");
    let wanted = added.publish.plus(TWELVE_MINUTES).plus(TWELVE_MINUTES);
    let told = ground.keys(&["status"]).out;
    assert!(told.contains(&format!("should wait until {}", wanted.to_rfc3339())), "{told}");
    assert!(told.contains(&format!("its file says {}", added.activate.to_rfc3339())), "{told}");
    assert!(told.contains("slowest verifier seen 12 m; canary failed: "), "{told}");
    assert_eq!(ground.is_counted("slow_verifier").await, 1.0, "said once, not at every look");
    is_untouched(&ground, &added, &before);
    let refused = ground.keys(&["hold", "--for", "2h"]);
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.err.contains("somebody else writes the signing keys"), "{}", refused.err);

    let signed = ground.pass(added.activate, LOOK, &mut []).await;
    assert_eq!(signed, [first.as_str(), added.key_id.as_str()], "the file decides");
    is_untouched(&ground, &added, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_mounted_keys_that_everybody_knows_are_not_warned_about() {
    let ground = mounted().await;
    let _front = Front::start(&ground.stage.issuer, &ground.door).await;
    let mut prompt = Verifier::every(Lifetime::from_minutes(5), &ground.stage.issuer, ground.now()).await;
    let first = ground.token_is_good(&mut [&mut prompt]).await;
    let added = add_a_key(&ground).await;
    ground.canary_is(&added.key_id, "passed").await;
    let signed = ground.pass(added.activate, LOOK, &mut [&mut prompt]).await;
    assert_eq!(signed, [first.as_str(), added.key_id.as_str()]);
    for cause in ["slow_verifier", "canary", "given_up"] {
        assert_eq!(ground.postponed(cause).await, 0.0, "{cause}");
    }
}
