//! Bundles from a SPIFFE bundle endpoint: what of them counts, and when they are asked for.

use super::super::{EndpointProfile, ExtensionOrder};
use super::*;
use crate::world::spiffe_agent::PretendTrustDomain;
use crate::world::spiffe_agent::{BUNDLE_PATH, BundleEndpoint};
use crate::world::{Behaviour, Surroundings};

pub(super) const PARTNER: &str = "partner.example";

/// A trust domain with a bundle endpoint.
pub(super) struct Partner {
    pub(super) domain: PretendTrustDomain,
    pub(super) endpoint: BundleEndpoint,
    ca: PathBuf,
}

impl Partner {
    pub(super) async fn start(stand: &Stand) -> Self {
        let domain = pretend(stand, PARTNER);
        // It outlives the engine of its stand.
        let endpoint = BundleEndpoint::start(&domain, &CancellationToken::new()).await.unwrap();
        let ca = stand.write("partner-ca.crt", endpoint.ca_pem());
        Self { domain, endpoint, ca }
    }

    /// The source `partner`, by `https_web`.
    pub(super) fn by_web(&self) -> SourceSettings {
        self.with(EndpointProfile::Web { ca: Some(self.ca.clone()) })
    }

    pub(super) fn with(&self, profile: EndpointProfile) -> SourceSettings {
        let url = url::Url::parse(self.endpoint.url()).unwrap();
        domain("partner", PARTNER, SpiffeKeys::BundleEndpoint { url, profile })
    }

    pub(super) fn key(&self) -> Option<BTreeSet<String>> {
        ids(&[self.domain.active_key().kid()])
    }

    fn requests(&self) -> u64 {
        self.endpoint.requests(BUNDLE_PATH)
    }

    /// What the endpoint says, with other members.
    fn say(&self, change: impl FnOnce(&mut Value)) {
        let mut bundle = self.domain.spiffe_bundle();
        change(&mut bundle);
        self.endpoint.behave(BUNDLE_PATH, Behaviour::Body(bundle.to_string().into_bytes()));
    }
}

pub(super) fn pretend(stand: &Stand, name: &str) -> PretendTrustDomain {
    PretendTrustDomain::new(name, &Surroundings::with_clock(Arc::new(stand.clock.clone()))).unwrap()
}

/// Starts the source and waits for its first attempt.
pub(super) async fn started(stand: &Stand, settings: &SourceSettings) -> Arc<TrustedSource> {
    let view = stand.trust.apply(std::slice::from_ref(settings));
    stand.trust.first_attempts().await;
    source(&view, "partner")
}

/// One regular attempt, and how long it is until the next one.
pub(super) async fn attempt(stand: &Stand) -> i64 {
    let ended = || stand.status("partner").refreshes_ok + stand.status("partner").refreshes_failed;
    let before = ended();
    stand.to_next_attempt("partner").await;
    until("asked", || ended() > before && stand.status("partner").next_attempt.is_some()).await;
    stand.status("partner").next_attempt.unwrap().since(stand.now()).seconds()
}

pub(super) fn why(stand: &Stand) -> String {
    stand.status("partner").last_error.unwrap_or_default()
}

/// How many authorities may be used now.
pub(super) fn authorities(stand: &Stand, source: &TrustedSource) -> Option<usize> {
    source.authorities_at(stand.now()).ok().map(|set| set.all().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_07_bun_07_bun_08_an_endpoint_is_asked_at_its_hint_and_not_sooner_after_a_failure() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let mut settings = partner.by_web();
    settings.max_stale = Lifetime::from_hours(72);
    let source = started(&stand, &settings).await;
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (partner.key(), Some(1)));
    for (hint, seconds) in [
        (json!(600), 540..=660),
        (json!(0), 9..=11),
        (json!(-1), 9..=11),
        (json!("600"), 270..=330),
        (json!(1e18), 77_760..=95_040),
        (Value::Null, 270..=330),
        (json!(60), 54..=66),
    ] {
        partner.domain.set_refresh_hint(hint.clone());
        let wait = attempt(&stand).await;
        assert!(seconds.contains(&wait), "{hint}: {wait} s");
    }
    let before = partner.requests();
    for behaviour in [Behaviour::Status(500), Behaviour::Garbage, Behaviour::Status(403), Behaviour::Huge] {
        partner.endpoint.behave(BUNDLE_PATH, behaviour.clone());
        let wait = attempt(&stand).await;
        assert!((54..=66).contains(&wait), "{behaviour:?}: {wait} s");
        assert_eq!(key_ids(&source, stand.now()), partner.key(), "JWK-15");
    }
    assert_eq!(partner.requests() - before, 4, "one request an interval");
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_07_keys_are_asked_for_several_times_before_they_are_stale_whatever_the_hint() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    partner.domain.set_refresh_hint(86_400);
    let mut settings = partner.by_web();
    settings.max_stale = Lifetime::from_hours(1);
    let source = started(&stand, &settings).await;
    let wait = attempt(&stand).await;
    assert!((1_080..=1_320).contains(&wait), "{wait} s: a third");
    // The endpoint is away at the wrong moment, and then for longer.
    let confirmed = source.keys_at(stand.now()).unwrap().confirmed_at;
    partner.endpoint.behave(BUNDLE_PATH, Behaviour::Status(503));
    let mut waits = Vec::new();
    while source.keys_at(stand.now()).is_ok() {
        waits.push(attempt(&stand).await);
    }
    assert!((3..=20).contains(&waits.len()), "{waits:?}: neither once nor all the time");
    assert!(waits.iter().all(|wait| (54..=700).contains(wait)), "{waits:?}: a quarter of what is left, and a minute");
    let late = stand.now().since(confirmed.plus(settings.max_stale)).seconds();
    assert!(late <= 66, "{late} s: somebody asks up to the end");
    assert!((54..=66).contains(&attempt(&stand).await), "stale keys are asked for once a minute");
    partner.endpoint.behave_well();
    attempt(&stand).await;
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (partner.key(), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_07_before_the_first_bundle_an_endpoint_is_asked_once_a_minute() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    partner.endpoint.stop().await;
    let source = started(&stand, &partner.by_web()).await;
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (None, None));
    assert!((54..=66).contains(&attempt(&stand).await));
    partner.endpoint.start_again().await.unwrap();
    attempt(&stand).await;
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (partner.key(), Some(1)));
    assert_eq!(why(&stand), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn bun_01_bun_02_bun_03_bun_04_bun_05_bun_10_the_whole_truth_of_a_bundle_and_what_is_none() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let source = started(&stand, &partner.by_web()).await;
    let known = partner.key();
    // Odd entries and members are passed over, the rest counts.
    partner.say(|bundle| {
        bundle["more"] = json!({ "keys": "x" });
        let keys = bundle["keys"].as_array_mut().unwrap();
        let mut without_type = keys[0].clone();
        without_type.as_object_mut().unwrap().remove("kty");
        let mut shouted = jwk("shouted");
        shouted["use"] = json!("JWT-SVID");
        let mut nameless = jwk("x");
        nameless["use"] = json!("jwt-svid");
        nameless.as_object_mut().unwrap().remove("kid");
        let odd = json!({ "use": "wit-svid", "kty": "EC", "kid": "w" });
        keys[0]["use"] = json!("X509-SVID");
        keys.extend([without_type, shouted, nameless, odd, json!({ "kty": "EC" }), json!(7)]);
    });
    attempt(&stand).await;
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (known.clone(), Some(0)));
    partner.endpoint.behave_well();
    attempt(&stand).await;
    assert_eq!(authorities(&stand, &source), Some(1));
    for none in [
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"trust_domains":{"partner.example":{"keys":[]}}}"#,
        "[]",
    ] {
        partner.endpoint.behave(BUNDLE_PATH, Behaviour::Body(none.into()));
        attempt(&stand).await;
        assert!(why(&stand).contains("is no bundle"), "{none}: {}", why(&stand));
        assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (known.clone(), Some(1)), "{none}");
    }
    partner.endpoint.behave_well();
    partner.domain.publish_empty(true);
    attempt(&stand).await;
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (ids(&[]), Some(0)), "BUN-02");
    partner.domain.publish_empty(false);
    attempt(&stand).await;
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (known, Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn bun_06_an_older_bundle_adds_nothing_and_its_withdrawals_count() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let first = partner.domain.active_key().kid().to_owned();
    let second = partner.domain.publish_new(Algorithm::ES256).unwrap().kid().to_owned();
    partner.domain.set_sequence(5);
    let source = started(&stand, &partner.by_web()).await;
    assert_eq!(key_ids(&source, stand.now()), ids(&[&first, &second]));
    let confirmed = source.keys_at(stand.now()).unwrap().confirmed_at;
    // Somebody serves an older state: with a key that is gone since, and without one that is there now.
    let third = partner.domain.publish_new(Algorithm::ES256).unwrap().kid().to_owned();
    partner.domain.withdraw(&second).unwrap();
    partner.domain.rotate_x509().unwrap();
    partner.say(|bundle| bundle["spiffe_sequence"] = json!(4));
    attempt(&stand).await;
    assert!(why(&stand).contains("spiffe_sequence 4, and an earlier one had 5"), "{}", why(&stand));
    assert_eq!(key_ids(&source, stand.now()), ids(&[&first]), "not the third, and not the second any more");
    assert_eq!(authorities(&stand, &source), Some(1), "not the new one");
    assert_eq!(source.keys_at(stand.now()).unwrap().confirmed_at, confirmed, "nothing was confirmed");
    // The same number and none at all order nothing, and none at all makes nobody forget the last one.
    for sequence in [json!(5), Value::Null, json!(5)] {
        partner.say(|bundle| bundle["spiffe_sequence"] = sequence.clone());
        attempt(&stand).await;
        assert_eq!(why(&stand), "", "{sequence}");
        assert_eq!(key_ids(&source, stand.now()), ids(&[&first, &third]), "{sequence}");
        assert_eq!(authorities(&stand, &source), Some(2), "{sequence}");
    }
    let fourth = partner.domain.publish_new(Algorithm::ES256).unwrap().kid().to_owned();
    for sequence in [Value::Null, json!(4), json!(-1), json!(4)] {
        let taken = sequence.as_i64().is_none_or(|sequence| sequence < 0);
        partner.say(|bundle| bundle["spiffe_sequence"] = sequence.clone());
        attempt(&stand).await;
        assert_eq!(why(&stand).contains("spiffe_sequence 4, and an earlier one had 5"), !taken, "{sequence}");
    }
    let fifth = partner.domain.publish_new(Algorithm::ES256).unwrap().kid().to_owned();
    attempt(&stand).await;
    assert_eq!(key_ids(&source, stand.now()), ids(&[&first, &third, &fourth]), "not {fifth}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bun_06_numbers_that_begin_anew_are_followed_once_the_keys_are_stale() {
    let mut stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let mut settings = partner.by_web();
    settings.max_stale = Lifetime::from_minutes(20);
    partner.domain.set_sequence(900);
    started(&stand, &settings).await;
    until("kept", || stand.path("state/keys/partner.json").exists()).await;
    // Its server was made anew: other keys, and numbers from the beginning. The number that was held is known after a restart too.
    stand.restart().await;
    let old = partner.domain.active_key().kid().to_owned();
    let new = partner.domain.rotate(Algorithm::ES256).unwrap().kid().to_owned();
    partner.domain.withdraw(&old).unwrap();
    partner.domain.set_sequence(1);
    let source = started(&stand, &settings).await;
    assert_eq!(key_ids(&source, stand.now()), ids(&[]), "{}", why(&stand));
    stand.clock.advance(Lifetime::from_minutes(15));
    stand.through_attempts("partner", "taken", || key_ids(&source, stand.now()) == ids(&[&new])).await;
    assert_eq!(why(&stand), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_08_a_trust_domain_that_is_removed_leaves_nothing_behind() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let settings = partner.by_web();
    started(&stand, &settings).await;
    let kept = stand.path("state/keys/partner.json");
    until("kept", || kept.exists()).await;
    let view = stand.trust.apply(&[]);
    assert!(view.of_trust_domain(&TrustDomain::parse(PARTNER).unwrap()).is_empty());
    until("the file is gone", || !kept.exists()).await;
    let asked = partner.requests();
    stand.clock.advance(Lifetime::from_hours(1));
    partner.endpoint.stop().await;
    let source = started(&stand, &settings).await;
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (None, None), "it begins anew");
    assert_eq!(partner.requests(), asked, "nobody asked meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_08_a_trust_domain_that_is_removed_with_a_restart_leaves_nothing_behind() {
    let mut stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let mut settings = vec![partner.by_web(), cluster_file("eu1", &stand.write("eu1.json", jwks(&[&jwk("a")])))];
    started(&stand, &settings[0]).await;
    stand.trust.apply(&settings);
    let order = ExtensionOrder {
        source: settings[0].name.clone(),
        by_time: Lifetime::from_hours(1),
        by: "uid 0".to_owned(),
        reason: String::new(),
    };
    let kept =
        ["keys/partner.json", "extensions/partner.json", "keys/eu1.json"].map(|name| stand.path("state").join(name));
    until("kept", || kept[0].exists() && kept[2].exists()).await;
    stand.trust.extend(order).await.unwrap();
    assert!(kept[1].exists());
    let others = ["state/keys/notes.txt", "state/keys/Not A Source.json"].map(|name| stand.write(name, "{}"));
    stand.write("state/keys/partner.pushes.json", "{}");
    stand.restart().await;
    let removed = settings.remove(0);
    stand.trust.apply(&settings);
    until("forgotten", || !kept[0].exists() && !kept[1].exists()).await;
    until("pushes too", || !stand.path("state/keys/partner.pushes.json").exists()).await;
    assert!(kept[2].exists() && others.iter().all(|other| other.exists()), "others are left alone");
    partner.endpoint.stop().await;
    stand.restart().await;
    let source = started(&stand, &removed).await;
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (None, None), "it begins anew");
    assert_eq!(stand.status("partner").extension, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn fed_08_a_trust_domain_that_comes_back_at_once_begins_anew() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let settings = partner.by_web();
    started(&stand, &settings).await;
    let kept = stand.path("state/keys/partner.json");
    until("kept", || kept.exists()).await;
    partner.endpoint.stop().await;
    // The disk is slow: nothing can be removed yet.
    let slow = stand.trust.shared.writing.lock().await;
    stand.trust.apply(&[]);
    let source = source(&stand.trust.apply(std::slice::from_ref(&settings)), "partner");
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (None, None));
    drop(slow);
    until("forgotten", || !kept.exists()).await;
    partner.endpoint.start_again().await.unwrap();
    stand.through_attempts("partner", "it has come again", || key_ids(&source, stand.now()) == partner.key()).await;
    until("kept again", || kept.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_15_authorities_outlive_a_restart_until_they_are_stale() {
    let mut stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let settings = partner.by_web();
    started(&stand, &settings).await;
    until("kept", || stand.path("state/keys/partner.json").exists()).await;
    partner.endpoint.stop().await;
    stand.restart().await;
    let source = started(&stand, &settings).await;
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (partner.key(), Some(1)));
    stand.clock.advance(Lifetime::from_hours(25));
    assert_eq!((key_ids(&source, stand.now()), authorities(&stand, &source)), (None, None), "max_stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_an_unknown_key_is_looked_for_once() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let source = started(&stand, &partner.by_web()).await;
    until("asleep", || stand.status("partner").next_attempt.is_some()).await;
    let asked = stand.now().plus(Lifetime::from_seconds(31));
    stand.clock.advance(Lifetime::from_seconds(31));
    let new = partner.domain.rotate(Algorithm::ES256).unwrap().kid().to_owned();
    let found = source.look_again(&kid(&new), asked).await;
    assert_eq!(found, super::super::LookAgain::Found);
    let again = source.look_again(&kid("junk"), stand.now()).await;
    assert!(matches!(again, super::super::LookAgain::Refreshing { .. }), "{again:?}");
    assert_eq!(partner.requests(), 2);
}
