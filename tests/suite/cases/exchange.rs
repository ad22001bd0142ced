//! Token exchange (RFC 8693): every way in which a subject's token gives nothing.

use countersign::world::keys::Algorithm;
use serde_json::json;

use super::ground::Ground;
use super::keyring::{es256, rsa};
use super::request::Request;
use super::run::{CLIENT, GRANT, REQUEST, Row, SCOPE, TARGET, UNAUTHORIZED, refuse, row};
use crate::stage::API;

#[tokio::test(flavor = "multi_thread")]
async fn token_exchange() {
    refuse(&Ground::new().await, ROWS).await;
}

/// A good exchange by a token of ours that says something else.
fn saying(ground: &Ground, name: &str, value: serde_json::Value) -> Request {
    let token = ground.ours_saying("at+jwt", |claims| _ = claims.insert(name.to_owned(), value));
    ground.exchange("/serves/orders", "access_token", &token)
}

fn of_type(ground: &Ground, kind: &str) -> Request {
    ground.exchange("/serves/orders", kind, &ground.ours)
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("TX-01 the grant type in upper case", "grant_unsupported", GRANT, |g| {
        g.good_exchange().set("grant_type", "urn:ietf:params:oauth:grant-type:TOKEN-EXCHANGE")
    }),
    row("TX-01 no subject_token", "malformed_request", REQUEST, |g| g.good_exchange().without("subject_token")),
    row("TX-01 no subject_token_type", "malformed_request", REQUEST, |g| g.good_exchange().without("subject_token_type")),
    row("TX-01 neither", "malformed_request", REQUEST, |g| {
        g.good_exchange().without("subject_token").without("subject_token_type")
    }),
    row("TX-02 an actor_token without its type", "malformed_request", REQUEST, |g| {
        g.good_exchange().with("actor_token", &g.workload("/serves/orders"))
    }),
    row("TX-02 the type of an actor_token alone", "malformed_request", REQUEST, |g| {
        g.good_exchange().with("actor_token_type", "urn:ietf:params:oauth:token-type:jwt")
    }),
    row("TX-02 an actor_token and no subject_token", "malformed_request", REQUEST, |g| {
        let bare = g.good_exchange().without("subject_token").without("subject_token_type");
        bare.with("actor_token", &g.workload("/serves/orders")).with("actor_token_type", "urn:ietf:params:oauth:token-type:jwt")
    }),
    row("TX-03 a subject's JWT-SVID that ended", "token_expired", REQUEST, |g| {
        g.svid_exchange(|t| t.claim("exp", g.now().seconds()))
    }),
    row("TX-03 a token of ours that ended", "token_expired", REQUEST, |g| saying(g, "exp", json!(g.now().seconds()))),
    row("TX-03 a subject's JWT-SVID by another key", "signature_invalid", REQUEST, |g| {
        g.svid_exchange(|t| t.key(&es256("another")))
    }),
    row("TX-03 a token of ours with another claim", "signature_invalid", REQUEST, |g| {
        let other = g.ours_saying("at+jwt", |claims| _ = claims.insert("scope".to_owned(), "count".into()));
        let (signed, signature) = (other.rsplit_once('.').unwrap().0, g.ours.rsplit_once('.').unwrap().1);
        g.exchange("/serves/orders", "access_token", &format!("{signed}.{signature}"))
    }),
    row("TX-03 a subject_token that is no JWT", "credential_malformed", REQUEST, |g| {
        g.exchange("/serves/orders", "jwt", "text")
    }),
    row("TX-03 an actor_token that ended", "token_expired", REQUEST, |g| {
        let old = g.stage.svid_forge().claim("sub", "spiffe://prod.example/serves/orders").claim("exp", g.now().seconds());
        g.good_exchange().with("actor_token", &old.sign().unwrap().token())
            .with("actor_token_type", "urn:ietf:params:oauth:token-type:jwt")
    }),
    row("TX-04 a resource that is not there", "target_denied", TARGET, |g| {
        g.good_exchange().set("resource", "https://nothing.example")
    }),
    row("TX-04 TX-05 two resources", "target_ambiguous", TARGET, |g| {
        g.good_exchange().with("resource", "https://books.example")
    }),
    row("TX-04 TX-05 an audience beside another resource", "target_denied", TARGET, |g| {
        g.good_exchange().with("audience", "books")
    }),
    row("TX-05 a relative resource", "target_denied", TARGET, |g| g.good_exchange().set("resource", "stock")),
    row("TX-05 a fragment", "target_denied", TARGET, |g| g.good_exchange().set("resource", "https://stock.example#f")),
    row("TX-08 TX-09 a JWT-SVID declared as our access token", "source_unknown", REQUEST, |g| {
        g.exchange("/serves/orders", "access_token", &g.stage.svid())
    }),
    row("TX-08 our access token declared as a platform's", "credential_malformed", REQUEST, |g| of_type(g, "jwt")),
    row("TX-08 our access token of typ JWT declared as a platform's", "key_unknown", REQUEST, |g| {
        g.exchange("/serves/orders", "jwt", &g.ours_as_jwt)
    }),
    row("TX-09 an access token of another issuer", "source_unknown", REQUEST, |g| {
        saying(g, "iss", json!("https://login.example"))
    }),
    row("TX-09 an access token of another's key with our issuer", "key_unknown", REQUEST, |g| {
        let forge = g.stage.svid_forge().header("typ", "at+jwt").claim("iss", g.issuer());
        let token = forge.key(&rsa("another", Algorithm::RS256)).sign().unwrap().token();
        g.exchange("/serves/orders", "access_token", &token)
    }),
    row("TX-09 a JWT of ours without a typ for tokens", "credential_malformed", REQUEST, |g| {
        g.exchange("/serves/orders", "access_token", &g.ours_saying("secevent+jwt", |_| {}))
    }),
    row("TX-10 id_token", "malformed_request", REQUEST, |g| of_type(g, "id_token")),
    row("TX-10 refresh_token", "malformed_request", REQUEST, |g| of_type(g, "refresh_token")),
    row("TX-10 saml1", "malformed_request", REQUEST, |g| of_type(g, "saml1")),
    row("TX-10 saml2", "malformed_request", REQUEST, |g| of_type(g, "saml2")),
    row("TX-10 a type that nobody knows", "malformed_request", REQUEST, |g| of_type(g, "other")),
    row("TX-10 TX-12 an access token as actor_token", "malformed_request", REQUEST, |g| {
        g.good_exchange().with("actor_token", &g.ours)
            .with("actor_token_type", "urn:ietf:params:oauth:token-type:access_token")
    }),
    row("TX-11 nobody authenticates", "credential_missing", CLIENT, |g| {
        g.good_exchange().without("client_assertion").without("client_assertion_type")
    }),
    row("TX-11 the subject_token as the caller's credential", "credential_malformed", CLIENT, |g| {
        g.good_exchange().set("client_assertion", &g.ours)
    }),
    row("TX-11 a client_assertion that ended", "token_expired", CLIENT, |g| {
        let old = g.stage.svid_forge().claim("sub", "spiffe://prod.example/serves/orders").claim("exp", g.now().seconds());
        g.good_exchange().set("client_assertion", &old.sign().unwrap().token())
    }),
    row("TX-12 a token of ours in the hands of who does not serve it", "delegation_denied", REQUEST, |g| {
        g.exchange("/serves/stock", "access_token", &g.ours).set("resource", "https://books.example")
    }),
    row("TX-12 a token of ours for a resource that nobody serves", "delegation_denied", REQUEST, |g| {
        g.exchange("/serves/orders", "access_token", &g.ours_as_jwt)
    }),
    row("TX-12 a token of ours for another workload by its ID", "delegation_denied", REQUEST, |g| {
        saying(g, "aud", json!("spiffe://prod.example/serves/inbox"))
    }),
    row("TX-12 one's own token for a resource that another serves", "delegation_denied", REQUEST, |g| {
        g.exchange("/ns/shop/sa/api", "access_token", &g.ours).set("resource", "https://orders.example")
    }),
    row("TX-12 a platform's token for somebody else", "audience_mismatch", REQUEST, |g| {
        g.svid_exchange(|t| t.claim("aud", json!(["https://orders.example"])))
    }),
    row("TX-12 an actor_token of another workload", "delegation_denied", REQUEST, |g| {
        g.good_exchange().with("actor_token", &g.stage.svid())
            .with("actor_token_type", "urn:ietf:params:oauth:token-type:jwt")
    }),
    row("TX-12 CA-13 a client authentication JWT as subject_token", "credential_malformed", REQUEST, |g| {
        let pod = g.stage.pod_forge("eu1").header("typ", "client-authentication+jwt").sign().unwrap().token();
        g.exchange("/serves/orders", "jwt", &pod)
    }),
    row("TX-15 a rule for who acted earlier", "not_granted", UNAUTHORIZED, |g| {
        let chain = json!({ "sub": "spiffe://prod.example/serves/books" });
        let token = g.ours_saying("at+jwt", |claims| {
            claims.extend([("act".to_owned(), chain), ("aud".to_owned(), json!("spiffe://prod.example/serves/plain"))]);
        });
        g.exchange("/serves/plain", "access_token", &token)
    }),
    row("TX-16 a chain one too deep for the rule", "delegation_denied", REQUEST, |g| {
        saying(g, "act", json!({ "sub": "spiffe://prod.example/serves/books" }))
    }),
    row("TX-16 a chain one too deep for anybody", "claims_invalid", REQUEST, |g| {
        let deeper = |act, _| json!({ "sub": "spiffe://prod.example/a", "act": act });
        saying(g, "act", (0..8).fold(json!({ "sub": "spiffe://prod.example/a" }), deeper))
    }),
    row("TX-17 may_act names another", "delegation_denied", REQUEST, |g| {
        g.svid_exchange(|t| t.claim("may_act", json!({ "sub": "spiffe://prod.example/serves/stock" })))
    }),
    row("TX-17 may_act names the caller and another issuer", "delegation_denied", REQUEST, |g| {
        let may = json!({ "sub": "spiffe://prod.example/serves/orders", "iss": "https://other.example" });
        g.svid_exchange(|t| t.claim("may_act", may))
    }),
    row("TX-17 may_act has a member that we do not know", "delegation_denied", REQUEST, |g| {
        let may = json!({ "sub": "spiffe://prod.example/serves/orders", "groups": ["a"] });
        g.svid_exchange(|t| t.claim("may_act", may))
    }),
    row("TX-17 may_act names nobody", "delegation_denied", REQUEST, |g| g.svid_exchange(|t| t.claim("may_act", json!({})))),
    row("TX-17 may_act is text", "claims_invalid", REQUEST, |g| g.svid_exchange(|t| t.claim("may_act", API))),
    row("TX-17 may_act of a token of ours names another", "delegation_denied", REQUEST, |g| {
        saying(g, "may_act", json!({ "sub": "spiffe://prod.example/serves/stock" }))
    }),
    row("TX-18 a plain rule lets nobody act for others", "not_granted", UNAUTHORIZED, |g| {
        let token = g.ours_saying("at+jwt", |claims| _ = claims.insert("aud".to_owned(), json!("spiffe://prod.example/serves/plain")));
        g.exchange("/serves/plain", "access_token", &token)
    }),
    row("TX-18 a rule for others grants nothing to oneself", "not_granted", UNAUTHORIZED, |g| {
        g.svid_text(&g.workload("/serves/orders")).set("resource", "https://stock.example")
    }),
    row("TX-18 a subject of a source that the rule does not name", "not_granted", UNAUTHORIZED, |g| {
        let pod = g.stage.pod_token("eu1");
        g.exchange("/serves/inbox", "jwt", &pod)
    }),
    row("TX-18 TX-14 impersonation would lose who acted before", "delegation_denied", REQUEST, |g| {
        let chain = json!({ "sub": "spiffe://prod.example/serves/books" });
        let token = g.ours_saying("at+jwt", |claims| {
            claims.extend([("act".to_owned(), chain), ("aud".to_owned(), json!("spiffe://prod.example/serves/mask"))]);
        });
        g.exchange("/serves/mask", "access_token", &token)
    }),
    row("TX-19 a scope that the subject's token does not have", "scope_denied", SCOPE, |g| {
        g.good_exchange().with("scope", "read count")
    }),
    row("TX-19 a scope beyond the rule's bound for others", "scope_denied", SCOPE, |g| {
        g.good_exchange().with("scope", "write")
    }),
    row("TX-19 no scope in common", "scope_denied", SCOPE, |g| saying(g, "scope", json!("find"))),
    row("TX-23 saml2 is wanted", "malformed_request", REQUEST, |g| {
        g.good_exchange().with("requested_token_type", "urn:ietf:params:oauth:token-type:saml2")
    }),
    row("TX-23 a refresh token is wanted", "malformed_request", REQUEST, |g| {
        g.good_exchange().with("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")
    }),
    row("TX-23 a jwt is wanted", "malformed_request", REQUEST, |g| {
        g.good_exchange().with("requested_token_type", "urn:ietf:params:oauth:token-type:jwt")
    }),
    row("TX-24 a token of ours that is bound to a key, without proof", "binding_required", REQUEST, |g| {
        saying(g, "cnf", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }))
    }),
    row("TX-24 a token of ours that is bound to a certificate, without it", "binding_required", REQUEST, |g| {
        saying(g, "cnf", json!({ "x5t#S256": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }))
    }),
];
