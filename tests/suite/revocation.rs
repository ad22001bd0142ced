//! What is revoked and what is used up: by owners, by operators, by use, over restarts and kills (standards part 12, CA-11).

mod killed;
mod operators;
mod owners;
mod reuse;

use std::path::Path;

use base64ct::{Base64UrlUnpadded, Encoding};
use countersign::clock::Lifetime;
use serde_json::{Value, json};

use crate::evidence;
use crate::stage::{Answer, JWT_SPIFFE, Stage, answer, client_builder, encode, standard_config};

/// Asks the operator socket of a state folder.
async fn operator(state: &Path, body: Option<&Value>) -> Answer {
    let socket = state.join("operator.sock");
    let client = client_builder().unix_socket(socket).build().unwrap();
    let url = "http://operator/revocations";
    let request = match body {
        Some(body) => client.post(url).header("content-type", "application/json").body(body.to_string()),
        None => client.get(url),
    };
    let answer = answer(request.send().await.unwrap()).await;
    evidence::keep("operator.txt", &answer.text);
    answer
}

/// Asks the operator socket of a stage.
async fn ask(stage: &Stage, body: Option<&Value>) -> Answer {
    operator(&stage.directory.path().join("state"), body).await
}

/// Revokes until it is lifted, and it is so.
pub(crate) async fn revoke(stage: &Stage, kind: &str, name: &str) {
    let made = ask(stage, Some(&json!({ "kind": kind, "name": name, "reason": "a test" }))).await;
    assert_eq!((made.status, made.body["stands"].as_bool()), (200, Some(true)), "{}", made.text);
}

async fn lift(stage: &Stage, kind: &str, name: &str) {
    let lifted = ask(stage, Some(&json!({ "kind": kind, "name": name, "lift": true }))).await;
    assert_eq!((lifted.status, lifted.body["stands"].as_bool()), (200, Some(false)), "{}", lifted.text);
}

/// The names that are listed, those that have ended among them.
async fn listed(stage: &Stage) -> Vec<String> {
    let list = ask(stage, None).await;
    let names = list.body["revocations"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
    names.collect()
}

/// The access token of an answer.
fn token(answer: &Answer) -> String {
    answer.body["access_token"].as_str().unwrap_or_else(|| panic!("no token: {}", answer.text)).to_owned()
}

/// The standard stage, with a server for `orders` that may ask about its tokens.
async fn served() -> Stage {
    let served_by = "owner: team-commerce, served_by: { source: prod, path: /serves/orders }";
    Stage::with(|world, issuer| standard_config(world, issuer).replacen("owner: team-commerce", served_by, 1)).await
}

/// Whether a token for `orders` is active, as its resource server hears it from `/introspect`.
async fn is_active(stage: &Stage, token: &str) -> bool {
    let server = "spiffe://prod.example/serves/orders";
    let svid = stage.world.trust_domain().mint(server, &[&stage.issuer], Lifetime::from_minutes(5)).unwrap();
    evidence::secret(&svid);
    let form = [("client_assertion_type", JWT_SPIFFE), ("client_assertion", &svid), ("token", token)];
    let told = stage.post("/introspect", &encode(&form), &[]).await;
    assert_eq!(told.status, 200, "{}", told.text);
    told.body["active"].as_bool().unwrap()
}

/// How many of them are.
async fn active(stage: &Stage, tokens: &[String]) -> usize {
    let mut count = 0;
    for token in tokens {
        count += usize::from(is_active(stage, token).await);
    }
    count
}

/// The other valid signature of a P-256 token: `s` becomes `n - s`.
fn malleated(token: &str) -> String {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
        0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = Base64UrlUnpadded::decode_vec(signature).unwrap();
    let mut borrow = 0;
    for place in (0..32).rev() {
        let difference = i16::from(N[place]) - i16::from(signature[32 + place]) - borrow;
        borrow = i16::from(difference < 0);
        signature[32 + place] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let other = format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature));
    assert_ne!(other, token);
    evidence::secret(&other);
    other
}
