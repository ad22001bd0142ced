//! What `sub` of a JWT-SVID may be, and whose word it is.

use super::ground::{Ground, PARTNER};
use super::keyring::{es256, rsa};
use super::run::{CLIENT, Row, UNAUTHORIZED, refuse, row};
use crate::stage::API;
use countersign::world::forge::{Forge, valid_svid};
use countersign::world::keys::Algorithm;

#[tokio::test(flavor = "multi_thread")]
async fn subjects_and_bundles_of_svids() {
    refuse(&Ground::new().await, ROWS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_id_forms_jsv_06() {
    let ground = Ground::new().await;
    ground.good_ones_are_granted("before").await;
    let long_domain = |length: usize| format!("spiffe://{}/a", "d".repeat(length));
    let long_id = |length: usize| {
        let start = "spiffe://prod.example/";
        format!("{start}{}", "p".repeat(length - start.len()))
    };
    let mut wrong = Vec::new();
    let rows: Vec<(String, &str)> = FORMS
        .iter()
        .map(|(named, reason)| ((*named).to_owned(), *reason))
        .chain([
            (format!("SID-07 {}", long_domain(255)), "source_unknown"),
            (format!("SID-07 {}", long_domain(256)), "subject_invalid"),
            (format!("SID-07 {}", long_id(2048)), "not_granted"),
            (format!("SID-07 {}", long_id(2049)), "subject_invalid"),
        ])
        .collect();
    for (named, reason) in rows {
        let (_, sub) = named.split_once(' ').unwrap();
        let answer = ground.svid(|token| token.claim("sub", sub)).send(&ground.client, ground.issuer()).await;
        let wire = if reason == "not_granted" { UNAUTHORIZED } else { CLIENT };
        let faults = super::run::check(&ground, reason, wire, &answer).await;
        wrong.extend(faults.into_iter().map(|fault| format!("{named:?}: {fault}")));
        if reason == "not_granted" {
            let record = ground.stage.record(answer.body["error_ref"].as_str().unwrap()).await;
            assert_eq!(record["id"], sub, "SID-11: byte for byte");
        }
    }
    ground.good_ones_are_granted("after").await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The id, then the `sub` of a JWT-SVID that is otherwise good and signed by `prod.example`.
const FORMS: &[(&str, &str)] = &[
    ("SID-01 spiffe://", "subject_invalid"),
    ("SID-01 spiffe:///a", "subject_invalid"),
    ("SID-01 spiffe://prod.example/a?x", "subject_invalid"),
    ("SID-01 spiffe://prod.example/a#x", "subject_invalid"),
    ("SID-01 http://prod.example/a", "subject_invalid"),
    ("SID-01 spiffe:prod.example/a", "subject_invalid"),
    ("SID-01 spiffe:/prod.example/a", "subject_invalid"),
    ("SID-01  spiffe://prod.example/ns/shop/sa/api", "subject_invalid"),
    ("SID-01 spiffe://prod.example/ns/shop/sa/api\n", "subject_invalid"),
    ("SID-01 ", "subject_invalid"),
    ("SID-02 spiffe://u@prod.example/a", "subject_invalid"),
    ("SID-02 spiffe://u:p@prod.example/a", "subject_invalid"),
    ("SID-02 spiffe://prod.example:80/a", "subject_invalid"),
    ("SID-03 spiffe://prod%2eexample/a", "subject_invalid"),
    ("SID-03 spiffe://prod example/a", "subject_invalid"),
    ("SID-03 spiffe://prödexample/a", "subject_invalid"),
    ("SID-03 spiffe://*/a", "subject_invalid"),
    ("SID-03 spiffe://[::1]/a", "subject_invalid"),
    ("SID-03 spiffe://-a/a", "source_unknown"),
    ("SID-03 spiffe://a_b/a", "source_unknown"),
    ("SID-03 spiffe://a..b/a", "source_unknown"),
    ("SID-08 spiffe://127.0.0.1/a", "source_unknown"),
    ("SID-08 spiffe://localhost/a", "source_unknown"),
    ("SID-04 spiffe://PROD.example/ns/shop/sa/api", "subject_invalid"),
    ("SID-04 SPIFFE://prod.example/ns/shop/sa/api", "subject_invalid"),
    ("SID-05 spiffe://prod.example//ns/shop/sa/api", "subject_invalid"),
    ("SID-05 spiffe://prod.example/ns/./shop/sa/api", "subject_invalid"),
    ("SID-05 spiffe://prod.example/x/../ns/shop/sa/api", "subject_invalid"),
    ("SID-05 spiffe://prod.example/ns/shop/sa/api/", "subject_invalid"),
    ("SID-05 spiffe://prod.example/ns%2fshop/sa/api", "subject_invalid"),
    ("SID-05 spiffe://prod.example/ns/shop/sa/a pi", "subject_invalid"),
    ("SID-05 spiffe://prod.example/ns/shop/sa/äpi", "subject_invalid"),
    ("SID-05 spiffe://prod.example/ns\\shop", "subject_invalid"),
    ("SID-05 spiffe://prod.example/...", "not_granted"),
    ("SID-06 spiffe://prod.example/ns/shop/sa/API", "not_granted"),
    ("SID-09 spiffe://prod.example", "subject_invalid"),
    ("SID-09 spiffe://prod.example/", "subject_invalid"),
];

const ROWS: &[Row] = &[
    row("JSV-06 no sub", "subject_invalid", CLIENT, |g| g.svid(|t| t.without_claim("sub"))),
    row("JSV-06 sub is a list", "subject_invalid", CLIENT, |g| g.svid(|t| t.claim("sub", serde_json::json!([API])))),
    row("JSV-06 sub is a service account", "subject_invalid", CLIENT, |g| {
        g.svid(|t| t.claim("sub", "system:serviceaccount:shop:api"))
    }),
    row("SCA-21 a trust domain that is not configured", "source_unknown", CLIENT, |g| {
        g.svid(|t| t.claim("sub", "spiffe://other.example/ns/shop/sa/api"))
    }),
    row(
        "JSV-10 SCA-05 WAP-10 BUN-09 our workload's sub, signed by the partner's key of the same name",
        "signature_invalid",
        CLIENT,
        |g| {
            let kid = g.stage.world.trust_domain().active_key().kid().to_owned();
            g.svid(|t| t.key(&es256(&kid)))
        },
    ),
    row("JSV-10 BUN-09 our workload's sub, signed by a key that only the partner has", "key_unknown", CLIENT, |g| {
        g.partner(&es256("partner"), |t| t.claim("sub", API))
    }),
    row(
        "JSV-10 BUN-09 the partner's sub, signed by our trust domain under the same name",
        "signature_invalid",
        CLIENT,
        |g| g.svid(|t| t.claim("sub", PARTNER)),
    ),
    row("SID-10 the partner's workload has the same namespace and account", "not_granted", UNAUTHORIZED, |g| {
        g.partner(&es256("partner"), |t| t).set("resource", crate::stage::ORDERS)
    }),
    row("JSV-11 SCA-13 WAP-16 signed by a wit-svid key of its trust domain", "key_unknown", CLIENT, |g| {
        g.partner(&es256("wit"), |t| t)
    }),
    row("JSV-11 WAP-16 signed by an x509-svid key of its trust domain", "key_unknown", CLIENT, |g| {
        g.partner(&rsa("x509", Algorithm::RS256), |t| t)
    }),
    row("BUN-04 JSV-11 the key's use is JWT-SVID", "key_unknown", CLIENT, |g| g.partner(&es256("upper"), |t| t)),
    row("BUN-03 JSV-11 the key's use is sig", "key_unknown", CLIENT, |g| g.partner(&es256("sig"), |t| t)),
    row("BUN-03 the key has no use", "key_unknown", CLIENT, |g| g.partner(&es256("useless"), |t| t)),
    row("BUN-03 the key has no kty", "key_unknown", CLIENT, |g| g.partner(&es256("typeless"), |t| t)),
    row("BUN-05 the key has no kid", "key_unknown", CLIENT, |g| g.partner(&es256("kidless"), |t| t)),
    row("BUN-05 the key has no kid, and neither has the SVID", "key_ambiguous", CLIENT, |g| {
        g.partner(&es256("kidless"), |t| t.without_header("kid"))
    }),
    row("JSV-04 no kid, and two keys fit", "key_ambiguous", CLIENT, |g| {
        g.partner(&es256("partner"), |t| t.without_header("kid"))
    }),
    row("JSV-04 no kid, one key fits, and it is another", "signature_invalid", CLIENT, |g| {
        g.svid(|t| t.without_header("kid").key(&es256("stranger")))
    }),
    row("JSV-11 a key that nobody publishes", "key_unknown", CLIENT, |g| {
        g.svid(|t| t.header("kid", "stranger").key(&es256("stranger")))
    }),
    row("CA-12 the right kid, signed by a stranger's key", "signature_invalid", CLIENT, |g| {
        g.svid(|t| t.key(&es256("stranger")))
    }),
    row("SCA-26 iss is a URL, and nobody calls it", "signature_invalid", CLIENT, |g| {
        let url = g.trap_url();
        g.svid(|t| t.claim("iss", url).key(&es256("stranger")))
    }),
    row("NOR-03 a longer name", "not_granted", UNAUTHORIZED, |g| g.svid(|t| t.claim("sub", format!("{API}2")))),
    row("NOR-03 a path below", "not_granted", UNAUTHORIZED, |g| g.svid(|t| t.claim("sub", format!("{API}/x")))),
    row("NOR-03 SCA-17 the pattern's own directory", "not_granted", UNAUTHORIZED, |g| {
        g.svid(|t| t.claim("sub", "spiffe://prod.example/readers"))
    }),
    row("NOR-03 SCA-17 a sibling of the pattern's directory", "not_granted", UNAUTHORIZED, |g| {
        g.svid(|t| t.claim("sub", "spiffe://prod.example/readers-evil/x"))
    }),
    row("JSV-01 SCA-02 the flattened JSON form", "credential_malformed", CLIENT, |g| {
        let svid = g.stage.svid();
        let parts: Vec<&str> = svid.split('.').collect();
        let json = serde_json::json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] });
        g.svid_text(&json.to_string())
    }),
    row("JSV-01 the general JSON form", "credential_malformed", CLIENT, |g| {
        let svid = g.stage.svid();
        let parts: Vec<&str> = svid.split('.').collect();
        let json = serde_json::json!({ "payload": parts[1], "signatures": [{ "protected": parts[0], "signature": parts[2] }] });
        g.svid_text(&json.to_string())
    }),
    row("JSV-03 typ is at+jwt", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("typ", "at+jwt"))),
    row("JSV-03 typ is wit+jwt", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("typ", "wit+jwt"))),
    row("JSV-03 typ is client-authentication+jwt", "credential_malformed", CLIENT, |g| {
        g.svid(|t| t.header("typ", "client-authentication+jwt"))
    }),
    row("JSV-03 typ is empty", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("typ", ""))),
    row("JSV-03 typ is a number", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("typ", 1))),
    row("LIM-03 expired, and the signature is bad: the signature comes first", "signature_invalid", CLIENT, |g| {
        g.svid(|t| t.claim("exp", 1).key(&es256("stranger")))
    }),
    row("LIM-03 of an unknown trust domain, and the signature is bad", "source_unknown", CLIENT, |g| {
        let claims = valid_svid(
            "spiffe://other.example/a",
            &[g.issuer()],
            g.now(),
            countersign::clock::Lifetime::from_minutes(5),
        );
        g.svid_text(&Forge::new(&es256("stranger"), claims).unsigned().token())
    }),
    row("LIM-03 everything is wrong, and the algorithm comes first", "algorithm_refused", CLIENT, |g| {
        g.svid_text(&g.stage.svid_forge().header("alg", "none").claim("sub", "x").claim("exp", 1).unsigned().token())
    }),
];
