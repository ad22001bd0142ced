//! Tokens of people: one good token, spoiled in one respect, as the verifier of subjects judges it. That no person is a caller is in `oidc`.

use countersign::clock::Clock;
use countersign::credential::CompactJws;
use countersign::identity::{Confirmation, VerifiedSubject};
use countersign::verify::person::verify;
use countersign::verify::{Evidence, Subject, Verifier};
use countersign::world::forge::Forge;
use serde_json::json;

use super::ground::Ground;
use crate::stage::API;

/// One way to be refused.
type Row = (&'static str, &'static str, fn(&Ground, Forge) -> Forge);

fn alice(ground: &Ground) -> Forge {
    ground.stage.world.login().forge("alice", "orders-app", json!({ "name": "Alice", "nonce": "n" }))
}

/// What the verifier of subjects says of a token: the person, or the reason.
async fn judged(ground: &Ground, token: &Forge) -> Result<Subject, &'static str> {
    let generation = ground.stage.app.exchange().generation();
    let verifier = Verifier {
        trust: generation.trust(),
        issuer: generation.issuer(),
        identity_domain: generation.identity_domain(),
        at: ground.stage.clock.now(),
    };
    let jws = CompactJws::parse(token.sign().unwrap().token()).unwrap();
    verify(&verifier, &jws, &mut Evidence::default()).await.map_err(|refusal| refusal.reason().code())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_people_are_refused_in_every_respect() {
    let ground = Ground::new().await;
    let mut wrong = Vec::new();
    for (name, reason, spoil) in ROWS {
        assert!(judged(&ground, &alice(&ground)).await.is_ok(), "before {name}");
        match judged(&ground, &spoil(&ground, alice(&ground))).await {
            Err(found) if found == *reason => {}
            Err(found) => wrong.push(format!("{name}: {found} instead of {reason}")),
            Ok(_) => wrong.push(format!("{name}: taken")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const ROWS: &[Row] = &[
    ("BCJ-04 an issuer that nobody named", "source_unknown", |_, t| t.claim("iss", "https://login.example/")),
    ("NOR-01 the CI system's issuer and key", "source_unknown", |g, _| g.ci_forge()),
    ("NOR-01 the login's issuer, by the CI system's key", "signature_invalid", |g, t| {
        t.key(&g.stage.world.ci().active_key())
    }),
    ("CA-06 for us, and not for the application", "audience_mismatch", |g, t| t.claim("aud", g.issuer())),
    ("CA-06 for another application", "audience_mismatch", |_, t| t.claim("aud", "mail-app")),
    ("CA-06 for another application too", "audience_mismatch", |_, t| {
        t.claim("aud", json!(["orders-app", "mail-app"]))
    }),
    ("CA-06 the application in other case", "audience_near_miss", |_, t| t.claim("aud", "Orders-App")),
    ("CA-06 for nobody", "claims_invalid", |_, t| t.without_claim("aud")),
    ("CA-08 ended", "token_expired", |g, t| t.claim("exp", g.now().seconds())),
    ("CA-08 without an end", "claims_invalid", |_, t| t.without_claim("exp")),
    ("CA-09 issued too long ago", "token_too_old", |g, t| {
        t.claim("iat", g.now().seconds() - 25 * 3600).without_claim("nbf")
    }),
    ("CA-10 not valid yet", "token_not_yet_valid", |g, t| t.claim("nbf", g.now().seconds() + 31)),
    ("XC-04 sub is a SPIFFE ID", "subject_invalid", |_, t| t.claim("sub", API)),
    ("XC-04 sub is a SPIFFE ID in other case", "subject_invalid", |_, t| t.claim("sub", "SPIFFE://prod.example/a")),
    ("XC-04 sub is a SPIFFE ID after a space", "subject_invalid", |_, t| t.claim("sub", " spiffe://prod.example/a")),
    ("NOR-04 sub is empty", "subject_invalid", |_, t| t.claim("sub", "")),
    ("NOR-04 sub has a new line", "subject_invalid", |_, t| t.claim("sub", "alice\n")),
    ("NOR-04 sub turns the direction of reading", "subject_invalid", |_, t| t.claim("sub", "\u{202e}ecila")),
    ("NOR-04 sub looks like another", "subject_invalid", |_, t| t.claim("sub", "аlice")),
    ("NOR-04 sub has 256 characters", "subject_invalid", |_, t| t.claim("sub", "a".repeat(256))),
    ("NOR-04 no sub", "claims_invalid", |_, t| t.without_claim("sub")),
    ("NOR-04 sub is a number", "claims_invalid", |_, t| t.claim("sub", 7)),
    ("BCJ-10 of typ logout+jwt", "credential_malformed", |_, t| t.header("typ", "logout+jwt")),
    ("BCJ-10 of typ dpop+jwt", "credential_malformed", |_, t| t.header("typ", "dpop+jwt")),
    ("an actor of the issuer's own", "claims_invalid", |_, t| t.claim("act", json!({ "sub": "bob" }))),
    ("bound to a key in a way that nobody knows", "claims_invalid", |_, t| t.claim("cnf", json!({ "kid": "k" }))),
    ("bound to two keys", "claims_invalid", |_, t| t.claim("cnf", json!({ "jkt": "a", "x5t#S256": "b" }))),
    ("cnf is no object", "claims_invalid", |_, t| t.claim("cnf", "k")),
    ("may_act is no object", "claims_invalid", |_, t| t.claim("may_act", "bob")),
];

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_of_refused_people_are_taken() {
    let ground = Ground::new().await;
    let ends = ground.now().seconds() + 77;
    let good: [(&str, Forge, &str); 8] = [
        ("a sub with bars", alice(&ground).claim("sub", "auth0|5f|7c"), "auth0|5f|7c"),
        ("NOR-04 a sub of 255 characters", alice(&ground).claim("sub", "a".repeat(255)), &"a".repeat(255)),
        ("NOR-04 a sub with a space inside", alice(&ground).claim("sub", "Ada Lovelace"), "Ada Lovelace"),
        ("CA-06 aud is a list of one", alice(&ground).claim("aud", json!(["orders-app"])), "alice"),
        ("BCJ-10 no typ", alice(&ground).without_header("typ"), "alice"),
        ("BCJ-10 an access token of the login", alice(&ground).header("typ", "at+jwt"), "alice"),
        ("no iat and no nbf", alice(&ground).without_claim("iat").without_claim("nbf"), "alice"),
        ("NOR-07 it ends with its token", alice(&ground).claim("exp", ends), "alice"),
    ];
    for (name, token, sub) in good {
        let person = judged(&ground, &token).await.unwrap_or_else(|reason| panic!("{name}: {reason}"));
        let VerifiedSubject::Person { source, sub: found } = &person.who else { panic!("{name}") };
        assert_eq!((source.as_str(), found.as_str()), ("login", sub), "{name}");
        assert!(person.acted_by.is_empty() && person.scopes.is_none() && person.may_act.is_none());
        if name.contains("NOR-07") {
            assert_eq!(person.ends.seconds(), ends);
        }
    }
    let named = alice(&ground).claim("may_act", json!({ "sub": API }));
    let person = judged(&ground, &named).await.unwrap();
    assert_eq!(person.may_act.as_ref().and_then(|actor| actor.text("sub")), Some(API));
    let bound = alice(&ground).claim("cnf", json!({ "jkt": "thumbprint" }));
    let person = judged(&ground, &bound).await.unwrap();
    assert_eq!(
        person.confirmation,
        Some(Confirmation::Key("thumbprint".to_owned())),
        "it is worth nothing without the key"
    );
}
