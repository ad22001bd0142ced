//! `GET /jwks` (standards part 6).

use std::collections::BTreeSet;

use aws_lc_rs::digest;
use base64ct::{Base64UrlUnpadded, Encoding};
use countersign::issue::{JWKS_MAX_AGE, PUBLISHED_BEFORE_USE};
use serde_json::Value;

use super::{header, members};
use crate::stage::Stage;

fn bytes(jwk: &Value, member: &str) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(jwk[member].as_str().unwrap()).unwrap()
}

/// RFC 7638 §3: the required members in order, without white space.
fn thumbprint(jwk: &Value, required: &[&str]) -> String {
    let members: Vec<String> = required.iter().map(|name| format!("\"{name}\":{}", jwk[*name])).collect();
    let text = format!("{{{}}}", members.join(","));
    Base64UrlUnpadded::encode_string(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_01_to_05_public_members_exactly() {
    let stage = Stage::standard().await;
    let answer = stage.request("GET", "/jwks", &[]).await;
    assert_eq!((answer.status, header(&answer, "content-type")), (200, "application/json"));
    assert_eq!(members(&answer.body), ["keys"]);
    let keys = answer.body["keys"].as_array().unwrap();
    let mut kinds: Vec<&str> = keys.iter().map(|key| key["kty"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["EC", "RSA"], "ES256, and RS256 because a resource asks for it");
    for key in keys {
        assert_eq!(key["use"], "sig", "JWK-01 MD-09");
        if key["kty"] == "EC" {
            assert_eq!(members(key), ["alg", "crv", "kid", "kty", "use", "x", "y"], "JWK-02");
            assert_eq!((&key["alg"], &key["crv"]), (&"ES256".into(), &"P-256".into()));
            assert_eq!((bytes(key, "x").len(), bytes(key, "y").len()), (32, 32), "JWK-04");
            assert_eq!(key["kid"], thumbprint(key, &["crv", "kty", "x", "y"]), "JWK-03");
        } else {
            assert_eq!(members(key), ["alg", "e", "kid", "kty", "n", "use"], "JWK-02");
            assert_eq!((&key["alg"], &key["e"]), (&"RS256".into(), &"AQAB".into()), "JWK-05");
            let modulus = bytes(key, "n");
            assert!(modulus.len() == 256 && modulus[0] >= 0x80, "JWK-05 JWK-07");
            assert_eq!(key["kid"], thumbprint(key, &["e", "kty", "n"]), "JWK-03");
        }
    }
    let ids: BTreeSet<&str> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), keys.len(), "JWK-03");
}

#[tokio::test(flavor = "multi_thread")]
async fn md_16_caches_may_keep_the_keys_for_less_than_the_overlap() {
    let stage = Stage::standard().await;
    let first = stage.request("GET", "/jwks", &[]).await;
    assert_eq!(header(&first, "cache-control"), format!("public, max-age={}", JWKS_MAX_AGE.seconds()));
    assert!(JWKS_MAX_AGE < PUBLISHED_BEFORE_USE);
    let etag = header(&first, "etag");
    assert!(etag.len() > 10 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let several = format!("\"other\", W/{etag}");
    for known in [etag, several.as_str(), "*"] {
        let again = stage.request("GET", "/jwks", &[("if-none-match", known)]).await;
        assert_eq!((again.status, again.text.as_str(), header(&again, "etag")), (304, "", etag), "{known}");
        assert_eq!(header(&again, "cache-control"), header(&first, "cache-control"), "RFC 9110 §15.4.5");
    }
    let other = stage.request("GET", "/jwks", &[("if-none-match", "\"other\"")]).await;
    assert_eq!((other.status, other.text), (200, first.text));
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_03_keys_keep_their_names_over_a_restart() {
    let mut stage = Stage::standard().await;
    let before = stage.request("GET", "/jwks", &[]).await;
    let token = stage.exchange_svid(&stage.svid()).await;
    stage.restart().await;
    let after = stage.request("GET", "/jwks", &[]).await;
    assert_eq!((&before.text, before.headers["etag"].clone()), (&after.text, after.headers["etag"].clone()));
    let published: Vec<&Value> = after.body["keys"].as_array().unwrap().iter().map(|key| &key["kid"]).collect();
    assert!(published.contains(&&token.token_header()["kid"]), "AT-15");
}
