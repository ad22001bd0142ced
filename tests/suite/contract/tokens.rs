//! Access tokens (standards part 9). What each token says whole is asserted in `accepted`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use countersign::credential::{CompactJws, Shown};
use countersign::exchange::{Exchange, ExchangeRequest, Transport};
use countersign::jose::{Candidates, Header, KeyPurpose, KeySet, UnverifiedClaims, open};
use countersign::policy::Ask;

use crate::stage::{API, JWT_BEARER, JWT_SPIFFE, Stage, part};

/// Callers at one time, and exchanges of each. Far fewer than the 10^5 of the requirement: an unoptimised exchange takes a
/// millisecond, and each leaves its record in the evidence.
const CALLERS: usize = 4;
const EACH: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn at_11_no_token_id_comes_twice() {
    let stage = Stage::standard().await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (svid, exchange) = (stage.svid(), Arc::clone(stage.app.exchange()));
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for _ in 0..EACH {
                    ids.push(exchange_once(&exchange, &svid).await);
                }
                ids
            })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for caller in callers {
        ids.extend(caller.await.unwrap());
    }
    assert_eq!(ids.len(), CALLERS * EACH);
}

/// Through the core, behind every door: the same path without sockets.
async fn exchange_once(exchange: &Exchange, svid: &str) -> String {
    let request = ExchangeRequest {
        client: Shown::JwtSvid(CompactJws::parse(svid.to_owned()).unwrap()),
        subject: None,
        actor: None,
        proof: None,
        peer: None,
        ask: Ask { audience: Some("orders".to_owned()), ..Ask::default() },
    };
    let mut decision = exchange.open(Transport::Http, IpAddr::V4(Ipv4Addr::LOCALHOST));
    exchange.run(request, &mut decision).await.unwrap().token.id
}

#[tokio::test(flavor = "multi_thread")]
async fn at_15_a_resource_server_finds_issuer_and_key_by_the_token_alone() {
    let stage = Stage::standard().await;
    for (resource, algorithm) in [("orders", "ES256"), ("search", "RS256")] {
        let answer = stage
            .token(&[
                ("client_assertion_type", JWT_SPIFFE),
                ("client_assertion", &stage.svid()),
                ("audience", resource),
            ])
            .await;
        let token = answer.body["access_token"].as_str().unwrap();
        let issuer = part(token, 1)["iss"].as_str().unwrap().to_owned();
        assert_eq!(issuer, stage.issuer, "MD-01");
        let metadata = stage.request("GET", "/.well-known/openid-configuration", &[]).await;
        let path = metadata.body["jwks_uri"].as_str().unwrap().strip_prefix(&issuer).unwrap().to_owned();
        let keys = KeySet::parse(stage.request("GET", &path, &[]).await.text.as_bytes(), KeyPurpose::JwkSet).unwrap();
        let jws = CompactJws::parse(token.to_owned()).unwrap();
        let header = Header::read(&jws).unwrap();
        assert_eq!(header.algorithm.name(), algorithm, "AT-02");
        let Candidates::Try(fitting) = keys.candidates(&header) else { panic!("no key for {header:?}") };
        let claims = open(&jws, &header, UnverifiedClaims::read(&jws).unwrap(), &fitting[0]).unwrap();
        assert_eq!(claims.text("sub").unwrap(), API, "AT-04");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_09_two_resources_have_two_audiences() {
    let stage = Stage::standard().await;
    let mut audiences = BTreeSet::new();
    for resource in ["orders", "search"] {
        let form = [("client_assertion_type", JWT_SPIFFE), ("client_assertion", &stage.svid()), ("audience", resource)];
        let claims = stage.token(&form).await.claims();
        assert!(claims["aud"].is_string(), "RI-06");
        audiences.insert(claims["aud"].as_str().unwrap().to_owned());
    }
    assert_eq!(audiences.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_14_a_token_of_ours_opens_nothing_here() {
    let stage = Stage::standard().await;
    let issued = stage.exchange_svid(&stage.svid()).await;
    let token = issued.body["access_token"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    for kind in [JWT_SPIFFE, JWT_BEARER] {
        let again =
            stage.token(&[("client_assertion_type", kind), ("client_assertion", token), ("audience", "orders")]).await;
        assert_eq!((again.status, again.error()), (400, "invalid_client"), "XC-03 {kind}");
    }
    let alone = stage
        .form(&[("grant_type", "client_credentials"), ("audience", "orders")], &[("authorization", &bearer)])
        .await;
    assert_eq!((alone.status, alone.error()), (401, "invalid_client"));
    assert!(alone.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer "), "TOK-18");
    for path in ["/jwks", "/.well-known/openid-configuration"] {
        let with = stage.request("GET", path, &[("authorization", &bearer)]).await;
        assert_eq!(with.text, stage.request("GET", path, &[]).await.text, "{path}");
    }
}
