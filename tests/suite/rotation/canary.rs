//! A key is tried through the public URL before it signs: a cache in front that lags, lies or is down delays it, for so long and no longer.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use countersign::clock::{Clock, Lifetime, SystemClock};
use countersign::issue::LONGEST_WAIT;
use countersign::world::x509::{CertificateAuthority, svid_params};

use super::front::Front;
use super::verifier::Verifier;
use super::{Dates, Ground, IN_TIME, LOOK, USUAL, config};

/// Verifiers behind the cache ask as often as they should.
const PROMPT: Lifetime = Lifetime::from_minutes(5);
/// How often a key that waits is tried.
const TRY: Lifetime = Lifetime::from_seconds(30);

/// Lets the key come close to its activation, and returns its new dates: its canary has failed.
async fn comes_close_and_is_postponed(ground: &Ground, dates: &Dates, verifiers: &mut [&mut Verifier]) -> Dates {
    ground.pass(dates.activate.minus(IN_TIME), LOOK, verifiers).await;
    ground.is_moved(dates).await
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_a_cache_with_an_old_key_set_puts_the_activation_off() {
    let ground = Ground::behind_a_front(|text| text).await;
    let front = Front::start(&ground.stage.issuer, &ground.door).await;
    let mut outside = Verifier::every(PROMPT, &ground.stage.issuer, ground.now()).await;
    let first = ground.token_is_good(&mut [&mut outside]).await;
    front.keeps_its_copy().await;
    let planned = ground.rotate();
    ground.pass(planned.publish, LOOK, &mut [&mut outside]).await;
    let wait = ground.canary_is(&planned.key_id, "failed").await;
    let fault = format!("the key set at {}/jwks does not verify it yet", ground.stage.issuer);
    assert_eq!(wait["canary_fault"], fault.as_str());

    let moved = comes_close_and_is_postponed(&ground, &planned, &mut [&mut outside]).await;
    assert!(ground.is_counted("canary").await >= 1.0);
    let told = ground.keys(&["status"]).out;
    assert!(told.contains(&format!("canary failed: {fault}\n")), "{told}");
    let status = ground.command(&["status"]);
    assert_eq!(status.code, 1, "somebody has to look at the cache: {}", status.out);
    assert!(status.out.starts_with(&format!("✗ ES256 {}", &planned.key_id[..8])), "{}", status.out);
    assert!(status.out.contains(&fault), "{}", status.out);
    let signed = ground.pass(planned.activate, LOOK, &mut [&mut outside]).await;
    assert_eq!(signed, [first.as_str()], "the present key signs on, and whoever is behind the cache verifies");

    front.shows_what_there_is();
    ground.pass(ground.now().plus(TRY), LOOK, &mut [&mut outside]).await;
    ground.canary_is(&planned.key_id, "passed").await;
    outside.ask(ground.now()).await;
    let last = ground.dates_of(&planned.key_id);
    assert!(last.activate >= moved.activate && last.activate < ground.now().plus(Lifetime::from_minutes(4)));
    let signed = ground.pass(last.activate, LOOK, &mut [&mut outside]).await;
    assert_eq!(signed, [first.as_str(), planned.key_id.as_str()]);
    assert_eq!(ground.dates_of(&planned.key_id), last, "nothing was moved after the trial had passed");
    assert_eq!(ground.command(&["status"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_a_cache_that_shows_what_there_is_delays_nothing() {
    let ground = Ground::behind_a_front(|text| text).await;
    let _front = Front::start(&ground.stage.issuer, &ground.door).await;
    let mut outside = Verifier::every(PROMPT, &ground.stage.issuer, ground.now()).await;
    let first = ground.token_is_good(&mut [&mut outside]).await;
    let planned = ground.rotate();
    ground.pass(planned.publish, LOOK, &mut [&mut outside]).await;
    ground.canary_is(&planned.key_id, "passed").await;
    let signed = ground.pass(planned.activate, LOOK, &mut [&mut outside]).await;
    assert_eq!(signed, [first.as_str(), planned.key_id.as_str()]);
    assert_eq!(ground.dates_of(&planned.key_id).activate, planned.publish.plus(USUAL));
    assert_eq!(ground.postponed("canary").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_another_key_under_the_new_id_puts_off_that_key_alone() {
    let ground = Ground::with_two_algorithms_behind_a_front().await;
    let front = Front::start(&ground.stage.issuer, &ground.door).await;
    let first = ground.token_is_good(&mut []).await;
    let rsa = ground.keys(&["rotate", "--algorithm", "RS256"]);
    assert_eq!(rsa.code, 0, "{}", rsa.err);
    let (planned, rsa) = (ground.rotate(), ground.waiting("RS256"));
    let (new, old) = (planned.key_id.clone(), first.clone());
    front.changes(move |mut set| {
        let keys = set["keys"].as_array_mut().unwrap();
        let other = keys.iter().find(|key| key["kid"] == old.as_str()).unwrap().clone();
        for key in keys.iter_mut().filter(|key| key["kid"] == new.as_str()) {
            for member in ["x", "y"] {
                key[member] = other[member].clone();
            }
        }
        set
    });
    ground.pass(planned.publish, LOOK, &mut []).await;
    ground.canary_is(&planned.key_id, "failed").await;
    ground.canary_is(&rsa.key_id, "passed").await;
    let moved = comes_close_and_is_postponed(&ground, &planned, &mut []).await;
    assert_eq!(ground.dates_of(&rsa.key_id), rsa, "the other one is not delayed");
    let signed = ground.pass(planned.activate, LOOK, &mut []).await;
    assert_eq!(signed, [first.as_str()]);
    assert_eq!(ground.dates_of(&rsa.key_id), rsa);
    front.shows_what_there_is();
    ground.pass(ground.now().plus(TRY), LOOK, &mut []).await;
    ground.canary_is(&planned.key_id, "passed").await;
    let last = ground.dates_of(&planned.key_id).activate;
    assert!(last >= moved.activate);
    assert_eq!(ground.pass(last, LOOK, &mut []).await, [first.as_str(), planned.key_id.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_a_public_url_that_is_down_delays_for_six_hours_and_then_no_more() {
    let ground = Ground::behind_a_front(|text| text).await;
    let first = ground.token_is_good(&mut []).await;
    let planned = ground.rotate();
    ground.pass(planned.publish, LOOK, &mut []).await;
    let wait = ground.canary_is(&planned.key_id, "failed").await;
    let fault = wait["canary_fault"].as_str().unwrap();
    let url = format!("GET {}/.well-known/openid-configuration: ", ground.stage.issuer);
    assert!(fault.starts_with(&url) && fault.contains("refused"), "{fault}");
    let bound = planned.activate.plus(LONGEST_WAIT);
    assert_eq!(wait["at_the_latest"], bound.to_rfc3339().as_str(), "the operator reads how long it may last");
    let (mut dates, mut moves) = (planned.clone(), 0);
    while dates.activate < bound {
        assert!(moves < 200, "{dates:?}");
        ground.stage.clock.advance(dates.activate.minus(IN_TIME).since(ground.now()));
        dates = ground.is_moved(&dates).await;
        moves += 1;
    }
    assert_eq!(dates.activate, bound);
    assert_eq!(ground.token_is_good(&mut []).await, first, "the present key has signed all the time");
    let signed = ground.pass(bound, LOOK, &mut []).await;
    assert_eq!(signed, [first.as_str(), planned.key_id.as_str()], "a broken front does not stop rotations for ever");
    assert_eq!(ground.is_counted("given_up").await, 1.0, "and that is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_a_public_url_that_fails_and_comes_back_delays_for_as_long_as_it_was_away() {
    let ground = Ground::behind_a_front(|text| text).await;
    let front = Front::start(&ground.stage.issuer, &ground.door).await;
    let first = ground.token_is_good(&mut []).await;
    front.answers(503);
    let planned = ground.rotate();
    ground.pass(planned.publish, LOOK, &mut []).await;
    let wait = ground.canary_is(&planned.key_id, "failed").await;
    assert!(wait["canary_fault"].as_str().unwrap().contains("/jwks: 503 instead of 200"), "{wait}");
    let moved = comes_close_and_is_postponed(&ground, &planned, &mut []).await;
    front.shows_what_there_is();
    ground.pass(ground.now().plus(TRY), LOOK, &mut []).await;
    ground.canary_is(&planned.key_id, "passed").await;
    let signed = ground.pass(moved.activate, LOOK, &mut []).await;
    assert_eq!(signed, [first.as_str(), planned.key_id.as_str()]);
    assert_eq!(ground.dates_of(&planned.key_id), moved);
}

/// Over TLS, with a certificate of an authority that only this house knows.
async fn with_a_private_authority(signing: &'static str) -> Ground {
    let authority = CertificateAuthority::for_servers("house CA").unwrap();
    Ground::with(|world, issuer| {
        write_pair(&authority, world.directory());
        config(world, issuer, signing).replacen("issuer: http:", "issuer: https:", 1).replacen(
            "\" }\nadmin:",
            "\", tls: { certificate: tls.crt, key: tls.key } }\nadmin:",
            1,
        )
    })
    .await
}

fn write_pair(authority: &CertificateAuthority, directory: &Path) {
    let mut params =
        svid_params("spiffe://servers.example/countersign", SystemClock.now(), Lifetime::from_hours(24)).unwrap();
    params.subject_alt_names.push(rcgen::SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let pair = authority.issue(&params).unwrap();
    std::fs::write(directory.join("tls.crt"), pair.pem()).unwrap();
    std::fs::write(directory.join("tls.key"), pair.key_pem().expose()).unwrap();
    std::fs::write(directory.join("house-ca.crt"), authority.pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_of_the_public_url_is_a_setting_and_its_lack_a_clear_sentence() {
    let unknown = with_a_private_authority("signing: { directory: ./keys }").await;
    let planned = unknown.rotate();
    unknown.stage.advance(planned.publish.since(unknown.now())).await;
    let wait = unknown.canary_is(&planned.key_id, "failed").await;
    let fault = wait["canary_fault"].as_str().unwrap();
    assert!(fault.contains("is not signed by an authority in the system's list"), "{fault}");
    assert!(fault.contains("signing.canary_ca"), "what to set: {fault}");
    assert!(!fault.contains("source"), "it is no source: {fault}");

    let known = with_a_private_authority("signing: { directory: ./keys, canary_ca: house-ca.crt }").await;
    let planned = known.rotate();
    known.stage.advance(planned.publish.since(known.now())).await;
    known.canary_is(&planned.key_id, "passed").await;

    let other = with_a_private_authority("signing: { directory: ./keys, canary_ca: eu1-ca.crt }").await;
    let planned = other.rotate();
    other.stage.advance(planned.publish.since(other.now())).await;
    let wait = other.canary_is(&planned.key_id, "failed").await;
    assert!(wait["canary_fault"].as_str().unwrap().contains("eu1-ca.crt"), "{wait}");
}
