//! The neighbours of the table: one step from a refusal, and granted.

use std::collections::BTreeSet;

use countersign::world::cluster::{Bound, TokenAsk};
use countersign::world::keys::Algorithm;
use countersign::world::spiffe_agent::Rpc;
use serde_json::{Value, json};

use super::ground::Ground;
use super::keyring::{es256, key, rsa};
use super::limits::{body_of_length, svid_of_length};
use super::request::Request;
use crate::stage::API;

/// A request that must be granted.
pub type Neighbour = (&'static str, fn(&Ground) -> Request);

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_of_refusals_are_granted() {
    let ground = Ground::new().await;
    let mut wrong = Vec::new();
    for (name, make) in NEIGHBOURS.iter().chain(super::dpop::NEIGHBOURS) {
        if let Ok(call) = make(&ground).to_grpc()
            && let Err(status) = ground.grpc.exchange(&call).await
        {
            wrong.push(format!("{name}: over gRPC: {status}"));
        }
        // Made anew: a proof of possession is good once.
        let answer = make(&ground).send(&ground.client, ground.issuer()).await;
        if answer.status != 200 {
            let reason = ground.stage.reason(&answer).await;
            wrong.push(format!("{name}: {reason}: {}", answer.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const DAY: i64 = 24 * 3600;

const NEIGHBOURS: &[Neighbour] = &[
    ("TOK-02 a charset of UTF-8", |g| g.good().content_type(Some("application/x-www-form-urlencoded; charset=UTF-8"))),
    ("TOK-04 scope is empty", |g| g.good().with("scope", "")),
    ("TOK-04 client_id is empty", |g| g.good().with("client_id", "")),
    ("TOK-05 a parameter that nobody knows", |g| g.good().with("foo", "bar")),
    ("TOK-07 the query is ignored", |g| g.good().at("/token?grant_type=password&client_assertion=x&scope=admin")),
    ("TOK-08 a plus is a space", |g| g.good().and_raw(b"&scope=read+write")),
    ("TOK-08 every letter may be escaped", |g| g.good().and_raw(b"&%73cope=%72ead")),
    ("SCA-28 forwarded headers are not read", |g| {
        g.good()
            .header("x-forwarded-client-cert", "URI=spiffe://prod.example/admin")
            .header("forwarded", "host=evil.example")
    }),
    ("CA-04 SCA-07 client_id is the SPIFFE ID", |g| g.good().with("client_id", API)),
    ("CA-04 SCA-07 client_id is the alias of a rule", |g| g.good().with("client_id", "shop-api")),
    ("CA-06 aud is a text", |g| {
        let aud = g.issuer().to_owned();
        g.svid(|t| t.claim("aud", aud))
    }),
    ("CA-06 JSV-18 aud is a list of one", |g| {
        let aud = json!([g.issuer()]);
        g.svid(|t| t.claim("aud", aud))
    }),
    ("CA-08 ten seconds to live", |g| g.svid(|t| t.claim("exp", g.now().seconds() + 10))),
    ("CA-08 JOSE-14 exp has a fraction", |g| g.svid(|t| t.claim("exp", json!(g.now().seconds() as f64 + 11.5)))),
    ("CA-09 JSV-16 a life of a day", |g| g.svid(|t| t.claim("exp", g.now().seconds() + DAY))),
    ("CA-10 JSV-09 nbf is 30 s ahead", |g| g.svid(|t| t.claim("nbf", g.now().seconds() + 30))),
    ("JSV-09 JSV-14 iat is 30 s ahead", |g| g.svid(|t| t.claim("iat", g.now().seconds() + 30))),
    ("CA-10 issued a day ago, where a longer life is taken", |g| {
        g.keyring(&es256("fit"), |t| t.claim("iat", g.now().seconds() - DAY).claim("nbf", g.now().seconds() - DAY))
    }),
    ("JSV-13 no claims but sub, aud and exp", |g| g.svid(|t| t.without_claim("iat"))),
    ("JSV-03 no typ", |g| g.svid(|t| t.without_header("typ"))),
    ("JSV-03 typ JOSE", |g| g.svid(|t| t.header("typ", "JOSE"))),
    ("JSV-03 JOSE-12 typ jwt", |g| g.svid(|t| t.header("typ", "jwt"))),
    ("JOSE-12 typ application/JWT", |g| g.svid(|t| t.header("typ", "application/JWT"))),
    ("CA-13 a pod token of typ client-authentication+jwt", |g| g.pod(|t| t.header("typ", "client-authentication+jwt"))),
    ("CA-13 a pod token of typ JWT", |g| g.pod(|t| t.header("typ", "JWT"))),
    ("JSV-04 JSV-12 no kid, and one key fits", |g| g.svid(|t| t.without_header("kid"))),
    ("JSV-05 a header that nobody knows", |g| g.svid(|t| t.header("x", json!({ "y": [1] })))),
    ("JWK-09 BUN-10 a key with a member that nobody knows", |g| g.keyring(&es256("chatty"), |t| t)),
    ("JWK-11 PS256 by an RSA key without alg", |g| g.keyring(&rsa("rsa-any", Algorithm::PS256), |t| t)),
    ("JWK-12 a kid of several keys, signed by the first", |g| g.keyring(&es256("twice"), |t| t)),
    ("JWK-12 a kid of several keys, signed by the last", |g| {
        g.keyring(&es256("twice-second"), |t| t.header("kid", "twice"))
    }),
    ("JWK-12 a kid of several keys, of another curve", |g| g.keyring(&key("twice", Algorithm::ES384), |t| t)),
    ("BUN-03 BUN-10 BUN-09 a bundle with odd keys and unknown members", |g| g.partner(&es256("partner-second"), |t| t)),
    ("BUN-09 a kid that both trust domains have", |g| {
        let kid = g.stage.world.trust_domain().active_key().kid().to_owned();
        g.partner(&es256(&kid), |t| t)
    }),
    ("K8S-07 a stretched token before warnafter", |g| {
        let now = g.now().seconds();
        g.pod(|t| t.claim_at(&["kubernetes.io"], "warnafter", now + 3607).claim("exp", now + 365 * DAY))
    }),
    ("K8S-10 the account that the rule pins", |g| g.minted("eu1", &TokenAsk::new("shop", "pinned", g.issuer()))),
    ("K8S-11 a token without node", |g| g.pod(|t| t.without_claim_at(&["kubernetes.io"], "node"))),
    ("K8S-11 a token without jti", |g| g.pod(|t| t.without_claim("jti"))),
    ("K8S-12 the pod that the rule wants", |g| g.minted("eu1", &TokenAsk::new("shop", "placed", g.issuer()))),
    ("K8S-12 bound to nothing, where no rule wants a pod", |g| {
        g.minted("eu1", &TokenAsk::new("shop", "api", g.issuer()).bound(Bound::Nothing))
    }),
    ("SCA-17 a path below the pattern", |g| g.svid(|t| t.claim("sub", "spiffe://prod.example/readers/a/b"))),
    ("RI-05 the audience by name", |g| g.good().without("resource").with("audience", "orders")),
    ("RI-05 the audience by value", |g| g.good().without("resource").with("audience", "https://orders.example")),
    ("RI-06 resource and audience mean one", |g| g.good().with("audience", "orders")),
    ("LIM-01 a body of 64 KiB", |g| body_of_length(g, 64 * 1024)),
    ("LIM-02 a token of 16 KiB", |g| g.svid_text(&svid_of_length(g, 16 * 1024))),
    ("LIM-04 64 parameters", |g| (0..60).fold(g.good(), |request, number| request.with(&format!("p{number}"), "x"))),
    ("LIM-04 100 scopes", |g| g.good().with("scope", &vec!["read"; 100].join(" "))),
    ("JOSE-20 LIM-04 16 levels", |g| {
        let deep = (0..14).fold(json!([]), |inner, _| json!([inner]));
        g.svid(|t| t.claim("x", deep))
    }),
    ("JOSE-20 LIM-04 256 members", |g| {
        g.svid(|t| (0..252).fold(t, |token, number| token.claim(&format!("m{number}"), 0)))
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn all_algorithms_of_jsv_02_are_taken_and_k8s_01() {
    let ground = Ground::new().await;
    for algorithm in
        [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512]
    {
        let answer = ground.keyring(&rsa("rsa-any", algorithm), |t| t).send(&ground.client, ground.issuer()).await;
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.text);
    }
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512] {
        let domain = ground.stage.world.trust_domain();
        let (before, key) = (ground.stage.app.trust().status(), domain.publish_new(algorithm).unwrap());
        let keys = |status: &[countersign::trust::SourceStatus]| status.iter().map(|source| source.keys).sum::<usize>();
        let known = keys(&before);
        crate::stage::eventually("the new key is known", || keys(&ground.stage.app.trust().status()) > known).await;
        let token = ground
            .stage
            .svid_forge()
            .key(&key)
            .header("alg", algorithm.name())
            .header("kid", key.kid())
            .sign()
            .unwrap();
        let answer = ground.svid_text(&token.token()).send(&ground.client, ground.issuer()).await;
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_named_tok_14_tok_15_and_one_audience_is_given_ri_03() {
    let ground = Ground::new().await;
    let all = ground.good().send(&ground.client, ground.issuer()).await;
    assert_eq!((all.body["scope"].as_str(), &all.claims()["scope"]), (Some("read write"), &json!("read write")));
    assert_eq!(all.claims()["aud"], "https://orders.example");
    assert!(all.body.get("refresh_token").is_none(), "TOK-21");
    let one = ground.good().with("scope", "write").send(&ground.client, ground.issuer()).await;
    assert_eq!((one.body["scope"].as_str(), &one.claims()["scope"]), (Some("write"), &json!("write")));
}

/// Provenance stands in the record, and a bearer credential never gives a bound token.
#[tokio::test(flavor = "multi_thread")]
async fn provenance_nor_05_and_assurance_nor_06() {
    let ground = Ground::new().await;
    for (request, kind, source) in [(ground.good(), "jwt_svid", "prod"), (ground.good_pod(), "kubernetes", "eu1")] {
        let answer = request.send(&ground.client, ground.issuer()).await;
        assert_eq!((answer.status, answer.body["token_type"].as_str()), (200, Some("Bearer")), "{}", answer.text);
        assert!(answer.claims().get("cnf").is_none(), "NOR-06");
        let jti = answer.claims()["jti"].clone();
        let find = || ground.stage.records.lines().into_iter().find(|line| line["token"]["jti"] == jti);
        crate::stage::eventually("the record is written", || find().is_some()).await;
        let record = find().unwrap();
        assert_eq!((&record["kind"], &record["source"]), (&json!(kind), &json!(source)));
        let credential = &record["credential"];
        assert_eq!(credential["assurance"], "bearer");
        for member in ["id", "issued", "expires"] {
            assert_ne!(credential[member], Value::Null, "credential.{member} in {record}");
        }
        for member in ["id", "thumbprint", "algorithm"] {
            assert_ne!(record["key"][member], Value::Null, "key.{member} in {record}");
        }
    }
}

/// A success has its shape, says what it is for, and does not outlive the credential.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_has_its_shape_tok_11_bcj_08_at_13_nor_07() {
    let ground = Ground::new().await;
    let ends = ground.now().seconds() + 77;
    for request in [ground.svid(|t| t.claim("exp", ends)), ground.pod(|t| t.claim("exp", ends))] {
        let answer = request.send(&ground.client, ground.issuer()).await;
        let claims = answer.claims();
        assert_eq!((answer.status, answer.body["token_type"].as_str()), (200, Some("Bearer")), "TOK-11");
        assert_eq!(answer.token_header()["typ"], "at+jwt", "BCJ-08");
        assert_eq!(claims["exp"], ends, "NOR-07");
        assert_eq!(answer.body["expires_in"], json!(ends - ground.now().seconds()), "TOK-11");
        let open: BTreeSet<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
        let known = "iss sub aud exp iat nbf jti client_id scope source kind cluster namespace service_account";
        let unknown: Vec<&&str> = open.iter().filter(|name| !known.split(' ').any(|known| known == **name)).collect();
        assert!(unknown.is_empty(), "AT-13: {unknown:?}");
    }
}

/// The bundle of `prod` comes over a socket without TLS, by the proto's own names and the header that agents ask for.
#[tokio::test(flavor = "multi_thread")]
async fn bundles_come_from_a_plain_socket_wap_01_wap_04_wap_12() {
    let ground = Ground::new().await;
    let agent = ground.stage.world.agent();
    assert!(agent.address().starts_with("unix:"));
    assert!(agent.calls(Rpc::FetchJwtBundles) > 0);
    assert_eq!(agent.calls_without_header(), 0);
    let answer = ground.good().send(&ground.client, ground.issuer()).await;
    assert_eq!(answer.claims()["sub"], API);
}
