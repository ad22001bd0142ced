//! The confusion matrix: every kind of token, put where another kind belongs.
//!
//! Wherever it makes the case harder, the token is signed by a key that its place trusts. The places that take a token are granted in `run`.

use serde_json::{Value, json};

use countersign::clock::Lifetime;
use countersign::world::cluster::TokenAsk;
use countersign::world::forge::{Forge, valid_svid};
use countersign::world::keys::Algorithm;

use super::ground::{Ground, PARTNER};
use super::keyring::{es256, rsa};
use super::request::Request;
use super::run::{CLIENT, CLIENT_401, GRANT, REQUEST, check, shown};
use crate::stage::{API, ORDERS};

#[tokio::test(flavor = "multi_thread")]
async fn no_token_passes_for_another_bcj_09_sca_12() {
    let ground = Ground::new().await;
    ground.good_ones_are_granted("before").await;
    let mut wrong = Vec::new();
    for (cell, reasons) in CELLS {
        let (row, place) = cell.split_once('/').unwrap();
        let tokens = tokens(&ground, row);
        assert!(reasons.len() == tokens.len(), "{cell} has {} tokens", tokens.len());
        for ((what, token), reason) in tokens.iter().zip(*reasons) {
            let (request, wire) = put(&ground, place, token);
            let answer = request.send(&ground.client, ground.issuer()).await;
            let faults = check(&ground, reason, wire, &answer).await;
            wrong.extend(faults.into_iter().map(|fault| format!("{cell} ({what}): {fault}: {}", shown(&answer))));
        }
    }
    ground.good_ones_are_granted("after").await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The cells of places that exist and take their token.
#[tokio::test(flavor = "multi_thread")]
async fn each_token_passes_where_it_belongs() {
    let ground = Ground::new().await;
    let pod = "spiffe://id.example/k8s/eu1/ns/shop/sa/api";
    for (cell, sub) in [
        ("XC-01/jwt-spiffe", API),
        ("XC-07/jwt-bearer", pod),
        ("XC-01/subject-jwt", API),
        ("XC-07/subject-jwt", pod),
        ("XC-03/subject-access-token", API),
    ] {
        let (row, place) = cell.split_once('/').unwrap();
        let (_, token) = tokens(&ground, row).remove(0);
        let answer = put(&ground, place, &token).0.send(&ground.client, ground.issuer()).await;
        assert_eq!((answer.status, &answer.claims()["sub"]), (200, &json!(sub)), "{cell}: {}", answer.text);
    }
}

/// Introspection never refuses a token; it calls those of others inactive.
#[tokio::test(flavor = "multi_thread")]
async fn only_tokens_of_ours_are_active_int_10() {
    let ground = Ground::new().await;
    for (cell, active) in ACTIVE {
        for (what, token) in tokens(&ground, cell.split_once('/').unwrap().0) {
            // The second token of that row is for a resource that this caller does not serve.
            let path = if token == ground.ours_as_jwt { "/ns/shop/sa/api" } else { "/serves/orders" };
            let answer = ground.introspection(path, &token).send(&ground.client, ground.issuer()).await;
            assert_eq!(
                (answer.status, &answer.body["active"]),
                (200, &json!(active)),
                "{cell} ({what}): {}",
                answer.text
            );
            assert_eq!(answer.body.as_object().unwrap().len() > 1, *active, "{cell} ({what}): {}", answer.text);
        }
    }
}

const ACTIVE: &[(&str, bool)] = &[
    ("XC-01/introspection", false),
    ("XC-02/introspection", false),
    ("XC-03/introspection", true),
    ("XC-04/introspection", false),
    ("XC-05/introspection", false),
    ("XC-06/introspection", false),
    ("XC-07/introspection", false),
    ("XC-08/introspection", false),
    ("XC-09/introspection", false),
    ("XC-10/introspection", false),
    ("XC-11/introspection", false),
    ("XC-12/introspection", false),
    ("XC-13/introspection", false),
    ("XC-14/introspection", false),
];

fn put(ground: &Ground, place: &str, token: &str) -> (Request, (&'static str, u16)) {
    let bare = ground.good().without("client_assertion").without("client_assertion_type");
    match place {
        "jwt-spiffe" => (ground.svid_text(token), CLIENT),
        "jwt-bearer" => (ground.pod_text(token), CLIENT),
        "jwt-bearer-grant" => {
            let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
            (Request::form(&[("grant_type", grant), ("assertion", token), ("resource", ORDERS)]), GRANT)
        }
        "subject-jwt" => (ground.exchange("/serves/orders", "jwt", token), REQUEST),
        "subject-access-token" => (ground.exchange("/serves/orders", "access_token", token), REQUEST),
        "attestation" => {
            let proof =
                ground.stage.svid_forge().header("typ", "oauth-client-attestation-pop+jwt").sign().unwrap().token();
            let shown = bare.header("oauth-client-attestation", token);
            (shown.header("oauth-client-attestation-pop", &proof), CLIENT)
        }
        "bearer" => (bare.header("authorization", &format!("Bearer {token}")), CLIENT_401),
        other => panic!("no place {other}"),
    }
}

/// The tokens of a row of the matrix, each with what it is.
fn tokens(ground: &Ground, row: &str) -> Vec<(&'static str, String)> {
    let issuer = ground.issuer();
    let now = ground.now().seconds();
    let svid = || ground.stage.svid_forge();
    let pod = || ground.stage.pod_forge("eu1");
    let sign = |forge: Forge| forge.sign().unwrap().token();
    let own_key = || Value::Object(es256("own").public_jwk());
    // As JWTs of other kinds would look if our trust domain's key had signed them for us.
    let typed = |typ: &str| svid().header("typ", typ).claim("iss", issuer).claim("jti", "1").claim("client_id", API);
    let typed_pod = |typ: &str| pod().header("typ", typ).claim("client_id", API);
    match row {
        "XC-01" => vec![("JWT-SVID", sign(svid()))],
        "XC-02" => vec![("JWT-SVID for another", sign(svid().claim("aud", json!(["https://other.example"]))))],
        "XC-03" => vec![("at+jwt", ground.ours.clone()), ("typ JWT", ground.ours_as_jwt.clone())],
        "XC-04" => {
            let id_token = svid().claim("iss", "https://login.example").claim("aud", "orders-app").claim("nonce", "n");
            let of_cluster = pod().claim("sub", API).without_claim("kubernetes.io").claim("nonce", "n");
            let of_ci = ground.ci_forge().claim("sub", API).claim("nonce", "n");
            vec![
                ("by a trust domain's key", sign(id_token)),
                ("by a cluster's key", sign(of_cluster)),
                ("by a CI system's key", sign(of_ci)),
            ]
        }
        "XC-05" => {
            let wit = |forge: Forge| forge.header("typ", "wit+jwt").claim("cnf", json!({ "jwk": own_key() }));
            let claims = valid_svid(PARTNER, &[issuer], ground.now(), Lifetime::from_minutes(5));
            let by_wit_key = Forge::new(&es256("wit"), claims).claim("cnf", json!({ "jwk": own_key() }));
            vec![
                ("by a JWT-SVID key", sign(wit(svid()))),
                ("by a wit-svid key, without typ", sign(by_wit_key.without_header("typ"))),
            ]
        }
        "XC-06" => vec![("WIT-SVID", sign(svid().header("typ", "wit+jwt").claim("cnf", json!({ "jwk": own_key() }))))],
        "XC-07" => vec![("pod token", ground.stage.pod_token("eu1"))],
        "XC-08" => {
            let ask = TokenAsk::new("shop", "api", "").audiences(&[]);
            vec![("for the API server", ground.stage.cluster("eu1").mint(&ask).unwrap())]
        }
        "XC-09" => vec![
            ("by a trust domain's key", sign(typed("txntoken+jwt"))),
            ("by a cluster's key", sign(typed_pod("txntoken+jwt"))),
        ],
        "XC-10" => vec![
            ("by a trust domain's key", sign(typed("oauth-id-jag+jwt"))),
            ("by a cluster's key", sign(typed_pod("oauth-id-jag+jwt"))),
        ],
        "XC-11" => vec![("with our issuer", sign(typed("oauth-id-jag+jwt").claim("aud", "https://orders.example")))],
        "XC-12" => {
            let proof = |typ: &str| {
                let proof = es256("own");
                let forge = svid().header("typ", typ).header("jwk", own_key()).claim("htm", "POST");
                sign(forge.claim("htu", format!("{issuer}/token")).claim("iat", now).key(&proof))
            };
            vec![
                ("DPoP proof", proof("dpop+jwt")),
                ("WPT", sign(typed("wpt+jwt").claim("wth", "x"))),
                ("PoP JWT", sign(typed("oauth-client-attestation-pop+jwt").claim("challenge", "x"))),
            ]
        }
        "XC-13" => {
            let answer = json!({ "active": true, "sub": API });
            vec![
                (
                    "by a trust domain's key",
                    sign(typed("token-introspection+jwt").claim("token_introspection", answer.clone())),
                ),
                ("by a cluster's key", sign(typed_pod("token-introspection+jwt").claim("token_introspection", answer))),
            ]
        }
        "XC-14" => {
            let claims = valid_svid(PARTNER, &[issuer], ground.now(), Lifetime::from_minutes(5));
            vec![("by the x509-svid key", sign(Forge::new(&rsa("x509", Algorithm::RS256), claims)))]
        }
        other => panic!("no row {other}"),
    }
}

/// Each cell, and the reason for each token of its row.
#[rustfmt::skip]
const CELLS: &[(&str, &[&str])] = &[
    ("XC-01/jwt-bearer", &["source_unknown"]),
    ("XC-02/jwt-spiffe", &["audience_mismatch"]),
    ("XC-02/jwt-bearer", &["source_unknown"]),
    ("XC-03/jwt-spiffe", &["credential_malformed", "key_unknown"]),
    ("XC-03/jwt-bearer", &["credential_malformed", "source_unknown"]),
    ("XC-04/jwt-spiffe", &["audience_mismatch", "key_unknown", "key_unknown"]),
    ("XC-04/jwt-bearer", &["source_unknown", "subject_invalid", "subject_invalid"]),
    ("XC-05/jwt-spiffe", &["credential_malformed", "key_unknown"]),
    ("XC-05/jwt-bearer", &["credential_malformed", "source_unknown"]),
    ("XC-06/jwt-spiffe", &["credential_malformed"]),
    ("XC-06/jwt-bearer", &["credential_malformed"]),
    ("XC-07/jwt-spiffe", &["subject_invalid"]),
    ("XC-08/jwt-spiffe", &["subject_invalid"]),
    ("XC-08/jwt-bearer", &["audience_mismatch"]),
    ("XC-09/jwt-spiffe", &["credential_malformed", "credential_malformed"]),
    ("XC-09/jwt-bearer", &["credential_malformed", "credential_malformed"]),
    ("XC-10/jwt-spiffe", &["credential_malformed", "credential_malformed"]),
    ("XC-10/jwt-bearer", &["credential_malformed", "credential_malformed"]),
    ("XC-11/jwt-spiffe", &["credential_malformed"]),
    ("XC-11/jwt-bearer", &["credential_malformed"]),
    ("XC-12/jwt-spiffe", &["algorithm_refused", "credential_malformed", "credential_malformed"]),
    ("XC-12/jwt-bearer", &["algorithm_refused", "credential_malformed", "credential_malformed"]),
    ("XC-13/jwt-spiffe", &["credential_malformed", "credential_malformed"]),
    ("XC-13/jwt-bearer", &["credential_malformed", "credential_malformed"]),
    ("XC-14/jwt-spiffe", &["key_unknown"]),
    ("XC-14/jwt-bearer", &["source_unknown"]),
    ("XC-02/subject-jwt", &["audience_mismatch"]),
    ("XC-03/subject-jwt", &["credential_malformed", "key_unknown"]),
    ("XC-04/subject-jwt", &["audience_mismatch", "key_unknown", "key_unknown"]),
    ("XC-05/subject-jwt", &["credential_malformed", "key_unknown"]),
    ("XC-06/subject-jwt", &["credential_malformed"]),
    ("XC-08/subject-jwt", &["audience_mismatch"]),
    ("XC-09/subject-jwt", &["credential_malformed", "credential_malformed"]),
    ("XC-10/subject-jwt", &["credential_malformed", "credential_malformed"]),
    ("XC-11/subject-jwt", &["credential_malformed"]),
    ("XC-12/subject-jwt", &["algorithm_refused", "credential_malformed", "credential_malformed"]),
    ("XC-13/subject-jwt", &["credential_malformed", "credential_malformed"]),
    ("XC-14/subject-jwt", &["key_unknown"]),
    ("XC-01/subject-access-token", &["source_unknown"]),
    ("XC-02/subject-access-token", &["source_unknown"]),
    ("XC-04/subject-access-token", &["source_unknown", "credential_malformed", "source_unknown"]),
    ("XC-05/subject-access-token", &["credential_malformed", "credential_malformed"]),
    ("XC-06/subject-access-token", &["credential_malformed"]),
    ("XC-07/subject-access-token", &["credential_malformed"]),
    ("XC-08/subject-access-token", &["credential_malformed"]),
    ("XC-09/subject-access-token", &["credential_malformed", "credential_malformed"]),
    ("XC-10/subject-access-token", &["credential_malformed", "credential_malformed"]),
    ("XC-11/subject-access-token", &["credential_malformed"]),
    ("XC-12/subject-access-token", &["algorithm_refused", "credential_malformed", "credential_malformed"]),
    ("XC-13/subject-access-token", &["credential_malformed", "credential_malformed"]),
    ("XC-14/subject-access-token", &["source_unknown"]),
    ("XC-01/jwt-bearer-grant", &["grant_unsupported"]),
    ("XC-02/jwt-bearer-grant", &["grant_unsupported"]),
    ("XC-03/jwt-bearer-grant", &["grant_unsupported", "grant_unsupported"]),
    ("XC-04/jwt-bearer-grant", &["grant_unsupported", "grant_unsupported", "grant_unsupported"]),
    ("XC-05/jwt-bearer-grant", &["grant_unsupported", "grant_unsupported"]),
    ("XC-06/jwt-bearer-grant", &["grant_unsupported"]),
    ("XC-07/jwt-bearer-grant", &["grant_unsupported"]),
    ("XC-08/jwt-bearer-grant", &["grant_unsupported"]),
    ("XC-09/jwt-bearer-grant", &["grant_unsupported", "grant_unsupported"]),
    ("XC-10/jwt-bearer-grant", &["grant_unsupported", "grant_unsupported"]),
    ("XC-11/jwt-bearer-grant", &["grant_unsupported"]),
    ("XC-12/jwt-bearer-grant", &["grant_unsupported", "grant_unsupported", "grant_unsupported"]),
    ("XC-13/jwt-bearer-grant", &["grant_unsupported", "grant_unsupported"]),
    ("XC-14/jwt-bearer-grant", &["grant_unsupported"]),
    ("XC-01/attestation", &["assertion_type_unsupported"]),
    ("XC-02/attestation", &["assertion_type_unsupported"]),
    ("XC-03/attestation", &["assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-04/attestation", &["assertion_type_unsupported", "assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-05/attestation", &["assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-06/attestation", &["assertion_type_unsupported"]),
    ("XC-07/attestation", &["assertion_type_unsupported"]),
    ("XC-08/attestation", &["assertion_type_unsupported"]),
    ("XC-09/attestation", &["assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-10/attestation", &["assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-11/attestation", &["assertion_type_unsupported"]),
    ("XC-12/attestation", &["assertion_type_unsupported", "assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-13/attestation", &["assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-14/attestation", &["assertion_type_unsupported"]),
    ("XC-01/bearer", &["assertion_type_unsupported"]),
    ("XC-02/bearer", &["assertion_type_unsupported"]),
    ("XC-03/bearer", &["assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-04/bearer", &["assertion_type_unsupported", "assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-05/bearer", &["assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-06/bearer", &["assertion_type_unsupported"]),
    ("XC-07/bearer", &["assertion_type_unsupported"]),
    ("XC-08/bearer", &["assertion_type_unsupported"]),
    ("XC-09/bearer", &["assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-10/bearer", &["assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-11/bearer", &["assertion_type_unsupported"]),
    ("XC-12/bearer", &["assertion_type_unsupported", "assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-13/bearer", &["assertion_type_unsupported", "assertion_type_unsupported"]),
    ("XC-14/bearer", &["assertion_type_unsupported"]),
];
