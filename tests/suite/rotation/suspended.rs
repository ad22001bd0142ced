//! A process that was suspended between a plan and its file: by then the plan's dates are past.

use std::fs::File;

use countersign::clock::Lifetime;

use super::verifier::Verifier;
use super::{Ground, LOOK, USUAL};
use crate::stage::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_a_key_whose_file_comes_late_is_published_before_it_signs_all_the_same() {
    for away in [Lifetime::ZERO, Lifetime::from_minutes(11), Lifetime::from_hours(30)] {
        let ground = Ground::new().await;
        let first = ground.token_is_good(&mut []).await;
        let lock = File::options().write(true).open(ground.keys_folder().join(".lock")).unwrap();
        lock.lock().unwrap();
        let asked = std::thread::scope(|scope| {
            let rotating = scope.spawn(|| ground.keys(&["rotate"]));
            // The plan is made, and waits for the lock.
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert!(!rotating.is_finished(), "it waits");
            ground.stage.clock.advance(away);
            drop(lock);
            rotating.join().unwrap()
        });
        assert_eq!(asked.code, 0, "{}", asked.err);
        let late = ground.now();
        // Whoever reads the set just before the file is there keeps that copy for as long as he may.
        let planned = ground.waiting("ES256");
        assert!(planned.activate >= late.plus(USUAL), "after {away}: {planned:?}, written at {late:?}");
        let mut prompt = Verifier::every(Lifetime::from_minutes(5), &ground.door, ground.now()).await;
        ground.pass(planned.publish, LOOK, &mut [&mut prompt]).await;
        ground.canary_is(&planned.key_id, "passed").await;
        let signed = ground.pass(planned.activate, LOOK, &mut [&mut prompt]).await;
        assert_eq!(signed, [first.as_str(), planned.key_id.as_str()], "after {away}");
        eventually("its dates stay", || ground.dates_of(&planned.key_id) == planned).await;
    }
}
