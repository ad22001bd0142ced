//! Tokens that are bound to the certificate of the connection (RFC 8705 §3).

use aws_lc_rs::digest::{SHA256, digest};
use base64ct::{Base64UrlUnpadded, Encoding};
use countersign::clock::{Clock, Lifetime};
use countersign::world::x509::Certified;
use serde_json::json;

use super::ground::{Ground, PARTNER, alone, ask};
use crate::cases::dpop::proof_by;
use crate::cases::keyring::es256;
use crate::stage::{API, Answer, JWT_SPIFFE, ORDERS};

/// Tokens for `orders` are bound here.
async fn bound() -> Ground {
    Ground::with(|text| text.replacen("owner: team-commerce", "owner: team-commerce, require: bound", 1)).await
}

fn x5t(leaf: &Certified) -> String {
    Base64UrlUnpadded::encode_string(digest(&SHA256, leaf.der()).as_ref())
}

/// A request with a JWT-SVID on a connection with this certificate.
async fn with_jwt(ground: &Ground, leaf: Option<&Certified>) -> Answer {
    let svid = ground.prod().mint(API, &[&ground.issuer], Lifetime::from_minutes(5)).unwrap();
    crate::evidence::secret(&svid);
    let explicit = [("client_assertion_type", JWT_SPIFFE), ("client_assertion", svid.as_str()), ("resource", ORDERS)];
    ground.connect(leaf.map(alone)).await.token(&explicit, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mtl_04_mtl_09_a_bound_token_names_the_certificate_and_ends_with_it() {
    let ground = bound().await;
    let mut params = ground.params(API);
    let ends = ground.stage.clock.now().plus(Lifetime::from_minutes(2));
    params.not_after = time::OffsetDateTime::from_unix_timestamp(ends.seconds()).unwrap();
    let short = ground.prod().issue_x509(&params).unwrap();
    let answer = ask(&mut ground.connect(Some(alone(&short))).await, API).await;
    assert_eq!(answer.claims()["cnf"]["x5t#S256"], x5t(&short), "MTL-04");
    assert_eq!(answer.claims()["exp"], ends.seconds(), "MTL-09: the resource allows five minutes");
    // Beside an explicit credential the certificate of the connection binds, whoever issued it: its key was proven.
    for leaf in [&short, &ground.partner.issue_x509(&params).unwrap(), &ground.servers.issue(&params).unwrap()] {
        let answer = with_jwt(&ground, Some(leaf)).await;
        assert_eq!(answer.claims()["cnf"]["x5t#S256"], x5t(leaf));
        assert_eq!(answer.claims()["exp"], ends.seconds(), "MTL-09");
    }
    let answer = with_jwt(&ground, None).await;
    assert_eq!((answer.status, ground.stage.reason(&answer).await.as_str()), (400, "binding_required"));
    // A certificate that is over binds nothing.
    let mut over = ground.params(PARTNER);
    over.not_before = time::OffsetDateTime::from_unix_timestamp(ends.seconds() - 7200).unwrap();
    over.not_after = time::OffsetDateTime::from_unix_timestamp(ends.seconds() - 3600).unwrap();
    let answer = with_jwt(&ground, Some(&ground.partner.issue_x509(&over).unwrap())).await;
    assert_eq!(ground.stage.reason(&answer).await, "binding_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_certificate_a_proof_is_what_binds() {
    let ground = bound().await;
    let leaf = ground.prod().issue_x509(&ground.params(API)).unwrap();
    let proof = proof_by(&es256("mine"), &ground.issuer, ground.stage.clock.now().seconds()).sign().unwrap().token();
    let mut connection = ground.connect(Some(alone(&leaf))).await;
    let form = [("client_id", API), ("resource", ORDERS)];
    let answer = connection.token(&form, &[("dpop", &proof)]).await;
    assert_eq!(answer.body["token_type"], "DPoP", "{}", answer.text);
    let cnf = &answer.claims()["cnf"];
    assert!(cnf["jkt"].is_string() && cnf.get("x5t#S256").is_none(), "one key, not two: {cnf}");
    // A proof that does not hold is no reason to fall back to the certificate.
    let again = connection.token(&form, &[("dpop", &proof)]).await;
    assert_eq!((again.status, again.error()), (400, "invalid_dpop_proof"), "{}", again.text);
    assert_eq!(connection.token(&form, &[]).await.claims()["cnf"], json!({ "x5t#S256": x5t(&leaf) }));
}

#[tokio::test(flavor = "multi_thread")]
async fn mtl_06_introspection_says_which_certificate_a_token_is_bound_to() {
    let ground = bound().await;
    let leaf = ground.prod().issue_x509(&ground.params(API)).unwrap();
    let mut connection = ground.connect(Some(alone(&leaf))).await;
    let token = ask(&mut connection, API).await;
    let token = token.body["access_token"].as_str().unwrap();
    let told = connection.post("/introspect", &[("client_id", API), ("token", token)], &[]).await;
    assert_eq!((&told.body["active"], &told.body["cnf"]), (&json!(true), &json!({ "x5t#S256": x5t(&leaf) })));
    assert_eq!(told.body["token_type"], "Bearer", "RFC 8705 has no type of its own");
}
