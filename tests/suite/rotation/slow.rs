//! Verifiers that read the key set more seldom than it allows, as conditional requests show them.

use countersign::clock::Lifetime;

use super::verifier::Verifier;
use super::{Ground, LOOK, USUAL};
use crate::stage::part;

/// So seldom asks the slow one.
const NINE_MINUTES: Lifetime = Lifetime::from_minutes(9);
/// As long as `max-age` allows.
const PROMPT: Lifetime = Lifetime::from_minutes(5);

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_a_key_waits_for_the_slowest_verifier_that_was_really_seen() {
    let ground = Ground::new().await;
    let mut prompt = Verifier::every(PROMPT, &ground.door, ground.now()).await;
    let mut slow = Verifier::by_hand(&ground.door, ground.now()).await;
    let first = ground.token_is_good(&mut [&mut prompt, &mut slow]).await;
    let planned = ground.rotate();
    assert_eq!(planned.activate, planned.publish.plus(USUAL));
    ground.pass(planned.publish, LOOK, &mut [&mut prompt, &mut slow]).await;
    ground.canary_is(&planned.key_id, "passed").await;
    let signed = ground.pass(planned.publish.plus(NINE_MINUTES), LOOK, &mut [&mut prompt, &mut slow]).await;
    assert_eq!(signed, [first.as_str()]);
    assert_eq!(ground.dates_of(&planned.key_id), planned, "nobody was slow so far");

    // It has kept the set of before for nine minutes.
    assert_eq!(slow.ask(ground.now()).await.status, 200);
    ground.stage.advance(LOOK).await;
    let moved = ground.is_moved(&planned).await;
    let twice = planned.publish.plus(NINE_MINUTES).plus(NINE_MINUTES);
    assert_eq!(moved.activate, twice, "twice what was seen, from the publication on");
    assert_eq!(ground.is_counted("slow_verifier").await, 1.0);
    let told = ground.keys(&["status"]);
    let sentence = format!(
        "ES256 {}… waits until {} for caches of 5 m; slowest verifier seen 9 m; canary passed\n",
        &planned.key_id[..8],
        twice.to_rfc3339()
    );
    assert!(told.out.contains(&sentence), "{sentence}{}", told.out);
    let wait = ground.wait_of(&planned.key_id);
    assert_eq!((&wait["slowest_verifier_seconds"], &wait["until"]), (&540.into(), &twice.to_rfc3339().into()));
    let ready = ground.stage.admin("/readyz").await.body;
    assert_eq!(ready["own_keys_that_wait"][0], wait, "{ready}");
    let status = ground.command(&["status"]);
    assert_eq!(status.code, 0, "nothing is wrong: {}", status.out);
    assert!(status.out.contains(sentence.trim_end()), "{}", status.out);

    let signed = ground.pass(twice.minus(LOOK), LOOK, &mut [&mut prompt, &mut slow]).await;
    assert_eq!(signed, [first.as_str()], "the one before it signs meanwhile");
    let signed = ground.pass(twice, LOOK, &mut [&mut prompt, &mut slow]).await;
    assert_eq!(signed, [planned.key_id.as_str()], "it has waited long enough");
    let token = ground.exchange(&ground.door).await.body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(part(&token, 0)["kid"], planned.key_id.as_str());
    slow.refuses_what_was_changed(&token);

    // What was seen counts for the next one, before anybody asks.
    let next = ground.rotate();
    ground.pass(next.publish.plus(LOOK), LOOK, &mut [&mut prompt, &mut slow]).await;
    let moved = ground.is_moved(&next).await;
    assert_eq!(moved.activate, next.publish.plus(NINE_MINUTES).plus(NINE_MINUTES));
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_verifiers_who_keep_to_max_age_delay_nothing() {
    let ground = Ground::new().await;
    let mut prompt = Verifier::every(PROMPT, &ground.door, ground.now()).await;
    let first = ground.token_is_good(&mut [&mut prompt]).await;
    let planned = ground.rotate();
    ground.pass(planned.publish.minus(LOOK), LOOK, &mut [&mut prompt]).await;
    // One that asked just before the key was published keeps its copy for as long as it may.
    let mut late = Verifier::every(PROMPT, &ground.door, ground.now()).await;
    // Tags that were never ours tell nothing, and neither does the present one.
    let mut stranger = Verifier::by_hand(&ground.door, ground.now()).await;
    ground.pass(planned.publish, LOOK, &mut [&mut prompt, &mut late]).await;
    ground.canary_is(&planned.key_id, "passed").await;
    let signed = ground.pass(planned.activate.minus(LOOK), LOOK, &mut [&mut prompt, &mut late]).await;
    assert_eq!(signed, [first.as_str()]);
    for tag in ["\"never-ours\"", "*", "W/\"never-ours\", \"nor-this\""] {
        ground.stage.request("GET", "/jwks", &[("if-none-match", tag)]).await;
    }
    assert_eq!(ground.dates_of(&planned.key_id), planned);
    let signed = ground.pass(planned.activate, LOOK, &mut [&mut prompt, &mut late]).await;
    assert_eq!(signed, [planned.key_id.as_str()], "at the moment that was planned");
    for cause in ["slow_verifier", "canary", "given_up"] {
        assert_eq!(ground.postponed(cause).await, 0.0, "{cause}");
    }
    // Seen after the activation, it counts for the next key and not for this one.
    assert_eq!(stranger.ask(ground.now()).await.status, 200);
    ground.pass(ground.now().plus(LOOK), LOOK, &mut [&mut prompt, &mut late]).await;
    assert_eq!(ground.dates_of(&planned.key_id), planned);
}
