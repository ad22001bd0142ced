//! JWT-SVIDs that are right.

use countersign::clock::Lifetime;
use countersign::jose::Algorithm;
use serde_json::json;

use super::house::{ADDRESS, House, ODD, longest_domain, signed, signed_by};
use super::row::{GUEST, Gets, Row, SVID};

fn by(house: &House, algorithm: Algorithm) -> String {
    signed_by(house.svid(), &house.prod[&algorithm])
}

/// An ID of exactly 2048 bytes (SID-07).
fn longest_id() -> String {
    let start = "spiffe://prod.example/long/";
    format!("{start}{}", "p".repeat(2048 - start.len()))
}

/// Algorithms, keys and names.
pub const ROWS: &[Row] = &[
    Row { name: "JSV-02 RS256", credential: |house| by(house, Algorithm::RS256), ..SVID },
    Row { name: "JSV-02 RS384", credential: |house| by(house, Algorithm::RS384), ..SVID },
    Row { name: "JSV-02 RS512", credential: |house| by(house, Algorithm::RS512), ..SVID },
    Row { name: "JSV-02 ES256", credential: |house| by(house, Algorithm::ES256), ..SVID },
    Row { name: "JSV-02 JOSE-17 ES384", credential: |house| by(house, Algorithm::ES384), ..SVID },
    Row { name: "JSV-02 JOSE-17 ES512", credential: |house| by(house, Algorithm::ES512), ..SVID },
    Row { name: "JSV-02 JOSE-18 PS256", credential: |house| by(house, Algorithm::PS256), ..SVID },
    Row { name: "JSV-02 JOSE-18 PS384", credential: |house| by(house, Algorithm::PS384), ..SVID },
    Row { name: "JSV-02 JOSE-18 PS512", credential: |house| by(house, Algorithm::PS512), ..SVID },
    Row {
        name: "JSV-04 no kid, and one key fits the algorithm",
        credential: |house| {
            let key = &house.prod[&Algorithm::ES384];
            signed(&house.svid().header("alg", "ES384").without_header("kid").key(key))
        },
        ..SVID
    },
    Row {
        name: "JSV-12 JWK-08 BUN-03 a Workload API bundle without use, and an odd key in it",
        credential: |house| {
            let text = String::from_utf8(house.stage.world.trust_domain().jwt_bundle()).unwrap();
            assert!(!text.contains("\"use\":\"jwt-svid\"") && text.contains("ML-DSA"), "the world changed: {text}");
            house.stage.svid()
        },
        ..SVID
    },
    Row {
        name: "JWK-12 JWK-08 BUN-03 BUN-10 JWK-09 two keys of one kid among odd ones, unknown members around them",
        credential: |house| signed(&house.guest(&house.odd, "/w")),
        gets: Gets { source: "odd", sub: || format!("spiffe://{ODD}/w"), ..GUEST.gets },
        ..GUEST
    },
    Row {
        name: "JOSE-21 JWK-10 a kid like a path and a query, and key_ops that say verify",
        credential: |house| signed(&house.guest(&house.address, "/w")),
        gets: Gets { source: "address", sub: || format!("spiffe://{ADDRESS}/w"), ..GUEST.gets },
        ..GUEST
    },
    Row {
        name: "JWK-04 SID-07 a coordinate with a leading zero, in a trust domain of 255 bytes",
        credential: |house| signed(&house.guest(&house.longest, "/w")),
        gets: Gets { source: "longest", sub: || format!("spiffe://{}/w", longest_domain()), ..GUEST.gets },
        ..GUEST
    },
    Row {
        name: "SID-08 SID-03 a trust domain like an address, no lookup",
        credential: |house| signed(&house.guest(&house.address, "/a")),
        gets: Gets { source: "address", sub: || format!("spiffe://{ADDRESS}/a"), ..GUEST.gets },
        ..GUEST
    },
    Row {
        name: "SID-03 a trust domain with hyphen, underscore and two dots",
        credential: |house| signed(&house.guest(&house.odd, "/a")),
        gets: Gets { source: "odd", sub: || format!("spiffe://{ODD}/a"), ..GUEST.gets },
        ..GUEST
    },
    Row {
        name: "SID-05 a path of every allowed character, a segment of three dots among them",
        credential: |house| signed(&house.guest(&house.address, "/.../A-z_0.9/-/_/..a")),
        gets: Gets { source: "address", sub: || format!("spiffe://{ADDRESS}/.../A-z_0.9/-/_/..a"), ..GUEST.gets },
        ..GUEST
    },
    Row {
        name: "SID-06 SID-11 capitals in the path are kept byte for byte",
        credential: |house| signed(&house.svid().claim("sub", "spiffe://prod.example/ns/Shop/sa/API")),
        gets: Gets {
            sub: || "spiffe://prod.example/ns/Shop/sa/API".to_owned(),
            flat: &[("namespace", "Shop"), ("service_account", "API")],
            ..SVID.gets
        },
        ..SVID
    },
    Row {
        name: "SID-07 an ID of 2048 bytes",
        credential: |house| signed(&house.svid().claim("sub", longest_id())),
        gets: Gets {
            sub: longest_id,
            flat: &[],
            scope: "read",
            rule: "whoever has a long name may read orders",
            ..SVID.gets
        },
        ..SVID
    },
];

/// Headers, claims and times.
pub const SHAPES: &[Row] = &[
    Row { name: "JSV-03 no typ", credential: |house| signed(&house.svid().without_header("typ")), ..SVID },
    Row { name: "JSV-03 typ JWT", credential: |house| signed(&house.svid().header("typ", "JWT")), ..SVID },
    Row { name: "JSV-03 typ JOSE", credential: |house| signed(&house.svid().header("typ", "JOSE")), ..SVID },
    Row {
        name: "JSV-03 JOSE-12 typ jwt in small letters",
        credential: |house| signed(&house.svid().header("typ", "jwt")),
        ..SVID
    },
    Row {
        name: "JSV-03 JOSE-12 typ as a whole media type",
        credential: |house| signed(&house.svid().header("typ", "application/JWT")),
        ..SVID
    },
    Row {
        name: "JSV-05 unknown header members",
        credential: |house| signed(&house.svid().header("iat", 1).header("ppt", "x").header("foo", json!({ "a": []}))),
        ..SVID
    },
    Row {
        name: "JSV-18 CA-06 JOSE-13 aud as a string",
        credential: |house| signed(&house.svid().claim("aud", house.stage.issuer.as_str())),
        ..SVID
    },
    Row {
        name: "JSV-18 CA-06 JOSE-13 aud as an array of one",
        credential: |house| signed(&house.svid().claim("aud", json!([house.stage.issuer]))),
        ..SVID
    },
    Row {
        name: "JSV-13 nothing but sub, aud and exp",
        credential: |house| {
            signed(&house.svid().without_claim("iat").without_claim("jti").without_claim("nbf").without_claim("iss"))
        },
        ..SVID
    },
    Row {
        name: "JSV-13 any iss at all: the bundle of the trust domain vouches",
        credential: |house| signed(&house.svid().claim("iss", "https://oidc-discovery.prod.example")),
        ..SVID
    },
    Row {
        name: "NOR-08 unknown claims, which stay outside",
        credential: |house| {
            let forge = house.svid().claim("roles", json!(["admin"])).claim("scope", "everything");
            let forge = forge.claim("client_id", "root").claim("act", json!({ "sub": "x" })).claim("cluster", "eu1");
            signed(&forge.claim("kubernetes.io", json!({ "namespace": "kube-system" })))
        },
        ..SVID
    },
    Row {
        name: "JOSE-07 JOSE-22 escaped names, white space and any order in the JSON",
        credential: |house| {
            let (exp, issuer) = (house.in_seconds(300), &house.stage.issuer);
            let claims = format!(
                "{{ \"\\u0065xp\" :\t{exp},\n\"aud\" : [ \"{issuer}\" ],\r\n\"su\\u0062\":\"spiffe:\\/\\/prod.example/ns/shop/sa/api\" }}"
            );
            signed(&house.svid().raw_claims(claims.into_bytes()))
        },
        ..SVID
    },
    Row {
        name: "JOSE-14 CA-08 exp with a fraction",
        credential: |house| signed(&house.svid().claim("exp", house.in_seconds(100) as f64 + 0.75)),
        gets: Gets { life: 100, ..SVID.gets },
        ..SVID
    },
    Row {
        name: "JOSE-14 iat and nbf with a fraction",
        credential: |house| {
            let now = house.in_seconds(0) as f64;
            signed(&house.svid().claim("iat", now - 0.5).claim("nbf", now - 0.25))
        },
        ..SVID
    },
    Row {
        name: "JOSE-14 exp with an exponent",
        credential: |house| {
            let (exp, issuer) = (house.in_seconds(200), &house.stage.issuer);
            let sub = crate::stage::API;
            signed(
                &house.svid().raw_claims(format!(r#"{{"sub":"{sub}","aud":"{issuer}","exp":{exp}0e-1}}"#).into_bytes()),
            )
        },
        gets: Gets { life: 200, ..SVID.gets },
        ..SVID
    },
    Row {
        name: "CA-08 JSV-08 AT-12 exp in 11 s, and the token ends with it",
        credential: |house| signed(&house.svid().claim("exp", house.in_seconds(11))),
        gets: Gets { life: 11, ..SVID.gets },
        ..SVID
    },
    Row {
        name: "CA-08 JSV-08 exp in exactly 10 s",
        credential: |house| signed(&house.svid().claim("exp", house.in_seconds(10))),
        gets: Gets { life: 10, ..SVID.gets },
        ..SVID
    },
    Row {
        name: "JSV-09 JSV-14 LIM-08 iat 30 s ahead: the leeway",
        credential: |house| signed(&house.svid().claim("iat", house.in_seconds(30))),
        ..SVID
    },
    Row {
        name: "JSV-09 CA-10 LIM-08 nbf 30 s ahead: the leeway",
        credential: |house| signed(&house.svid().claim("nbf", house.in_seconds(30))),
        ..SVID
    },
    Row {
        name: "JSV-16 CA-09 CA-10 23 hours old and 24 long",
        credential: |house| {
            signed(&house.svid().claim("iat", house.in_seconds(-23 * 3600)).claim("exp", house.in_seconds(3600)))
        },
        ..SVID
    },
    Row {
        name: "JSV-16 CA-09 without iat, and an end in exactly 24 hours",
        credential: |house| signed(&house.svid().without_claim("iat").claim("exp", house.in_seconds(24 * 3600))),
        ..SVID
    },
    Row { name: "CA-11 JSV-17 a cached SVID, twice", times: 2, ..SVID },
    Row {
        name: "CA-11 JSV-17 a jti that others had too",
        credential: |house| signed(&house.svid().claim("jti", "one-for-all")),
        times: 2,
        ..SVID
    },
    Row {
        name: "JSV-10 the SVID that the Workload API itself mints",
        credential: |house| {
            let issuer = house.stage.issuer.as_str();
            house.stage.world.trust_domain().mint(crate::stage::API, &[issuer], Lifetime::from_minutes(30)).unwrap()
        },
        ..SVID
    },
];
