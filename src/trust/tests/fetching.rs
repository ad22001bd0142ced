//! Keys over https.

use super::super::KeysUnusable;
use super::*;
use crate::world::cluster::{ClusterSettings, DISCOVERY_PATH, JWKS_PATH, PretendCluster};
use crate::world::{Behaviour, Surroundings};

pub(super) struct Upstream {
    pub(super) cluster: PretendCluster,
    pub(super) ca: PathBuf,
}

impl Upstream {
    pub(super) async fn start(stand: &Stand, change: impl FnOnce(&mut ClusterSettings)) -> Self {
        let mut settings = ClusterSettings::new("eu1", ISSUER);
        settings.algorithm = Algorithm::ES256;
        change(&mut settings);
        let cluster = PretendCluster::start(settings, &Surroundings::system(), &stand.stop).await.unwrap();
        let ca = stand.write("ca.crt", cluster.ca_pem());
        Self { cluster, ca }
    }

    pub(super) fn endpoint(&self, path: &str) -> Endpoint {
        endpoint(&format!("{}{path}", self.cluster.url()), Some(self.ca.clone()))
    }

    pub(super) fn active(&self) -> String {
        self.cluster.active_key().kid().to_owned()
    }
}

/// Starts one source, waits for its first attempt, and says why it has no keys.
async fn why_not(stand: &Stand, keys: IssuerKeys) -> String {
    let view = stand.trust.apply(&[cluster("eu1", keys)]);
    stand.trust.first_attempts().await;
    let unusable = source(&view, "eu1").keys_at(stand.now()).unwrap_err();
    let KeysUnusable::Unreachable { why } = unusable else { panic!("{unusable:?}") };
    why
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_13_keys_come_from_a_url_an_api_server_and_discovery() {
    let stand = Stand::new();
    let upstream = Upstream::start(&stand, |settings| settings.odd_keys = true).await;
    for keys in [
        IssuerKeys::Url(upstream.endpoint(JWKS_PATH)),
        IssuerKeys::ApiServer(upstream.endpoint("")),
        IssuerKeys::Discovery(upstream.endpoint("")),
        IssuerKeys::Discovery(upstream.endpoint(DISCOVERY_PATH)),
    ] {
        let view = stand.trust.apply(&[cluster("eu1", keys.clone())]);
        stand.trust.first_attempts().await;
        assert_eq!(key_ids(&source(&view, "eu1"), stand.now()), ids(&[&upstream.active()]), "{keys:?}");
        let status = stand.status("eu1");
        assert_eq!((status.refreshes_ok, status.outbound_attempts, status.skipped), (1, 1, 1), "K8S-02");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_14_redirects_long_answers_and_other_answers_are_refused() {
    let stand = Stand::new();
    let upstream = Upstream::start(&stand, |_| {}).await;
    let other = Upstream::start(&stand, |_| {}).await;
    let target = format!("{}{JWKS_PATH}", other.cluster.url());
    // The second upstream wrote its own CA over the first one's.
    let ca = stand.write("ca.crt", [upstream.cluster.ca_pem(), other.cluster.ca_pem()].concat());
    for (behaviour, says) in [
        (Behaviour::Redirect(target.clone()), "redirects are not followed"),
        (Behaviour::Huge, "more than 1048576 bytes"),
        (Behaviour::Garbage, "is no key set"),
        (Behaviour::Status(500), "500 instead of 200"),
        (Behaviour::Status(204), "204 instead of 200"),
        (Behaviour::Body(b"{}".to_vec()), "is no key set"),
    ] {
        upstream.cluster.behave(JWKS_PATH, behaviour.clone());
        // A path of its own each time, so that each is a new source.
        let mut keys = endpoint(&format!("{}{JWKS_PATH}", upstream.cluster.url()), Some(ca.clone()));
        keys.url.set_query(Some(says));
        let why = why_not(&stand, IssuerKeys::Url(keys)).await;
        assert!(why.contains(says), "{behaviour:?}: {why}");
    }
    assert_eq!(other.cluster.all_requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_14_a_body_that_drips_ends_at_the_deadline() {
    let stand = Stand::new();
    let upstream = Upstream::start(&stand, |_| {}).await;
    upstream.cluster.behave(JWKS_PATH, Behaviour::Drip);
    let why = why_not(&stand, IssuerKeys::Url(upstream.endpoint(JWKS_PATH))).await;
    assert!(why.contains("no whole answer within 10 s"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_14_only_the_configured_authority_is_trusted() {
    let stand = Stand::new();
    let upstream = Upstream::start(&stand, |_| {}).await;
    let url = format!("{}{JWKS_PATH}", upstream.cluster.url());
    let other = crate::world::x509::CertificateAuthority::for_servers("other").unwrap();
    let other = stand.write("other.crt", other.pem());
    let why = why_not(&stand, IssuerKeys::Url(endpoint(&url, Some(other.clone())))).await;
    assert!(why.contains("not signed by an authority in") && why.contains("other.crt"), "{why}");
    let why = why_not(&stand, IssuerKeys::Url(endpoint(&url, None))).await;
    assert!(why.contains("system"), "{why}");
    let empty = stand.write("empty.crt", "");
    let why = why_not(&stand, IssuerKeys::Url(endpoint(&url, Some(empty)))).await;
    assert!(why.contains("holds no certificate"), "{why}");
    let why = why_not(&stand, IssuerKeys::Url(endpoint("http://127.0.0.1:1/jwks", Some(other)))).await;
    assert!(why.contains("GET http://127.0.0.1:1/jwks: only https is asked"), "{why}");
    // The right authority arrives in the same file: no restart is needed.
    let late = stand.write("late.crt", "");
    let view = stand.trust.apply(&[cluster("eu1", IssuerKeys::Url(endpoint(&url, Some(late.clone()))))]);
    stand.trust.first_attempts().await;
    stand.write("late.crt", upstream.cluster.ca_pem());
    let eu1 = source(&view, "eu1");
    stand.through_attempts("eu1", "trusted", || key_ids(&eu1, stand.now()) == ids(&[&upstream.active()])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn md_17_and_k8s_14_discovery_of_others_is_not_used() {
    let stand = Stand::new();
    let upstream = Upstream::start(&stand, |settings| settings.issuers = vec!["https://oidc.example".to_owned()]).await;
    let why = why_not(&stand, IssuerKeys::Discovery(upstream.endpoint(""))).await;
    assert!(why.contains("is of issuer \"https://oidc.example\"") && why.contains(ISSUER), "{why}");
    assert_eq!(upstream.cluster.requests(JWKS_PATH), 0);
    let elsewhere = "https://localhost:1/openid/v1/jwks".to_owned();
    let upstream = Upstream::start(&stand, |settings| settings.jwks_uri = Some(elsewhere)).await;
    let why = why_not(&stand, IssuerKeys::Discovery(upstream.endpoint(""))).await;
    assert!(why.contains("on another host than 127.0.0.1"), "{why}");
    assert_eq!(upstream.cluster.requests(JWKS_PATH), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_13_and_21_tokens_are_sent_and_read_again() {
    let stand = Stand::new();
    let upstream = Upstream::start(&stand, |settings| settings.discovery_needs_token = true).await;
    let why = why_not(&stand, IssuerKeys::ApiServer(upstream.endpoint(""))).await;
    assert!(why.contains("403") && why.contains("anonymous discovery is off"), "{why}");
    let mut with_token = upstream.endpoint("");
    with_token.token = Some(stand.write("token", "wrong\n"));
    let why = why_not(&stand, IssuerKeys::ApiServer(with_token.clone())).await;
    assert!(why.contains("401: our own token was not accepted"), "{why}");
    assert!(!why.contains("wrong"), "{why}");
    let view = stand.trust.apply(&[cluster("eu1", IssuerKeys::ApiServer(with_token.clone()))]);
    let eu1 = source(&view, "eu1");
    stand.write("token", format!("{}\n", upstream.cluster.admin_token().expose()));
    stand.through_attempts("eu1", "admitted", || key_ids(&eu1, stand.now()) == ids(&[&upstream.active()])).await;
    for (content, says) in [
        (b"\n".to_vec(), "is empty"),
        (b"a\nb".to_vec(), "holds no bearer token"),
        (vec![b'x'; 16 * 1024 + 1], "more than 16384 bytes"),
    ] {
        with_token.token = Some(stand.write(says, content));
        let why = why_not_again(&stand, with_token.clone()).await;
        assert!(why.contains(says), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_token_is_not_shown_to_another_port() {
    let stand = Stand::new();
    let other = Upstream::start(&stand, |settings| settings.discovery_needs_token = true).await;
    let jwks_uri = format!("{}{JWKS_PATH}", other.cluster.url());
    let upstream = Upstream::start(&stand, |settings| settings.jwks_uri = Some(jwks_uri)).await;
    stand.write("ca.crt", [upstream.cluster.ca_pem(), other.cluster.ca_pem()].concat());
    let mut with_token = upstream.endpoint("");
    with_token.token = Some(stand.write("token", upstream.cluster.admin_token().expose()));
    let why = why_not(&stand, IssuerKeys::Discovery(with_token)).await;
    // A foreign token would have been a 401.
    assert!(why.contains("403: our token goes to the configured host and port alone"), "{why}");
}

/// As [`why_not`] for a source whose last good keys are known.
async fn why_not_again(stand: &Stand, keys: Endpoint) -> String {
    stand.trust.apply(&[cluster("eu1", IssuerKeys::ApiServer(keys))]);
    stand.trust.first_attempts().await;
    stand.status("eu1").last_error.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_15_an_upstream_that_is_down_costs_nothing_until_max_stale() {
    let stand = Stand::new();
    let upstream = Upstream::start(&stand, |_| {}).await;
    let view = stand.trust.apply(&[cluster("eu1", IssuerKeys::Url(upstream.endpoint(JWKS_PATH)))]);
    stand.trust.first_attempts().await;
    let eu1 = source(&view, "eu1");
    let confirmed = eu1.keys_at(stand.now()).unwrap().confirmed_at;
    upstream.cluster.stop().await;
    stand.to_next_attempt("eu1").await;
    until("failed", || stand.status("eu1").refreshes_failed == 1).await;
    // Backoff: the next attempt is seconds away, not minutes.
    until("planned", || stand.status("eu1").next_attempt.is_some()).await;
    assert!(stand.status("eu1").next_attempt.unwrap().since(stand.now()) <= Lifetime::from_seconds(2));
    let end = confirmed.plus(Lifetime::from_hours(24));
    assert_eq!(key_ids(&eu1, end), ids(&[&upstream.active()]));
    assert_eq!(key_ids(&eu1, end.plus(Lifetime::from_millis(1))), None);
    upstream.cluster.start_again().await.unwrap();
    stand.through_attempts("eu1", "back", || stand.status("eu1").last_error.is_none()).await;
}

/// A `Date` header, and an `Age` where a cache kept the answer for that long.
fn dated(date: Timestamp, age: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
    let moment = std::time::UNIX_EPOCH + Duration::from_secs(u64::try_from(date.seconds()).unwrap());
    let date: &'static str = Box::leak(httpdate::fmt_http_date(moment).into_boxed_str());
    std::iter::once(("date", date)).chain(age.map(|age| ("age", age))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_does_not_answer_says_nothing_new_of_its_clock() {
    let stand = Stand::new();
    let upstream = Upstream::start(&stand, |_| {}).await;
    let body = || upstream.cluster.jwks().to_string().into_bytes();
    let ahead = stand.now().plus(Lifetime::from_seconds(7));
    upstream.cluster.behave(JWKS_PATH, Behaviour::With(dated(ahead, None), body()));
    stand.trust.apply(&[cluster("eu1", IssuerKeys::Url(upstream.endpoint(JWKS_PATH)))]);
    stand.trust.first_attempts().await;
    assert_eq!(stand.status("eu1").skew_seconds, Some(7));
    upstream.cluster.stop().await;
    for failed in 1..=3 {
        stand.to_next_attempt("eu1").await;
        until("failed", || stand.status("eu1").refreshes_failed == failed).await;
        until("planned", || stand.status("eu1").next_attempt.is_some()).await;
        assert_eq!(stand.status("eu1").skew_seconds, Some(7), "as it was measured last");
    }
    upstream.cluster.start_again().await.unwrap();
    // Whoever answers, whatever the answer, has a clock; an answer without a date has none.
    let behind = stand.status("eu1").next_attempt.unwrap().minus(Lifetime::from_seconds(9));
    for (headers, skew) in [(dated(behind, None), -9), (vec![("date", "soon")], -9)] {
        upstream.cluster.behave(JWKS_PATH, Behaviour::With(headers, b"{}".to_vec()));
        let failed = stand.status("eu1").refreshes_failed;
        stand.to_next_attempt("eu1").await;
        until("answered", || stand.status("eu1").refreshes_failed > failed).await;
        assert_eq!(stand.status("eu1").skew_seconds, Some(skew));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_cache_kept_has_the_date_of_then() {
    let stand = Stand::new();
    for (age, skew) in [(Some("600"), 0), (None, -600), (Some("old"), -600), (Some("0"), -600)] {
        let upstream = Upstream::start(&stand, |_| {}).await;
        let then = stand.now().minus(Lifetime::from_seconds(600));
        let body = upstream.cluster.jwks().to_string().into_bytes();
        upstream.cluster.behave(JWKS_PATH, Behaviour::With(dated(then, age), body));
        stand.trust.apply(&[cluster("eu1", IssuerKeys::Url(upstream.endpoint(JWKS_PATH)))]);
        stand.trust.first_attempts().await;
        assert_eq!(stand.status("eu1").skew_seconds, Some(skew), "{age:?}");
    }
}
