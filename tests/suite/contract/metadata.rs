//! Both metadata documents (standards part 5).

use countersign::clock::Lifetime;
use countersign::issue::PUBLISHED_BEFORE_USE;
use serde_json::{Value, json};

use super::header;
use crate::stage::{
    API, JWT_SPIFFE, RESOURCES_AND_RULES, Stage, cluster_source, server_config, spiffe_source, standard_config,
};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";
const ALL_NINE: [&str; 9] = ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

fn expected(issuer: &str, methods: &[&str], algorithms: &[&str]) -> Value {
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "jwks_uri": format!("{issuer}/jwks"),
        "grant_types_supported": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "RS256"],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint": format!("{issuer}/introspect"),
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "scopes_supported": ["find", "open", "read", "write"],
        "dpop_signing_alg_values_supported": ALL_NINE,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn md_01_to_13_both_documents_are_one_truth() {
    let stage = Stage::standard().await;
    let (oauth, openid) = (stage.request("GET", OAUTH, &[]).await, stage.request("GET", OPENID, &[]).await);
    // Every member and nothing else, so nothing that does not work.
    assert_eq!(
        oauth.body,
        expected(&stage.issuer, &["private_key_jwt", "spiffe_jwt"], &ALL_NINE),
        "MD-05 MD-06 MD-08 MD-10 MD-12 MD-15 CA-20 DPO-10"
    );
    assert_eq!(oauth.text, openid.text, "MD-13");
    assert_eq!(stage.exchange_svid(&stage.svid()).await.claims()["iss"], oauth.body["issuer"], "MD-01");
    for answer in [&oauth, &openid] {
        assert_eq!((answer.status, header(answer, "content-type")), (200, "application/json"), "MD-03");
        assert!(!answer.text.contains("[]"), "MD-04");
        let max_age = header(answer, "cache-control").strip_prefix("public, max-age=").unwrap();
        assert!(max_age.parse::<i64>().unwrap() < PUBLISHED_BEFORE_USE.seconds(), "MD-16");
    }
    let etag = header(&oauth, "etag");
    let again = stage.request("GET", OAUTH, &[("if-none-match", etag)]).await;
    assert_eq!((again.status, again.text.as_str()), (304, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn md_18_the_issuer_is_configured_and_never_heard() {
    let stage = Stage::standard().await;
    let true_one = stage.request("GET", OPENID, &[]).await;
    let false_headers = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "host=evil.example;proto=https"),
        ("x-original-url", "/evil"),
    ];
    for path in [OAUTH, OPENID] {
        assert_eq!(stage.request("GET", path, &false_headers).await.text, true_one.text);
        assert_eq!(stage.request("GET", &format!("{path}?issuer=x"), &[]).await.text, true_one.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn md_02_an_issuer_with_a_path_has_its_documents_where_each_standard_says() {
    let stage = Stage::with(|world, issuer| {
        standard_config(world, issuer).replacen(
            &format!("issuer: {issuer}\n"),
            &format!("issuer: {issuer}/tenant/a\n"),
            1,
        )
    })
    .await;
    let issuer = format!("{}/tenant/a", stage.issuer);
    let inserted = stage.request("GET", &format!("{OAUTH}/tenant/a"), &[]).await;
    let appended = stage.request("GET", &format!("/tenant/a{OPENID}"), &[]).await;
    assert_eq!(inserted.body, expected(&issuer, &["private_key_jwt", "spiffe_jwt"], &ALL_NINE));
    assert_eq!(inserted.text, appended.text, "MD-13");
    for absent in [OAUTH, OPENID, "/jwks", "/token"] {
        assert_eq!(stage.request("GET", absent, &[]).await.status, 404, "{absent}");
    }
    assert_eq!(stage.request("GET", "/tenant/a/jwks", &[]).await.body["keys"].as_array().unwrap().len(), 2);
    let svid = stage.world.trust_domain().mint(API, &[&issuer], Lifetime::from_minutes(5)).unwrap();
    let form = crate::stage::encode(&[
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_SPIFFE),
        ("client_assertion", &svid),
        ("audience", "orders"),
    ]);
    assert_eq!(stage.post("/tenant/a/token", &form, &[]).await.claims()["iss"], issuer, "MD-01 AT-03");
    // CA-06: the host alone is another audience.
    let other = stage.svid();
    let form = form.replace(&svid, &other);
    let refused = stage.post("/tenant/a/token", &form, &[]).await;
    assert_eq!(stage.reason(&refused).await, "audience_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn md_07_sca_15_methods_and_algorithms_follow_the_sources() {
    let stage = Stage::with(|world, issuer| {
        let cluster = cluster_source(&world.clusters()[0]) + "    algorithms: [RS256, ES256]\n";
        let rules = "
resources: [{ name: orders, audience: \"https://orders.example\", scopes: [read, write] }]
rules: [{ name: shop, from: { group: fleet, namespace: shop }, to: { resource: orders, scopes: [read] } }]
";
        server_config(issuer) + &cluster + rules
    })
    .await;
    let before = stage.request("GET", OAUTH, &[]).await;
    let mut wanted = expected(&stage.issuer, &["private_key_jwt"], &["ES256", "RS256"]);
    wanted["scopes_supported"] = json!(["read", "write"]);
    assert_eq!(before.body, wanted);

    let rules =
        RESOURCES_AND_RULES.replace("group: fleet, namespace: shop, service_account: api", "source: prod, path: /a");
    stage.reconfigure(&(server_config(&stage.issuer) + &spiffe_source(&stage.world) + &rules)).await;
    let after = stage.request("GET", OAUTH, &[("if-none-match", header(&before, "etag"))]).await;
    assert_eq!(
        after.body,
        expected(&stage.issuer, &["spiffe_jwt"], &ALL_NINE),
        "a document of the new generation at once"
    );
}
