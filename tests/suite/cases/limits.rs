//! One past each limit of a request; what is exactly at the limit stands in `accepted`.

use serde_json::json;

use super::ground::Ground;
use super::run::{CLIENT, REQUEST, Row, SCOPE, refuse, row};

#[tokio::test(flavor = "multi_thread")]
async fn limits() {
    refuse(&Ground::new().await, ROWS).await;
}

/// A good JWT-SVID of exactly that many bytes.
pub fn svid_of_length(ground: &Ground, length: usize) -> String {
    let with = |filler: usize| ground.stage.svid_forge().claim("x", "x".repeat(filler)).sign().unwrap().token();
    // Four characters of base64 stand for three bytes: at most three tries differ.
    let start = (length - with(0).len()) * 3 / 4;
    let found = (start.saturating_sub(4)..start + 4).map(with).find(|token| token.len() == length);
    found.unwrap_or_else(|| {
        // Lengths of 4n + 1 do not exist in one part; a longer kid-less header moves the sum.
        let with = |filler: usize| {
            ground.stage.svid_forge().header("y", "y").claim("x", "x".repeat(filler)).sign().unwrap().token()
        };
        (start.saturating_sub(30)..start + 4).map(with).find(|token| token.len() == length).unwrap()
    })
}

/// A good form of exactly that many bytes.
pub fn body_of_length(ground: &Ground, length: usize) -> super::request::Request {
    let good = ground.good();
    let filler = length - good.body().len() - "&filler=".len();
    good.with("filler", &"x".repeat(filler))
}

const ROWS: &[Row] = &[
    row("LIM-01 a body of 64 KiB and a byte", "request_too_large", ("invalid_request", 413), |g| {
        body_of_length(g, 64 * 1024 + 1)
    }),
    row("LIM-01 a body of 1 MiB", "request_too_large", ("invalid_request", 413), |g| body_of_length(g, 1024 * 1024)),
    row("LIM-02 a token of 16 KiB and a byte", "credential_malformed", CLIENT, |g| {
        g.svid_text(&"a".repeat(16 * 1024 + 1))
    }),
    row("LIM-02 a good token that is longer", "credential_malformed", CLIENT, |g| {
        g.svid_text(&svid_of_length(g, 16 * 1024 + 2))
    }),
    row("LIM-04 65 parameters", "malformed_request", REQUEST, |g| {
        (0..61).fold(g.good(), |request, number| request.with(&format!("p{number}"), "x"))
    }),
    row("LIM-04 CA-06 33 audiences", "claims_invalid", CLIENT, |g| {
        let aud: Vec<String> = (0..32).map(|n| format!("a{n}")).chain([g.issuer().to_owned()]).collect();
        g.svid(|t| t.claim("aud", json!(aud)))
    }),
    row("LIM-04 32 audiences are looked at, and are too many", "audience_mismatch", CLIENT, |g| {
        let aud: Vec<String> = (0..31).map(|n| format!("a{n}")).chain([g.issuer().to_owned()]).collect();
        g.svid(|t| t.claim("aud", json!(aud)))
    }),
    row("LIM-04 101 scopes", "scope_denied", SCOPE, |g| g.good().with("scope", &vec!["read"; 101].join(" "))),
    row("LIM-04 a scope of 129 characters", "scope_denied", SCOPE, |g| g.good().with("scope", &"x".repeat(129))),
    row("LIM-04 a resource of 2049 bytes", "malformed_request", REQUEST, |g| {
        g.good().set("resource", &format!("https://{}", "x".repeat(2041)))
    }),
    row("LIM-04 an audience of 2049 bytes", "malformed_request", REQUEST, |g| {
        g.good().with("audience", &"x".repeat(2049))
    }),
    row("JOSE-21 a kid of 513 bytes", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("kid", "x".repeat(513)))),
    row("JOSE-21 a kid of 512 bytes is looked for", "key_unknown", CLIENT, |g| {
        g.svid(|t| t.header("kid", "x".repeat(512)))
    }),
    row("JOSE-21 a kid of 20 KiB", "credential_malformed", CLIENT, |g| {
        g.svid(|t| t.header("kid", "x".repeat(20 * 1024)))
    }),
];
