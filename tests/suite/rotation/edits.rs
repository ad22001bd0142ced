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

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_that_a_person_moved_earlier_is_an_order() {
    let ground = Ground::behind_a_front(|text| text).await;
    let front = Front::start(&ground.stage.issuer, &ground.door).await;
    let first = ground.token_is_good(&mut []).await;
    front.keeps_its_copy().await;
    let planned = ground.rotate();
    ground.pass(planned.publish, LOOK, &mut []).await;
    ground.canary_is(&planned.key_id, "failed").await;
    ground.pass(planned.activate.minus(IN_TIME), LOOK, &mut []).await;
    let moved = ground.is_moved(&planned).await;
    // The cache will never do, and the operator knows better: back to what was planned at first.
    edit(&moved, planned.activate);
    let signed = ground.pass(planned.activate.minus(LOOK), LOOK, &mut []).await;
    assert_eq!(signed, [first.as_str()]);
    assert_eq!(ground.dates_of(&planned.key_id), planned, "it is not moved again");
    let told = ground.keys(&["status"]).out;
    let sentence = format!("signs from {} by order, whoever does not know it yet", planned.activate.to_rfc3339());
    assert!(told.contains(&sentence) && told.contains("canary failed: "), "{told}");
    assert_eq!(ground.wait_of(&planned.key_id)["by_order"], true);
    let signed = ground.pass(planned.activate, LOOK, &mut []).await;
    assert_eq!(signed, [planned.key_id.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_ends_a_wait_and_no_key_signs_before_its_ten_minutes() {
    let ground = Ground::behind_a_front(|text| text).await;
    let first = ground.token_is_good(&mut []).await;
    let planned = ground.rotate();
    ground.pass(planned.publish, LOOK, &mut []).await;
    ground.canary_is(&planned.key_id, "failed").await;
    assert_eq!(ground.rotate(), planned, "asked again, it is the same plan");
    ground.pass(planned.activate.minus(IN_TIME), LOOK, &mut []).await;
    let moved = ground.is_moved(&planned).await;
    let signed = ground.pass(planned.publish.plus(USUAL), LOOK, &mut []).await;
    assert_eq!(signed, [first.as_str()]);
    assert!(ground.dates_of(&planned.key_id).activate >= moved.activate);
    let told = ground.keys(&["rotate"]);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.contains("signs now"), "{}", told.out);
    assert_eq!(ground.dates_of(&planned.key_id).activate, ground.now());
    assert_eq!(ground.token_is_good(&mut []).await, planned.key_id);
}
