//! Tokens of people: one good token, spoiled in one respect, as the verifier of subjects judges it. That no person is a caller is in `oidc`.

use countersign::credential::{CompactJws, Shown};
use countersign::identity::{Confirmation, VerifiedSubject};
use countersign::policy::{Ask, PolicyTrace};
use countersign::verify::person::verify;
use countersign::verify::{Evidence, Parties, Subject};
use countersign::world::forge::Forge;
use serde_json::json;

use super::ground::Ground;
use crate::stage::{API, part};

/// One way to be refused.
type Row = (&'static str, &'static str, fn(&Ground, Forge) -> Forge);

fn alice(ground: &Ground) -> Forge {
    ground.stage.world.login().forge("alice", "orders-app", json!({ "name": "Alice", "nonce": "n" }))
}

/// What the verifier of subjects says of a token: the person, or the reason.
async fn judged(ground: &Ground, token: &Forge) -> Result<Subject, &'static str> {
    let generation = ground.stage.app.exchange().generation();
    let verifier = generation.verifier(ground.now());
    let jws = CompactJws::parse(token.sign().unwrap().token()).unwrap();
    verify(&verifier, &jws, &mut Evidence::default())
        .await
        .map(|token| token.subject)
        .map_err(|refusal| refusal.reason().code())
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

/// A rule with `on_behalf_of` lets a workload act for people of these subjects: `sub` is the person under our name for its issuer, `act`
/// the workload, and the token ends with the person's. Without such a rule, or for another workload, nothing is granted.
#[tokio::test(flavor = "multi_thread")]
async fn a_workload_acts_for_a_person_as_a_rule_says() {
    let ground = Ground::new().await;
    let generation = ground.stage.app.exchange().generation();
    let verifier = generation.verifier(ground.now());
    let ends = ground.now().seconds() + 77;
    let token = alice(&ground).claim("exp", ends);
    let decide = async |caller: String, resource: &str, may_act: Option<&str>| {
        let token = match may_act {
            Some(id) => token.clone().claim("may_act", json!({ "sub": id })),
            None => token.clone(),
        };
        let shown = Shown::JwtSvid(CompactJws::parse(caller).unwrap());
        let vouched = verifier.verify(&shown, &mut Evidence::default()).await.unwrap();
        let client = vouched.alive().await.unwrap();
        let subject = Some(judged(&ground, &token).await.unwrap());
        let parties = Parties { client, actor: None, subject, binding: None };
        let ask = Ask { audience: Some(resource.to_owned()), ..Ask::default() };
        let grant = generation.policy().evaluate(&parties, &ask, &mut PolicyTrace::default());
        let grant = grant.map_err(|refusal| refusal.reason().code())?;
        let minted = ground.stage.app.exchange().issuer().mint(generation.issuer(), &grant, verifier.at).unwrap();
        Ok::<_, &str>(part(minted.expose(), 1))
    };
    let life = countersign::clock::Lifetime::from_minutes(5);
    let other =
        ground.stage.world.trust_domain().mint("spiffe://prod.example/readers/a", &[ground.issuer()], life).unwrap();
    let claims = decide(ground.stage.svid(), "orders", None).await.unwrap();
    assert_eq!((&claims["sub"], &claims["act"]["sub"]), (&json!("login|alice"), &json!(API)));
    assert_eq!((&claims["exp"], &claims["scope"]), (&json!(ends), &json!("read")));
    assert_eq!(decide(ground.stage.svid(), "search", None).await, Err("not_granted"), "no rule with on_behalf_of");
    assert_eq!(decide(other, "orders", None).await, Err("not_granted"), "another workload");
    assert!(decide(ground.stage.svid(), "orders", Some(API)).await.is_ok(), "TX-17");
    let named = decide(ground.stage.svid(), "orders", Some("spiffe://prod.example/other")).await;
    assert_eq!(named, Err("delegation_denied"), "TX-17");
}
