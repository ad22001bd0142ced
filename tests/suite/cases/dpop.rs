//! Standards part 16: proofs of possession (DPoP). Each row is a good request with a proof that is spoiled in one respect.

use std::sync::atomic::{AtomicU64, Ordering};

use countersign::world::forge::Forge;
use countersign::world::keys::{Algorithm, NamedKey};
use serde_json::{Map, Value, json};

use super::accepted::Neighbour;
use super::ground::Ground;
use super::keyring::{SHARED_SECRET, WEAK_N, encode, es256, key, rsa};
use super::request::Request;
use super::run::{PROOF, REQUEST, Row, refuse, row};
use crate::stage::part;

#[tokio::test(flavor = "multi_thread")]
async fn proofs_of_possession() {
    refuse(&Ground::new().await, ROWS).await;
}

/// A good proof by a key, for the token endpoint, made now.
pub fn proof_by(key: &NamedKey, issuer: &str, now: i64) -> Forge {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut claims = Map::new();
    claims.insert("jti".to_owned(), format!("proof-{}", NEXT.fetch_add(1, Ordering::Relaxed)).into());
    claims.insert("htm".to_owned(), "POST".into());
    claims.insert("htu".to_owned(), format!("{issuer}/token").into());
    claims.insert("iat".to_owned(), now.into());
    Forge::new(key, claims).without_header("kid").header("typ", "dpop+jwt").header("jwk", bare(key))
}

/// A public key as clients write it into a proof: the members of the key alone.
pub fn bare(key: &NamedKey) -> Value {
    let mut jwk = key.public_jwk();
    jwk.retain(|name, _| ["kty", "crv", "x", "y", "n", "e"].contains(&name.as_str()));
    Value::Object(jwk)
}

/// A good request with a proof that is spoiled before it is signed.
fn proof(ground: &Ground, spoil: impl FnOnce(Forge) -> Forge) -> Request {
    let forge = proof_by(&es256("proof"), ground.issuer(), ground.now().seconds());
    ground.good().header("dpop", &spoil(forge).sign().unwrap().token())
}

/// With another `htu`, made of the host and port of the issuer.
fn htu(ground: &Ground, make: fn(&str) -> String) -> Request {
    let host = ground.issuer().trim_start_matches("http://");
    proof(ground, |t| t.claim("htu", make(host)))
}

/// With another key in the header, which did not sign.
fn jwk(ground: &Ground, jwk: Value) -> Request {
    proof(ground, |t| t.header("jwk", jwk))
}

/// A good proof by the key of another algorithm.
fn by(ground: &Ground, key: &NamedKey) -> Request {
    let forge = proof_by(key, ground.issuer(), ground.now().seconds());
    ground.good().header("dpop", &forge.sign().unwrap().token())
}

fn made(ground: &Ground, after: i64) -> Request {
    proof(ground, |t| t.claim("iat", ground.now().seconds() + after))
}

fn with_member(member: &str, value: Value) -> Value {
    let mut jwk = bare(&es256("proof"));
    jwk[member] = value;
    jwk
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("DPO-01 two headers", "proof_invalid", PROOF, |g| {
        let again = proof_by(&es256("proof"), g.issuer(), g.now().seconds()).sign().unwrap().token();
        proof(g, |t| t).header("dpop", &again)
    }),
    row("DPO-01 two proofs in one header", "proof_invalid", PROOF, |g| {
        let one = proof_by(&es256("proof"), g.issuer(), g.now().seconds()).sign().unwrap().token();
        g.good().header("dpop", &format!("{one},{one}"))
    }),
    row("DPO-01 an empty header", "proof_invalid", PROOF, |g| g.good().header("dpop", "")),
    row("DPO-01 a header of text", "proof_invalid", PROOF, |g| g.good().header("dpop", "proof")),
    row("DPO-01 LIM-02 a proof of over 8 KiB", "proof_invalid", PROOF, |g| proof(g, |t| t.claim("more", "x".repeat(6 * 1024)))),
    row("DPO-02 typ is JWT", "proof_invalid", PROOF, |g| proof(g, |t| t.header("typ", "JWT"))),
    row("DPO-02 typ is DPOP+JWT", "proof_invalid", PROOF, |g| proof(g, |t| t.header("typ", "DPOP+JWT"))),
    row("DPO-02 no typ", "proof_invalid", PROOF, |g| proof(g, |t| t.without_header("typ"))),
    row("DPO-02 a JWT-SVID as proof", "proof_invalid", PROOF, |g| g.good().header("dpop", &g.stage.svid())),
    row("DPO-02 our own access token as proof", "proof_invalid", PROOF, |g| g.good().header("dpop", &g.ours)),
    row("DPO-02 JOSE-01 alg is none", "proof_invalid", PROOF, |g| {
        let forge = proof_by(&es256("proof"), g.issuer(), g.now().seconds()).header("alg", "none");
        g.good().header("dpop", &forge.unsigned().token())
    }),
    row("DPO-02 JOSE-02 alg is HS256, the key is in the header", "proof_invalid", PROOF, |g| {
        let shared = json!({ "kty": "oct", "k": encode(SHARED_SECRET) });
        let forge = proof_by(&es256("proof"), g.issuer(), g.now().seconds()).header("alg", "HS256").header("jwk", shared);
        g.good().header("dpop", &forge.hmac_sha256(SHARED_SECRET).token())
    }),
    row("DPO-02 alg is EdDSA", "proof_invalid", PROOF, |g| proof(g, |t| t.header("alg", "EdDSA"))),
    row("DPO-02 no alg", "proof_invalid", PROOF, |g| proof(g, |t| t.without_header("alg"))),
    row("DPO-02 alg of another curve", "proof_invalid", PROOF, |g| proof(g, |t| t.header("alg", "ES384"))),
    row("DPO-02 alg of another type of key", "proof_invalid", PROOF, |g| proof(g, |t| t.header("alg", "RS256"))),
    row("DPO-02 no jwk", "proof_invalid", PROOF, |g| proof(g, |t| t.without_header("jwk"))),
    row("DPO-02 jwk is a text", "proof_invalid", PROOF, |g| jwk(g, json!("key"))),
    row("DPO-02 jwk is a set", "proof_invalid", PROOF, |g| jwk(g, json!({ "keys": [bare(&es256("proof"))] }))),
    row("DPO-02 jwk is private", "proof_invalid", PROOF, |g| jwk(g, with_member("d", json!(encode(&[7; 32]))))),
    row("DPO-02 jwk is symmetric", "proof_invalid", PROOF, |g| jwk(g, json!({ "kty": "oct", "k": encode(SHARED_SECRET) }))),
    row("DPO-02 jwk is for encryption", "proof_invalid", PROOF, |g| jwk(g, with_member("use", json!("enc")))),
    row("DPO-02 jwk has a point off the curve", "proof_invalid", PROOF, |g| jwk(g, with_member("y", json!(encode(&[7; 32]))))),
    row("DPO-02 jwk is RSA of 1024 bits", "proof_invalid", PROOF, |g| {
        jwk(g, json!({ "kty": "RSA", "n": WEAK_N, "e": "AQAB" }))
    }),
    row("DPO-02 jwk is another key", "proof_invalid", PROOF, |g| jwk(g, bare(&es256("another")))),
    row("DPO-02 the signature is another proof's", "proof_invalid", PROOF, |g| {
        let sign = || proof_by(&es256("proof"), g.issuer(), g.now().seconds()).sign().unwrap();
        g.good().header("dpop", &sign().with_signature(&sign().signature_bytes()).token())
    }),
    row("DPO-02 JOSE-16 the signature is DER", "proof_invalid", PROOF, |g| {
        let forge = proof_by(&es256("proof"), g.issuer(), g.now().seconds());
        g.good().header("dpop", &forge.sign_as_der().unwrap().token())
    }),
    row("DPO-02 JOSE-04 crit", "proof_invalid", PROOF, |g| proof(g, |t| t.header("crit", json!(["exp"])))),
    row("DPO-02 JOSE-05 b64", "proof_invalid", PROOF, |g| proof(g, |t| t.header("b64", false))),
    row("DPO-02 JOSE-06 jku", "proof_invalid", PROOF, |g| proof(g, |t| t.header("jku", g.trap_url()))),
    row("DPO-02 JOSE-06 x5u", "proof_invalid", PROOF, |g| proof(g, |t| t.header("x5u", g.trap_url()))),
    row("DPO-02 JOSE-06 x5c", "proof_invalid", PROOF, |g| proof(g, |t| t.header("x5c", json!(["AA"])))),
    row("DPO-02 JOSE-07 a header member twice", "proof_invalid", PROOF, |g| {
        let forge = proof_by(&es256("proof"), g.issuer(), g.now().seconds());
        let header = String::from_utf8(forge.header_bytes()).unwrap();
        proof(g, |_| forge.raw_header(header.replacen('{', r#"{"typ":"dpop+jwt","#, 1)))
    }),
    row("DPO-02 no jti", "proof_invalid", PROOF, |g| proof(g, |t| t.without_claim("jti"))),
    row("DPO-02 jti is empty", "proof_invalid", PROOF, |g| proof(g, |t| t.claim("jti", ""))),
    row("DPO-02 jti is a number", "proof_invalid", PROOF, |g| proof(g, |t| t.claim("jti", 1))),
    row("DPO-02 jti of 257 bytes", "proof_invalid", PROOF, |g| proof(g, |t| t.claim("jti", "x".repeat(257)))),
    row("DPO-02 jti with a control character", "proof_invalid", PROOF, |g| proof(g, |t| t.claim("jti", "a\nb"))),
    row("DPO-02 no htm", "proof_invalid", PROOF, |g| proof(g, |t| t.without_claim("htm"))),
    row("DPO-02 no htu", "proof_invalid", PROOF, |g| proof(g, |t| t.without_claim("htu"))),
    row("DPO-02 no iat", "proof_invalid", PROOF, |g| proof(g, |t| t.without_claim("iat"))),
    row("DPO-02 the claims are a list", "proof_invalid", PROOF, |g| proof(g, |t| t.raw_claims("[]"))),
    row("DPO-03 htm is another method", "proof_invalid", PROOF, |g| proof(g, |t| t.claim("htm", "GET"))),
    row("DPO-03 htm in lower case", "proof_invalid", PROOF, |g| proof(g, |t| t.claim("htm", "post"))),
    row("DPO-03 htu is another endpoint of ours", "proof_invalid", PROOF, |g| htu(g, |h| format!("http://{h}/introspect"))),
    row("DPO-03 htu is the issuer", "proof_invalid", PROOF, |g| htu(g, |h| format!("http://{h}"))),
    row("DPO-03 htu with a slash more", "proof_invalid", PROOF, |g| htu(g, |h| format!("http://{h}/token/"))),
    row("DPO-03 htu with another case of the path", "proof_invalid", PROOF, |g| htu(g, |h| format!("http://{h}/Token"))),
    row("DPO-03 htu by https", "proof_invalid", PROOF, |g| htu(g, |h| format!("https://{h}/token"))),
    row("DPO-03 htu at another port", "proof_invalid", PROOF, |_g| htu(_g, |h| format!("http://{}:1/token", h.split(':').next().unwrap()))),
    row("DPO-03 htu at another host", "proof_invalid", PROOF, |g| htu(g, |h| format!("http://{h}.evil.example/token"))),
    row("DPO-03 htu with a user", "proof_invalid", PROOF, |g| htu(g, |h| format!("http://user@{h}/token"))),
    row("DPO-03 htu is relative", "proof_invalid", PROOF, |g| htu(g, |_| "/token".to_owned())),
    row("DPO-03 htu is a list", "proof_invalid", PROOF, |g| proof(g, |t| t.claim("htu", json!([format!("{}/token", g.issuer())])))),
    row("DPO-03 the host that the request names is not ours", "proof_invalid", PROOF, |g| {
        htu(g, |_| "https://evil.example/token".to_owned()).header("x-forwarded-host", "evil.example")
    }),
    row("DPO-04 made over a minute ago", "proof_invalid", PROOF, |g| made(g, -61)),
    row("DPO-04 made over half a minute from now", "proof_invalid", PROOF, |g| made(g, 31)),
    row("DPO-04 iat is a text", "proof_invalid", PROOF, |g| proof(g, |t| t.claim("iat", g.now().seconds().to_string()))),
    row("DPO-04 iat is negative", "proof_invalid", PROOF, |g| proof(g, |t| t.claim("iat", -1))),
    row("DPO-07 DPO-12 a resource wants a proof and there is a bad one", "proof_invalid", PROOF, |g| {
        made(g, -61).set("resource", "https://safe.example")
    }),
    row("DPO-11 a bad proof beside a token exchange", "proof_invalid", PROOF, |g| {
        let forge = proof_by(&es256("proof"), g.issuer(), g.now().seconds()).claim("htm", "GET");
        g.good_exchange().header("dpop", &forge.sign().unwrap().token())
    }),
    row("DPO-12 a resource wants a bound token and there is no proof", "binding_required", REQUEST, |g| {
        g.good().set("resource", "https://safe.example")
    }),
    row("DPO-12 a rule wants a bound token and there is no proof", "binding_required", REQUEST, |g| {
        g.svid_text(&g.workload("/proves"))
    }),
];

/// One step from a refusal, and granted.
#[rustfmt::skip]
pub const NEIGHBOURS: &[Neighbour] = &[
    ("DPO-02 ES256", |g| proof(g, |t| t)),
    ("DPO-02 ES384", |g| by(g, &key("proof-384", Algorithm::ES384))),
    ("DPO-02 ES512", |g| by(g, &key("proof-521", Algorithm::ES512))),
    ("DPO-02 RS256", |g| by(g, &rsa("proof-rsa", Algorithm::RS256))),
    ("DPO-02 PS256", |g| by(g, &rsa("proof-pss", Algorithm::PS256))),
    ("DPO-02 a kid, which says nothing", |g| proof(g, |t| t.header("kid", "mine"))),
    ("DPO-02 a jwk with kid, use and alg", |g| {
        let key = Value::Object(es256("proof").public_jwk());
        proof(g, |t| t.header("jwk", key))
    }),
    ("DPO-02 jti of 256 bytes", |g| proof(g, |t| {
        let id = part(&t.sign().unwrap().token(), 1)["jti"].as_str().unwrap().to_owned();
        t.claim("jti", format!("{id:x>256}"))
    })),
    ("DPO-02 claims that nobody knows", |g| proof(g, |t| t.claim("ath", "x").claim("foo", json!({})))),
    ("DPO-03 htu with a query and a fragment", |g| htu(g, |h| format!("http://{h}/token?x=y#z"))),
    ("DPO-03 htu in capitals", |g| htu(g, |h| format!("HTTP://{}/token", h.to_uppercase()))),
    ("DPO-03 htu with escaped letters", |g| htu(g, |h| format!("http://{h}/%74oken"))),
    ("DPO-03 htu with dots", |g| htu(g, |h| format!("http://{h}/a/../token"))),
    ("DPO-04 made a minute ago", |g| made(g, -60)),
    ("DPO-04 made half a minute from now", |g| made(g, 30)),
    ("DPO-08 a nonce that nobody asked for", |g| proof(g, |t| t.claim("nonce", "x"))),
    ("DPO-11 a proof beside a token exchange", |g| {
        let forge = proof_by(&es256("proof"), g.issuer(), g.now().seconds());
        g.good_exchange().header("dpop", &forge.sign().unwrap().token())
    }),
    ("DPO-11 a proof beside a pod token", |g| {
        let forge = proof_by(&es256("proof"), g.issuer(), g.now().seconds());
        g.good_pod().header("dpop", &forge.sign().unwrap().token())
    }),
    ("DPO-12 a resource wants a bound token and there is a proof", |g| proof(g, |t| t).set("resource", "https://safe.example")),
    ("DPO-12 a rule wants a bound token and there is a proof", |g| {
        let forge = proof_by(&es256("proof"), g.issuer(), g.now().seconds());
        g.svid_text(&g.workload("/proves")).header("dpop", &forge.sign().unwrap().token())
    }),
];
