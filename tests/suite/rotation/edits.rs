//! Dates that a person has written: later ones stay, and earlier ones are an order that is followed and told.

use countersign::clock::{Lifetime, Timestamp};
use serde_json::Value;

use super::front::Front;
use super::verifier::Verifier;
use super::{Dates, Ground, IN_TIME, LOOK, USUAL};

/// Slower than the caches that we allow.
const NINE_MINUTES: Lifetime = Lifetime::from_minutes(9);

/// Writes another activation into the file, as an editor does that replaces files.
fn edit(dates: &Dates, activate: Timestamp) {
    let mut text: Value = serde_json::from_slice(&std::fs::read(&dates.file).unwrap()).unwrap();
    text["activate"] = activate.to_rfc3339().into();
    let beside = dates.file.with_extension("edited");
    std::fs::write(&beside, text.to_string()).unwrap();
    std::fs::rename(beside, &dates.file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_an_activation_that_a_person_moved_later_stays_where_it_is() {
    let ground = Ground::new().await;
    let mut slow = Verifier::by_hand(&ground.door, ground.now()).await;
    let first = ground.token_is_good(&mut [&mut slow]).await;
    let planned = ground.rotate();
    ground.pass(planned.publish, LOOK, &mut [&mut slow]).await;
    ground.canary_is(&planned.key_id, "passed").await;
    let wanted = planned.publish.plus(Lifetime::from_hours(1));
    edit(&planned, wanted);
    ground.pass(planned.publish.plus(NINE_MINUTES), LOOK, &mut [&mut slow]).await;
    slow.ask(ground.now()).await;
    // The slow verifier asks for less than that, and so do the caches: nothing is moved, least of all back.
    let signed = ground.pass(wanted.minus(LOOK), LOOK, &mut [&mut slow]).await;
    assert_eq!(signed, [first.as_str()]);
    assert_eq!(ground.dates_of(&planned.key_id), Dates { activate: wanted, ..planned.clone() });
    let told = ground.keys(&["status"]).out;
    assert!(told.contains(&format!("waits until {}", wanted.to_rfc3339())), "{told}");
    assert_eq!(ground.pass(wanted, LOOK, &mut [&mut slow]).await, [planned.key_id.as_str()]);
    assert_eq!(ground.postponed("slow_verifier").await, 0.0);
}

/// A key that waits for a front with an old copy, one minute before it would have signed, and the key that signs.
async fn kept_waiting() -> (Ground, Front, String, Dates) {
    let ground = Ground::behind_a_front(|text| text).await;
    let front = Front::start(&ground.stage.issuer, &ground.door).await;
    let first = ground.token_is_good(&mut []).await;
    front.keeps_its_copy().await;
    let planned = ground.rotate();
    ground.pass(planned.publish, LOOK, &mut []).await;
    ground.canary_is(&planned.key_id, "failed").await;
    ground.pass(planned.activate.minus(IN_TIME), LOOK, &mut []).await;
    ground.is_moved(&planned).await;
    (ground, front, first, planned)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_that_only_a_person_writes_is_an_order() {
    let (ground, _front, first, planned) = kept_waiting().await;
    // Under ten minutes after the publication: the operator knows better than the canary.
    let ordered = planned.activate.minus(LOOK);
    let in_a_moment = Dates { activate: ordered, ..planned.clone() };
    assert!(ground.now() < ordered.minus(LOOK));
    edit(&planned, ordered);
    let signed = ground.pass(ordered.minus(LOOK), LOOK, &mut []).await;
    assert_eq!(signed, [first.as_str()]);
    assert_eq!(ground.dates_of(&planned.key_id), in_a_moment, "it is not moved again");
    let told = ground.keys(&["status"]).out;
    let sentence = format!("signs from {} by order, whoever does not know it yet", ordered.to_rfc3339());
    assert!(told.contains(&sentence) && told.contains("canary failed: "), "{told}");
    assert_eq!(ground.wait_of(&planned.key_id)["by_order"], true);
    let signed = ground.pass(ordered, LOOK, &mut []).await;
    assert_eq!(signed, [planned.key_id.as_str()]);
    assert_eq!(ground.dates_of(&planned.key_id), in_a_moment);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_that_a_person_put_into_the_past_is_not_taken_back() {
    let (ground, _front, first, planned) = kept_waiting().await;
    assert_eq!(ground.token_is_good(&mut []).await, first);
    edit(&planned, planned.publish);
    ground.stage.advance(LOOK).await;
    ground.looked_after("the file is read", || ground.wait_of(&planned.key_id).is_null()).await;
    let signed = ground.pass(planned.activate.plus(USUAL), LOOK, &mut []).await;
    assert_eq!(signed, [planned.key_id.as_str()]);
    assert_eq!(ground.dates_of(&planned.key_id).activate, planned.publish);
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_a_plan_of_a_person_waits_as_our_own_plans_do() {
    let (ground, front, first, planned) = kept_waiting().await;
    let later = ground.dates_of(&planned.key_id).activate;
    // Ten minutes after the publication or more is a date as we write it: who cannot know the key is waited for all the same.
    edit(&planned, planned.activate);
    ground.stage.advance(LOOK).await;
    let moved = ground.is_moved(&planned).await;
    assert!(moved.activate >= later.minus(LOOK), "{moved:?}");
    assert_eq!(ground.pass(planned.activate, LOOK, &mut []).await, [first.as_str()]);
    front.shows_what_there_is();
    ground.pass(ground.now().plus(Lifetime::from_seconds(30)), LOOK, &mut []).await;
    ground.canary_is(&planned.key_id, "passed").await;
    let last = ground.dates_of(&planned.key_id).activate;
    assert_eq!(ground.pass(last, LOOK, &mut []).await, [first.as_str(), planned.key_id.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_keys_rotate_hurries_a_key_that_is_known_and_no_other() {
    let (ground, front, first, planned) = kept_waiting().await;
    ground.pass(planned.activate.plus(LOOK), LOOK, &mut []).await;
    let told = ground.keys(&["rotate"]);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(ground.waiting("ES256").activate > ground.now(), "{}", told.out);
    assert_eq!(ground.token_is_good(&mut []).await, first, "the cache does not have it: {}", told.out);
    front.shows_what_there_is();
    let held = ground.keys(&["hold", "--for", "2h"]);
    assert_eq!(held.code, 0, "{}", held.err);
    ground.pass(ground.now().plus(Lifetime::from_seconds(30)), LOOK, &mut []).await;
    ground.canary_is(&planned.key_id, "passed").await;
    assert_eq!(ground.token_is_good(&mut []).await, first, "held");
    let told = ground.keys(&["rotate"]);
    assert!(told.out.contains("signs now"), "{}{}", told.out, told.err);
    assert_eq!(ground.token_is_good(&mut []).await, planned.key_id);
    assert_eq!(ground.dates_of(&planned.key_id).activate, ground.now());
}
