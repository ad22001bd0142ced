//! Tokens of other OIDC issuers: a CI system, a platform that shares its issuer with a cluster, and people, who are no callers.

use std::collections::BTreeSet;

use countersign::world::forge::{Forge, valid_kubernetes};
use serde_json::{Value, json};

use super::ground::{Ground, KEYRING};
use super::keyring::es256;
use super::request::Request;
use super::run::{CLIENT, Row, UNAUTHORIZED, refuse, row};
use crate::stage::JWT_SPIFFE;

/// The repository that the rules know, as the CI system numbers it.
const JOB: &str = "spiffe://id.example/ci/github/4711";

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_oidc_issuers() {
    refuse(&Ground::new().await, ROWS).await;
}

/// A request with a token of the platform whose issuer is also a cluster's, signed by its key.
fn twin(g: &Ground, more: Value) -> Request {
    g.pod_text(&twin_forge(g).claim("team", more).sign().unwrap().token())
}

fn twin_forge(g: &Ground) -> Forge {
    let life = countersign::clock::Lifetime::from_minutes(5);
    let pod = valid_kubernetes(KEYRING, "shop", "api", &[g.issuer()], g.now(), life);
    Forge::new(&es256("twin"), pod).without_claim("kubernetes.io").claim("sub", "team core")
}

/// A person's token, for whatever audience.
fn person(g: &Ground, audience: &str) -> String {
    g.stage.world.login().forge("alice", audience, json!({})).sign().unwrap().token()
}

const ROWS: &[Row] = &[
    row("BCJ-04 an issuer with a slash too many", "source_unknown", CLIENT, |g| {
        let issuer = format!("{}/", g.stage.world.ci().issuer());
        g.ci(|t| t.claim("iss", issuer))
    }),
    row("BCJ-04 an issuer in other case", "source_unknown", CLIENT, |g| {
        let issuer = g.stage.world.ci().issuer().to_uppercase();
        g.ci(|t| t.claim("iss", issuer))
    }),
    row("NOR-01 signed by the login's key", "signature_invalid", CLIENT, |g| {
        let key = g.stage.world.login().active_key();
        g.ci(|t| t.key(&key))
    }),
    row("OID-02 a JWT-SVID as a federated token", "source_unknown", CLIENT, |g| g.pod_text(&g.stage.svid())),
    row("OID-02 a CI token as a JWT-SVID", "subject_invalid", CLIENT, |g| {
        g.svid_text(&g.ci_forge().sign().unwrap().token())
    }),
    row("XC-04 sub is a SPIFFE ID of a trust domain", "subject_invalid", CLIENT, |g| {
        g.ci(|t| t.claim("sub", "spiffe://prod.example/ns/shop/sa/api"))
    }),
    row("XC-04 sub is the SPIFFE ID that it would be given", "subject_invalid", CLIENT, |g| {
        g.ci(|t| t.claim("sub", JOB))
    }),
    row("XC-04 sub is a SPIFFE ID in other case", "subject_invalid", CLIENT, |g| {
        g.ci(|t| t.claim("sub", "SpIfFe://prod.example/admin"))
    }),
    row("XC-04 sub is a SPIFFE ID after a space", "subject_invalid", CLIENT, |g| {
        g.ci(|t| t.claim("sub", " spiffe://prod.example/admin"))
    }),
    row("NOR-04 the id has a slash", "subject_invalid", CLIENT, |g| g.ci(|t| t.claim("repository_id", "4711/x"))),
    row("NOR-04 the id is a way up", "subject_invalid", CLIENT, |g| g.ci(|t| t.claim("repository_id", ".."))),
    row("NOR-04 the id is escaped", "subject_invalid", CLIENT, |g| g.ci(|t| t.claim("repository_id", "47%31"))),
    row("NOR-04 the id looks like another", "subject_invalid", CLIENT, |g| {
        g.ci(|t| t.claim("repository_id", "471\u{ff11}"))
    }),
    row("NOR-04 the id is empty", "subject_invalid", CLIENT, |g| g.ci(|t| t.claim("repository_id", ""))),
    row("NOR-04 the id is null", "subject_invalid", CLIENT, |g| g.ci(|t| t.claim("repository_id", Value::Null))),
    row("NOR-04 the id is missing", "subject_invalid", CLIENT, |g| g.ci(|t| t.without_claim("repository_id"))),
    row("NOR-04 the id has a new line", "claims_invalid", CLIENT, |g| g.ci(|t| t.claim("repository_id", "4711\n"))),
    row("NOR-04 the id is a list of one", "claims_invalid", CLIENT, |g| {
        g.ci(|t| t.claim("repository_id", json!(["4711"])))
    }),
    row("NOR-04 the id is an object", "claims_invalid", CLIENT, |g| {
        g.ci(|t| t.claim("repository_id", json!({ "id": "4711" })))
    }),
    row("NOR-04 the id has a fraction", "claims_invalid", CLIENT, |g| g.ci(|t| t.claim("repository_id", 4711.5))),
    row("NOR-04 a listed claim of 254 bytes", "claims_invalid", CLIENT, |g| {
        g.ci(|t| t.claim("environment", "e".repeat(254)))
    }),
    row("CA-05 no sub", "claims_invalid", CLIENT, |g| g.ci(|t| t.without_claim("sub"))),
    row("CA-06 the audience that the platform gives by itself", "audience_mismatch", CLIENT, |g| {
        g.ci(|t| t.claim("aud", "https://github.com/org"))
    }),
    row("CA-06 another audience beside ours", "audience_mismatch", CLIENT, |g| {
        let aud = json!([g.issuer(), "https://github.com/org"]);
        g.ci(|t| t.claim("aud", aud))
    }),
    row("CA-06 our token endpoint as audience", "audience_mismatch", CLIENT, |g| {
        let aud = format!("{}/token", g.issuer());
        g.ci(|t| t.claim("aud", aud))
    }),
    row("CA-06 our issuer with a slash", "audience_near_miss", CLIENT, |g| {
        let aud = format!("{}/", g.issuer());
        g.ci(|t| t.claim("aud", aud))
    }),
    row("CA-06 no audience", "claims_invalid", CLIENT, |g| g.ci(|t| t.without_claim("aud"))),
    row("CA-08 ended a second ago", "token_expired", CLIENT, |g| g.ci(|t| t.claim("exp", g.now().seconds() - 1))),
    row("CA-08 no end", "claims_invalid", CLIENT, |g| g.ci(|t| t.without_claim("exp"))),
    row("CA-09 issued long ago", "token_too_old", CLIENT, |g| {
        g.ci(|t| t.claim("iat", g.now().seconds() - 25 * 3600).without_claim("nbf"))
    }),
    row("CA-10 not valid yet", "token_not_yet_valid", CLIENT, |g| g.ci(|t| t.claim("nbf", g.now().seconds() + 31))),
    row("BCJ-10 of typ at+jwt", "credential_malformed", CLIENT, |g| g.ci(|t| t.header("typ", "at+jwt"))),
    row("BCJ-10 of typ secevent+jwt", "credential_malformed", CLIENT, |g| g.ci(|t| t.header("typ", "secevent+jwt"))),
    row("NOR-03 another repository", "not_granted", UNAUTHORIZED, |g| g.ci(|t| t.claim("repository_id", "47110"))),
    row("NOR-03 another branch", "not_granted", UNAUTHORIZED, |g| g.ci(|t| t.claim("ref", "refs/heads/main2"))),
    row("NOR-03 the branch in other case", "not_granted", UNAUTHORIZED, |g| {
        g.ci(|t| t.claim("ref", "refs/heads/Main"))
    }),
    row("NOR-03 a pull request", "not_granted", UNAUTHORIZED, |g| g.ci(|t| t.claim("ref", "refs/pull/1/merge"))),
    row("NOR-03 no branch at all", "not_granted", UNAUTHORIZED, |g| g.ci(|t| t.without_claim("ref"))),
    row("NOR-03 an empty branch", "not_granted", UNAUTHORIZED, |g| g.ci(|t| t.claim("ref", ""))),
    row("NOR-03 the name of the repository, and another id", "not_granted", UNAUTHORIZED, |g| {
        g.ci(|t| t.claim("repository_id", "9").claim("repository", "org/name"))
    }),
    row("NOR-01 a shared issuer, a pod's claims, the platform's key", "subject_invalid", CLIENT, |g| {
        let pod = json!({ "namespace": "shop", "serviceaccount": { "name": "api", "uid": "u" } });
        let forge = twin_forge(g).claim("kubernetes.io", pod).claim("sub", "system:serviceaccount:shop:api");
        g.pod_text(&forge.sign().unwrap().token())
    }),
    row("NOR-01 a shared issuer, the platform's claims, the cluster's key", "subject_invalid", CLIENT, |g| {
        g.pod_text(&twin_forge(g).claim("team", "core").key(&es256("fit")).header("kid", "fit").sign().unwrap().token())
    }),
    row("NOR-03 a team without a rule", "not_granted", UNAUTHORIZED, |g| twin(g, json!("other"))),
    row("XC-04 a person is no caller, for us", "source_unknown", CLIENT, |g| g.pod_text(&person(g, g.issuer()))),
    row("XC-04 a person is no caller, for its own audience", "source_unknown", CLIENT, |g| {
        g.pod_text(&person(g, "orders-app"))
    }),
    row("XC-04 a person is no caller, as a JWT-SVID", "subject_invalid", CLIENT, |g| {
        g.pod_text(&person(g, g.issuer())).set("client_assertion_type", JWT_SPIFFE)
    }),
    row("XC-04 a person's token by a CI system's key", "not_granted", UNAUTHORIZED, |g| {
        // The key decides whose word it is: the claims are then the CI system's, and nobody in particular.
        g.ci(|t| t.claim("sub", "alice").claim("email", "alice@example").claim("ref", "alice"))
    }),
];

type Neighbour = (&'static str, &'static str, fn(&Ground) -> Request);

const NEIGHBOURS: &[Neighbour] = &[
    ("a job on the branch of the rule", JOB, |g| g.ci(|t| t)),
    ("OID-02 jti is optional", JOB, |g| g.ci(|t| t.without_claim("jti"))),
    ("OID-02 sub is the platform's own text", JOB, |g| g.ci(|t| t.claim("sub", "anything at all"))),
    ("NOR-04 the id is a number", JOB, |g| g.ci(|t| t.claim("repository_id", 4711))),
    ("NOR-04 a listed claim is empty", JOB, |g| g.ci(|t| t.claim("environment", ""))),
    ("NOR-04 a listed claim is null", JOB, |g| g.ci(|t| t.claim("environment", Value::Null))),
    ("NOR-04 a listed claim is missing", JOB, |g| g.ci(|t| t.without_claim("environment"))),
    ("NOR-04 a listed claim of 253 bytes", JOB, |g| g.ci(|t| t.claim("environment", "e".repeat(253)))),
    ("NOR-04 claims that are not listed may be of any form", JOB, |g| {
        g.ci(|t| t.claim("x", "y".repeat(1000)).claim("https://x/y", json!({ "z": [1, 2.5] })))
    }),
    ("NOR-03 a boolean is its word", JOB, |g| g.ci(|t| t.claim("ref", "refs/heads/next").claim("ref_protected", true))),
    ("CA-06 aud is a list of one", JOB, |g| {
        let aud = json!([g.issuer()]);
        g.ci(|t| t.claim("aud", aud))
    }),
    ("BCJ-10 no typ", JOB, |g| g.ci(|t| t.without_header("typ"))),
    ("BCJ-10 CA-13 typ client-authentication+jwt", JOB, |g| g.ci(|t| t.header("typ", "client-authentication+jwt"))),
    ("NOR-01 the platform that shares its issuer with a cluster", "spiffe://id.example/twin/core", |g| {
        twin(g, json!("core"))
    }),
    (
        "NOR-01 the cluster that shares its issuer with the platform",
        "spiffe://id.example/k8s/keyring/ns/shop/sa/api",
        |g| g.keyring(&es256("fit"), |t| t),
    ),
    ("NOR-02 another source, the same id", "spiffe://id.example/twin/4711", |g| twin(g, json!("4711"))),
];

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_of_oidc_refusals_are_granted() {
    let ground = Ground::new().await;
    let mut wrong = Vec::new();
    for (name, sub, make) in NEIGHBOURS {
        let answer = make(&ground).send(&ground.client, ground.issuer()).await;
        if answer.status != 200 {
            wrong.push(format!("{name}: {}: {}", ground.stage.reason(&answer).await, answer.text));
        } else if answer.claims()["sub"] != *sub {
            wrong.push(format!("{name}: {}", answer.claims()["sub"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The record names source, kind and key; the token names source and kind and no claim of the platform.
#[tokio::test(flavor = "multi_thread")]
async fn provenance_of_a_ci_job_nor_05_nor_07_nor_08() {
    let ground = Ground::new().await;
    let ends = ground.now().seconds() + 77;
    let answer = ground.ci(|t| t.claim("exp", ends)).send(&ground.client, ground.issuer()).await;
    let claims = answer.claims();
    assert_eq!((&claims["source"], &claims["kind"], &claims["exp"]), (&json!("ci"), &json!("oidc"), &json!(ends)));
    let found: BTreeSet<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    let known =
        BTreeSet::from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "source", "kind"]);
    assert_eq!(found, known, "NOR-08");
    let find = || ground.stage.records.lines().into_iter().find(|line| line["token"]["jti"] == claims["jti"]);
    crate::stage::eventually("the record is written", || find().is_some()).await;
    let record = find().unwrap();
    assert_eq!((&record["kind"], &record["source"]), (&json!("oidc"), &json!("ci")), "NOR-05");
    assert_eq!(record["key"]["id"], ground.stage.world.ci().active_key().kid(), "NOR-05");
}

/// A refusal before a key was found says what kind it would have been.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_ci_token_is_recorded_as_one_nor_05() {
    let ground = Ground::new().await;
    let key = ground.stage.world.login().active_key();
    let answer = ground.ci(|t| t.key(&key)).send(&ground.client, ground.issuer()).await;
    let record = ground.stage.record(answer.body["error_ref"].as_str().unwrap()).await;
    assert_eq!((&record["kind"], &record["reason"]), (&json!("oidc"), &json!("signature_invalid")));
}

/// What works is in the metadata, and people's issuers are no method.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_status_know_the_kinds_oid_02() {
    let ground = Ground::new().await;
    let document = ground.stage.request("GET", "/.well-known/openid-configuration", &[]).await.body;
    assert_eq!(document["token_endpoint_auth_methods_supported"], json!(["private_key_jwt", "spiffe_jwt"]));
    let status = ground.stage.app.trust().status();
    let kind = |name: &str| status.iter().find(|source| source.name.as_str() == name).unwrap().kind;
    assert_eq!((kind("ci"), kind("twin"), kind("login")), ("oidc", "oidc", "people"));
    let (ci, login) = (ground.stage.world.ci(), ground.stage.world.login());
    assert!(ci.requests("/keys") > 0 && login.requests("/keys") > 0);
}
