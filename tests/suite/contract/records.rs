//! The decision record (standards part 36), member by member.

use std::collections::BTreeSet;

use countersign::clock::{Clock, Lifetime};
use countersign::credential::CompactJws;
use countersign::world::Behaviour;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::evidence;
use crate::stage::{API, JWT_BEARER, JWT_SPIFFE, ORDERS, Stage, encode, eventually};

const JWKS: &str = "/openid/v1/jwks";

/// The only record, with `ref` and the thumbprint checked and taken out.
async fn only_record(stage: &Stage) -> Value {
    eventually("one record is written", || stage.records.lines().len() == 1).await;
    let mut record = stage.records.lines().remove(0);
    let reference = record["ref"].take();
    let reference = reference.as_str().unwrap();
    assert!(reference.len() == 12 && reference.bytes().all(|b| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&b)));
    if let Some(key) = record.pointer_mut("/key/thumbprint") {
        assert_eq!(key.take().as_str().unwrap().len(), 43, "an RFC 7638 thumbprint");
    }
    record
}

fn generation(stage: &Stage) -> String {
    stage.app.exchange().generation().id().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_05_a_grant_whole() {
    let stage = Stage::standard().await;
    let credential = stage.pod_forge("eu1").claim("jti", "the-credential").sign().unwrap().token();
    let claims = crate::stage::part(&credential, 1);
    let answer = stage
        .token(&[
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &credential),
            ("resource", ORDERS),
            ("audience", "orders"),
            ("scope", "read"),
            ("client_id", "spiffe://id.example/k8s/eu1/ns/shop/sa/api"),
        ])
        .await;
    let id = "spiffe://id.example/k8s/eu1/ns/shop/sa/api";
    let now = stage.clock.now();
    let expected = json!({
        "time": now.to_rfc3339(),
        "ref": null,
        "outcome": "allow",
        "transport": "http",
        "peer": "127.0.0.1",
        "grant_type": "client_credentials",
        "generation": generation(&stage),
        "kind": "kubernetes",
        "source": "eu1",
        "id": id,
        "attributes": {
            "cluster": "eu1",
            "namespace": "shop",
            "service_account": "api",
            "service_account_uid": claims["kubernetes.io"]["serviceaccount"]["uid"],
            "pod": "api-0",
            "pod_uid": claims["kubernetes.io"]["pod"]["uid"],
            "node": "node-1",
        },
        "credential": {
            "id": "the-credential",
            "issued": now.to_rfc3339(),
            "expires": now.plus(Lifetime::from_hours(1)).to_rfc3339(),
            "assurance": "bearer",
        },
        "key": { "id": stage.cluster("eu1").active_key().kid(), "thumbprint": null, "algorithm": "RS256" },
        "asked": { "resource": ORDERS, "audience": "orders", "scope": "read", "client_id": id },
        "resource": "orders",
        "rules": ["the shop may use orders from every cluster"],
        "token": {
            "jti": answer.claims()["jti"],
            "client_id": id,
            "aud": ORDERS,
            "scope": "read",
            "expires": now.plus(Lifetime::from_minutes(5)).to_rfc3339(),
        },
        "took_ms": 0,
    });
    assert_eq!(only_record(&stage).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_05_a_denial_whole() {
    let stage = Stage::standard().await;
    let credential = stage.svid();
    let form =
        [("client_assertion_type", JWT_SPIFFE), ("client_assertion", credential.as_str()), ("audience", "vault")];
    let answer = stage.token(&form).await;
    assert_eq!((answer.status, answer.error()), (400, "unauthorized_client"));
    let now = stage.clock.now();
    let expected = json!({
        "time": now.to_rfc3339(),
        "ref": null,
        "outcome": "deny",
        "reason": "not_granted",
        "transport": "http",
        "peer": "127.0.0.1",
        "grant_type": "client_credentials",
        "generation": generation(&stage),
        "kind": "jwt_svid",
        "source": "prod",
        "id": API,
        "attributes": { "trust_domain": "prod.example", "namespace": "shop", "service_account": "api" },
        "credential": {
            "id": CompactJws::parse(credential.clone()).unwrap().fingerprint(),
            "issued": now.to_rfc3339(),
            "expires": now.plus(Lifetime::from_minutes(5)).to_rfc3339(),
            "assurance": "bearer",
        },
        "key": { "id": stage.world.trust_domain().active_key().kid(), "thumbprint": null, "algorithm": "ES256" },
        "asked": { "audience": "vault" },
        "resource": "vault",
        "said": format!("Verified as {API}, but nothing is granted to it for vault."),
        "note": "no rule grants vault",
        "remedy": format!("a rule that grants vault to {API}"),
        "took_ms": 0,
    });
    assert_eq!(only_record(&stage).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_05_what_was_not_verified_is_named_as_shown() {
    let stage = Stage::standard().await;
    let credential = stage.svid_forge().claim("sub", "spiffe://unknown.example/a").sign().unwrap().token();
    let answer = stage.exchange_svid(&credential).await;
    assert_eq!((answer.status, answer.error()), (400, "invalid_client"));
    let mut record = only_record(&stage).await;
    let (said, note) = (record["said"].take(), record["note"].take());
    assert!(answer.text.contains(said.as_str().unwrap()), "{said}");
    assert!(!answer.text.contains("unknown.example"), "TOK-24");
    assert!(note.as_str().unwrap().contains("unknown.example"), "{note}");
    let expected = json!({
        "time": stage.clock.now().to_rfc3339(),
        "ref": null,
        "outcome": "deny",
        "reason": "source_unknown",
        "transport": "http",
        "peer": "127.0.0.1",
        "grant_type": "client_credentials",
        "generation": generation(&stage),
        "kind": "jwt_svid",
        "shown": {
            "fingerprint": CompactJws::parse(credential).unwrap().fingerprint(),
            "sub": "\"spiffe://unknown.example/a\"",
            "kid": format!("{:?}", stage.world.trust_domain().active_key().kid()),
        },
        "asked": { "resource": ORDERS },
        "said": null,
        "note": null,
        "took_ms": 0,
    });
    assert_eq!(record, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_01_aud_06_one_line_a_request_whatever_it_holds() {
    let stage = Stage::standard().await;
    let nasty = "x\n{\"outcome\":\"allow\"}\r\n\u{2028}\u{1b}[31m\"\\";
    let (forge, token) = (stage.svid_forge(), |forge: &countersign::world::forge::Forge| forge.sign().unwrap().token());
    let credentials = [
        token(&forge.clone().header("kid", nasty)),
        token(&forge.clone().header("alg", nasty)),
        token(&forge.clone().header("typ", nasty)),
        token(&forge.clone().claim("sub", nasty)),
        token(&forge.clone().claim("sub", format!("spiffe://prod.example/{nasty}"))),
        token(&forge.clone().claim("aud", nasty)),
        token(&forge.clone().claim("jti", nasty)),
        token(&stage.pod_forge("eu1").claim("iss", nasty)),
    ];
    let mut sent = 0;
    for credential in &credentials {
        for kind in [JWT_SPIFFE, JWT_BEARER] {
            let _ = stage
                .token(&[("client_assertion_type", kind), ("client_assertion", credential), ("audience", "orders")])
                .await;
            sent += 1;
        }
    }
    for name in
        ["client_id", "scope", "resource", "audience", "grant_type", "client_assertion_type", "client_assertion"]
    {
        let mut form = vec![("grant_type", "client_credentials"), ("client_assertion_type", JWT_SPIFFE)];
        let svid = stage.svid();
        form.push(("client_assertion", &svid));
        form.retain(|(found, _)| *found != name);
        form.push((name, nasty));
        let _ = stage.form(&form, &[]).await;
        sent += 1;
    }
    eventually("every request has its record", || stage.records.lines().len() == sent).await;
    let lines = stage.records.lines();
    let references: BTreeSet<&str> = lines.iter().map(|line| line["ref"].as_str().unwrap()).collect();
    assert_eq!(references.len(), sent, "AUD-01");
    let replica: BTreeSet<&str> = references.iter().map(|reference| &reference[..2]).collect();
    assert_eq!(replica.len(), 1, "the first two letters name the process");
    for shown in lines.iter().filter_map(|line| line["shown"].as_object()).flat_map(|shown| shown.values()) {
        let text = shown.as_str().unwrap();
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "AUD-06: {text:?}");
    }
    for text in lines.iter().flat_map(|line| [&line["said"], &line["note"]]).filter_map(Value::as_str) {
        assert!(!text.chars().any(char::is_control), "AUD-06: {text:?}");
    }
    let allowed = lines.iter().filter(|line| line["outcome"] == "allow").count();
    assert_eq!(allowed, 1, "the odd jti alone is nobody's business");
}

/// Opens a connection and writes a whole request, or its beginning.
async fn write(stage: &Stage, body: &str, length: usize) -> TcpStream {
    evidence::secret(body.split("client_assertion=").nth(1).unwrap().split('&').next().unwrap());
    let mut connection = TcpStream::connect(stage.issuer.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(body.as_bytes()).await.unwrap();
    connection
}

fn form(credential: &str) -> String {
    encode(&[
        ("grant_type", "client_credentials"),
        ("audience", "orders"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", credential),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_drops_while_it_waits_leaves_a_record() {
    let stage = Stage::standard().await;
    let cluster = stage.cluster("eu1");
    cluster.behave(JWKS, Behaviour::Hang);
    stage.advance(Lifetime::from_seconds(31)).await;
    // An unknown key id waits for the one shared look at its source, which hangs here, and the clock stands.
    let asked = cluster.requests(JWKS);
    let credential = stage.pod_forge("eu1").header("kid", "new").sign().unwrap().token();
    let body = form(&credential);
    let connection = write(&stage, &body, body.len()).await;
    eventually("the source is asked", || cluster.requests(JWKS) > asked).await;
    assert_eq!(stage.written().len(), 0);
    drop(connection);
    let record = only_record(&stage).await;
    assert_eq!((&record["outcome"], &record["kind"]), (&json!("dropped"), &json!("kubernetes")));
    assert_eq!(record["shown"]["kid"], "\"new\"");
    assert_eq!(record.get("reason"), None);
    let text = stage.admin("/metrics").await.text;
    assert!(text.contains("outcome=\"dropped\",reason=\"dropped\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_drops_inside_its_body_leaves_a_record() {
    let stage = Stage::standard().await;
    let body = form(&stage.pod_token("eu1"));
    drop(write(&stage, &body, body.len() + 1).await);
    assert_eq!(only_record(&stage).await["outcome"], "dropped");
}
