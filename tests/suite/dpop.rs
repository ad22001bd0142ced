//! Proofs of possession (standards part 16) over more than one request: what is used once, nonces, and what bound tokens say.

use aws_lc_rs::digest;
use base64ct::{Base64UrlUnpadded, Encoding};
use countersign::clock::{Clock, Lifetime};
use countersign::world::cluster::TokenAsk;
use countersign::world::forge::Forge;
use countersign::world::keys::{Algorithm, NamedKey};
use serde_json::{Value, json};

use crate::cases::dpop::{bare, proof_by};
use crate::cases::keyring::{es256, key, rsa};
use crate::grpc::{Call, Client, Told};
use crate::stage::{API, Answer, JWT_BEARER, JWT_SPIFFE, ORDERS, Stage, standard_config};

const NONCES: &str = "dpop: { nonce: true }\n";

fn proof(stage: &Stage, key: &NamedKey) -> Forge {
    proof_by(key, &stage.issuer, stage.clock.now().seconds())
}

fn signed(forge: &Forge) -> String {
    forge.sign().unwrap().token()
}

/// A JWT-SVID of the standard workload, and these proofs.
async fn ask(stage: &Stage, proofs: &[&str]) -> Answer {
    let svid = stage.svid();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_SPIFFE),
        ("client_assertion", &svid),
        ("resource", ORDERS),
    ];
    let headers: Vec<(&str, &str)> = proofs.iter().map(|proof| ("dpop", *proof)).collect();
    stage.form(&form, &headers).await
}

/// The nonce that came with an answer: in one header, or none.
fn nonce(answer: &Answer) -> Option<String> {
    let nonces: Vec<_> = answer.headers.get_all("dpop-nonce").iter().collect();
    assert!(nonces.len() <= 1, "DPO-08: {nonces:?}");
    nonces.first().map(|value| value.to_str().unwrap().to_owned())
}

/// RFC 7638, written here a second time.
fn thumbprint(key: &NamedKey) -> String {
    let jwk = bare(key);
    let names: &[&str] = if jwk["kty"] == "EC" { &["crv", "kty", "x", "y"] } else { &["e", "kty", "n"] };
    let members: Vec<String> = names.iter().map(|name| format!("\"{name}\":{}", jwk[*name])).collect();
    let text = format!("{{{}}}", members.join(","));
    Base64UrlUnpadded::encode_string(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

#[tokio::test(flavor = "multi_thread")]
async fn dpo_06_a_token_is_bound_to_the_key_of_the_proof() {
    let stage = Stage::standard().await;
    for key in [es256("mine"), key("mine-384", Algorithm::ES384), rsa("mine-rsa", Algorithm::RS256)] {
        let answer = ask(&stage, &[&signed(&proof(&stage, &key))]).await;
        assert_eq!(answer.body["token_type"], "DPoP", "{}", answer.text);
        assert_eq!(answer.claims()["cnf"], json!({ "jkt": thumbprint(&key) }), "AT-15");
        let written = stage.written();
        let record = written.iter().find(|record| record["token"]["jti"] == answer.claims()["jti"]).unwrap();
        assert_eq!(record["token"]["cnf"], answer.claims()["cnf"], "an auditor sees to which key");
        assert_eq!(nonce(&answer), None);
    }
    let bearer = ask(&stage, &[]).await;
    assert_eq!((bearer.body["token_type"].as_str(), bearer.claims().get("cnf")), (Some("Bearer"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn dpo_11_every_grant_takes_a_proof() {
    let stage = Stage::with(|world, issuer| {
        let config = standard_config(world, issuer) + "assertion_grant: { enabled: true }\n";
        let rule = "  - name: the shop acts for workloads\n    from: { source: prod, path: /ns/shop/sa/api }\n    \
                    to: { resource: orders, scopes: [read] }\n    on_behalf_of: { subjects: [eu1] }\n";
        config.replace("rules:\n", &format!("rules:\n{rule}"))
    })
    .await;
    let (svid, mine) = (stage.svid(), es256("mine"));
    let pod = stage.cluster("eu1").mint(&TokenAsk::new("shop", "api", &stage.issuer)).unwrap();
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    let assertion = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    let grants: [&[(&str, &str)]; 3] = [
        &[("grant_type", "client_credentials")],
        &[("grant_type", exchange), ("subject_token", &pod), ("subject_token_type", jwt)],
        &[("grant_type", assertion), ("assertion", &pod)],
    ];
    for grant in grants {
        let client = [("client_assertion_type", JWT_SPIFFE), ("client_assertion", &svid), ("resource", ORDERS)];
        let form: Vec<(&str, &str)> = grant.iter().copied().chain(client).collect();
        let bound = stage.form(&form, &[("dpop", &signed(&proof(&stage, &mine)))]).await;
        assert_eq!(bound.body["token_type"], "DPoP", "{grant:?} {}", bound.text);
        assert_eq!(bound.claims()["cnf"]["jkt"], thumbprint(&mine));
        let refused = stage.form(&form, &[("dpop", &signed(&proof(&stage, &mine).claim("htm", "GET")))]).await;
        assert_eq!((refused.status, refused.error()), (400, "invalid_dpop_proof"), "DPO-07");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpo_05_a_proof_is_good_once() {
    let mut stage = Stage::standard().await;
    let mine = es256("mine");
    let one = signed(&proof(&stage, &mine).claim("jti", "one"));
    assert_eq!(ask(&stage, &[&one]).await.status, 200);
    let again = ask(&stage, &[&one]).await;
    assert_eq!((again.error(), stage.reason(&again).await.as_str()), ("invalid_dpop_proof", "proof_invalid"));
    // Another signature of the same proof, and another proof with the same id, are the same proof.
    let resigned = signed(&proof(&stage, &mine).claim("jti", "one").claim("more", 1));
    assert_eq!(ask(&stage, &[&resigned]).await.error(), "invalid_dpop_proof");
    // Over the other door it is the same proof too.
    let call = Call::svid(&stage.svid()).with_proof(&one);
    let status = Client::of(&stage.issuer).exchange(&call).await.unwrap_err();
    assert_eq!(Told::of(&status).unwrap().reason, "PROOF_INVALID");
    // It is still known after a restart.
    stage.restart().await;
    stage.keys_known().await;
    assert_eq!(ask(&stage, &[&one]).await.error(), "invalid_dpop_proof");
    // The same id of another key is another proof.
    let other = signed(&proof(&stage, &es256("another")).claim("jti", "one"));
    assert_eq!(ask(&stage, &[&other]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn dpo_05_a_refusal_uses_no_proof_up() {
    let stage = Stage::standard().await;
    let one = signed(&proof(&stage, &es256("mine")));
    let svid = stage.svid();
    let form = |resource| {
        [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_SPIFFE),
            ("client_assertion", &svid),
            ("resource", resource),
        ]
    };
    assert_eq!(stage.form(&form("https://vault.example"), &[("dpop", &one)]).await.error(), "unauthorized_client");
    assert_eq!(stage.form(&form(ORDERS), &[("dpop", &one)]).await.status, 200);
    assert_eq!(stage.form(&form(ORDERS), &[("dpop", &one)]).await.error(), "invalid_dpop_proof");
}

#[tokio::test(flavor = "multi_thread")]
async fn dpo_08_a_nonce_on_demand() {
    let stage = Stage::with(|world, issuer| standard_config(world, issuer) + NONCES).await;
    let mine = es256("mine");
    let bare = ask(&stage, &[&signed(&proof(&stage, &mine))]).await;
    assert_eq!((bare.status, bare.error()), (400, "use_dpop_nonce"));
    assert_eq!(stage.reason(&bare).await, "proof_nonce_needed");
    let first = nonce(&bare).unwrap();
    let with = |nonce: &str| signed(&proof(&stage, &mine).claim("nonce", nonce));
    let granted = ask(&stage, &[&with(&first)]).await;
    assert_eq!((granted.body["token_type"].as_str(), nonce(&granted)), (Some("DPoP"), None));
    // Without it, with another, or with one in pieces: again the challenge and the same nonce.
    for other in [signed(&proof(&stage, &mine)), with("x"), with(""), with(&first[1..])] {
        let refused = ask(&stage, &[&other]).await;
        assert_eq!((refused.error(), nonce(&refused).as_deref()), ("use_dpop_nonce", Some(first.as_str())));
    }
    let number = ask(&stage, &[&signed(&proof(&stage, &mine).claim("nonce", 1))]).await;
    assert_eq!((number.error(), nonce(&number)), ("invalid_dpop_proof", None));
    // A bad proof hears that it is bad: a nonce would not mend it.
    let late = signed(&proof(&stage, &mine).claim("iat", stage.clock.now().seconds() - 61));
    assert_eq!(ask(&stage, &[&late]).await.error(), "invalid_dpop_proof");
    // Nobody has to send a proof.
    assert_eq!(ask(&stage, &[]).await.body["token_type"], "Bearer");

    // Five minutes on there is another; the old one is taken once more, and the answer brings the new one.
    stage.advance(Lifetime::from_minutes(5)).await;
    let with = |nonce: &str| signed(&proof(&stage, &mine).claim("nonce", nonce));
    let granted = ask(&stage, &[&with(&first)]).await;
    let second = nonce(&granted).unwrap();
    assert!(granted.status == 200 && first != second, "{}", granted.text);
    assert_eq!(ask(&stage, &[&with(&second)]).await.status, 200);
    stage.advance(Lifetime::from_minutes(5)).await;
    let with = |nonce: &str| signed(&proof(&stage, &mine).claim("nonce", nonce));
    let refused = ask(&stage, &[&with(&first)]).await;
    assert_eq!(refused.error(), "use_dpop_nonce");
    assert!(![first, second].contains(&nonce(&refused).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn dpo_08_nonces_come_over_grpc_too() {
    let stage = Stage::with(|world, issuer| standard_config(world, issuer) + NONCES).await;
    let client = Client::of(&stage.issuer);
    let call = |proof: String| Call::svid(&stage.svid()).with_proof(&proof);
    let method = format!("{}/countersign.v1.TokenService/Exchange", stage.issuer);
    let mine = es256("mine");
    let made = || proof(&stage, &mine).claim("htu", method.clone());
    let status = client.exchange(&call(signed(&made()))).await.unwrap_err();
    assert_eq!(Told::of(&status).unwrap().reason, "PROOF_NONCE_NEEDED");
    let nonce = status.metadata().get("dpop-nonce").unwrap().to_str().unwrap().to_owned();
    let answer = client.exchange(&call(signed(&made().claim("nonce", nonce)))).await.unwrap();
    assert_eq!(answer.token_type, "DPoP");
    assert_eq!(crate::stage::part(&answer.access_token, 1)["cnf"]["jkt"], thumbprint(&mine));
    let other = made().claim("htu", format!("{}/countersign.v1.TokenService/Watch", stage.issuer));
    let status = client.exchange(&call(signed(&other))).await.unwrap_err();
    assert_eq!(Told::of(&status).unwrap().reason, "PROOF_INVALID", "DPO-03");
}

/// DPO-12: one for whom a resource or a rule wants a key hears so, and what would be right.
#[tokio::test(flavor = "multi_thread")]
async fn dpo_12_what_requires_a_key_says_so() {
    let stage = Stage::with(|world, issuer| {
        let config = standard_config(world, issuer);
        config.replace("owner: team-commerce }", "owner: team-commerce, require: bound }")
    })
    .await;
    let refused = ask(&stage, &[]).await;
    assert_eq!((refused.status, refused.error()), (400, "invalid_request"));
    assert!(refused.text.contains("send a DPoP proof"), "{}", refused.text);
    let pod = stage.pod_token("eu1");
    let form = [("client_assertion_type", JWT_BEARER), ("client_assertion", pod.as_str()), ("resource", ORDERS)];
    let refused = stage.token(&form).await;
    assert_eq!(stage.reason(&refused).await, "binding_required");
    let bound = ask(&stage, &[&signed(&proof(&stage, &es256("mine")))]).await;
    assert_eq!((bound.claims()["sub"].as_str(), bound.claims()["cnf"].is_object()), (Some(API), true));
}

/// DPO-03: behind a proxy a proof names the URL that clients know, and not the one that arrives here.
#[tokio::test(flavor = "multi_thread")]
async fn dpo_03_htu_is_the_public_url() {
    let stage = Stage::with(|world, issuer| {
        standard_config(world, issuer).replacen(
            &format!("issuer: {issuer}\n"),
            "issuer: https://id.example/tenant\n",
            1,
        )
    })
    .await;
    let svid = stage.world.trust_domain().mint(API, &["https://id.example/tenant"], Lifetime::from_minutes(5)).unwrap();
    let form = crate::stage::encode(&[
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_SPIFFE),
        ("client_assertion", &svid),
        ("resource", ORDERS),
    ]);
    let mine = es256("mine");
    let inner = format!("{}/tenant/token", stage.issuer);
    for (htu, status) in [
        ("https://id.example/tenant/token", 200),
        ("https://ID.example:443/tenant/token", 200),
        ("https://id.example/token", 400),
        ("http://id.example/tenant/token", 400),
        (&inner, 400),
    ] {
        let proof = signed(&proof(&stage, &mine).claim("htu", htu));
        let answer = stage.post("/tenant/token", &form, &[("dpop", &proof), ("x-forwarded-proto", "http")]).await;
        assert_eq!(answer.status, status, "{htu}: {}", answer.text);
    }
}

/// The records of bound tokens have no proof in them, and say which requests were bound.
#[tokio::test(flavor = "multi_thread")]
async fn proofs_are_in_no_record() {
    let stage = Stage::standard().await;
    let one = signed(&proof(&stage, &es256("mine")));
    ask(&stage, &[&one]).await;
    ask(&stage, &[&one]).await;
    let signature = one.rsplit('.').next().unwrap();
    let written = Value::from(stage.written()).to_string();
    assert!(written.contains("used before") && !written.contains(signature));
}
