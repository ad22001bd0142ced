//! The HTTP request: methods, content types, repeats, query, escapes, empty values, grants, other ways to authenticate.

use super::ground::Ground;
use super::run::{CLIENT, CLIENT_401, GRANT, REQUEST, Row, SCOPE, TARGET, form, refuse, row};
use crate::stage::JWT_SPIFFE;

#[tokio::test(flavor = "multi_thread")]
async fn requests_tok_03_tok_12_tok_13_tok_22_tok_23_tok_25() {
    refuse(&Ground::new().await, ROWS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_tok_01_and_paths_have_no_record() {
    let ground = Ground::new().await;
    let records = ground.stage.written().len();
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "QUERY"] {
        let answer = ground.good().by(method).send(&ground.client, ground.issuer()).await;
        assert_eq!(answer.status, 405, "{method}: {}", answer.text);
        let allow = answer.headers["allow"].to_str().unwrap();
        assert_eq!(allow, "POST", "{method}");
        assert!(answer.body.get("access_token").is_none() && answer.body.get("error_ref").is_none(), "{method}");
        if method != "HEAD" {
            assert_eq!(form(&answer), Vec::<String>::new(), "{method}");
        }
    }
    for path in
        ["/", "/token/", "/Token", "//token", "/token;x", "/token%20", "/introspect/", "/register", "/authorize"]
    {
        let answer = ground.good().at(path).send(&ground.client, ground.issuer()).await;
        assert_eq!((answer.status, form(&answer)), (404, Vec::new()), "{path}: {}", answer.text);
    }
    assert_eq!(ground.stage.written().len(), records);
    ground.good_ones_are_granted("after").await;
}

const BASIC: &str = "Basic c3BpZmZlOi8vcHJvZDpzZWNyZXQ=";

const ROWS: &[Row] = &[
    row("TOK-02 the body is JSON", "malformed_request", REQUEST, |g| {
        let svid = g.stage.svid();
        let body = serde_json::json!({ "grant_type": "client_credentials", "client_assertion_type": JWT_SPIFFE, "client_assertion": svid });
        g.good().raw(body.to_string()).content_type(Some("application/json"))
    }),
    row("TOK-02 TOK-03 the form is declared as JSON", "malformed_request", REQUEST, |g| {
        g.good().content_type(Some("application/json"))
    }),
    row("TOK-02 the body is multipart", "malformed_request", REQUEST, |g| {
        let part = |name: &str, value: &str| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = [
            part("grant_type", "client_credentials"),
            part("client_assertion_type", JWT_SPIFFE),
            part("client_assertion", &g.stage.svid()),
        ];
        g.good().raw(format!("{}--x--\r\n", body.concat())).content_type(Some("multipart/form-data; boundary=x"))
    }),
    row("TOK-02 the form is declared as text", "malformed_request", REQUEST, |g| {
        g.good().content_type(Some("text/plain"))
    }),
    row("TOK-03 there is no content type", "malformed_request", REQUEST, |g| g.good().content_type(None)),
    row("TOK-02 the form is declared as Latin-1", "malformed_request", REQUEST, |g| {
        g.good().content_type(Some("application/x-www-form-urlencoded; charset=iso-8859-1"))
    }),
    row("TOK-03 two content types", "malformed_request", REQUEST, |g| {
        g.good().header("content-type", "application/json")
    }),
    row("TOK-02 the form is compressed by name", "malformed_request", REQUEST, |g| {
        g.good().raw(b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec()).header("content-encoding", "gzip")
    }),
    row("TOK-10 no body", "malformed_request", REQUEST, |g| g.good().raw("")),
    row("TOK-10 a body of separators", "malformed_request", REQUEST, |g| g.good().raw("=&=&&")),
    row("TOK-04 TOK-10 grant_type is empty", "malformed_request", REQUEST, |g| g.good().set("grant_type", "")),
    row("TOK-04 client_assertion is empty", "credential_missing", CLIENT, |g| g.good().set("client_assertion", "")),
    row("TOK-04 client_assertion_type is empty", "assertion_type_unsupported", CLIENT, |g| {
        g.good().set("client_assertion_type", "")
    }),
    row("TOK-04 resource is empty", "target_missing", TARGET, |g| g.good().set("resource", "")),
    row("TOK-06 grant_type twice", "malformed_request", REQUEST, |g| g.good().with("grant_type", "client_credentials")),
    row("TOK-06 client_assertion twice", "malformed_request", REQUEST, |g| {
        let svid = g.good().value("client_assertion");
        g.good().with("client_assertion", &svid)
    }),
    row("TOK-06 client_assertion twice, the second one empty", "malformed_request", REQUEST, |g| {
        g.good().with("client_assertion", "")
    }),
    row("TOK-06 client_assertion_type twice", "malformed_request", REQUEST, |g| {
        g.good().with("client_assertion_type", JWT_SPIFFE)
    }),
    row("TOK-06 client_id twice", "malformed_request", REQUEST, |g| {
        g.good().with("client_id", "shop-api").with("client_id", "shop-api")
    }),
    row("TOK-06 scope twice", "malformed_request", REQUEST, |g| g.good().with("scope", "read").with("scope", "read")),
    row("TOK-06 subject_token twice", "malformed_request", REQUEST, |g| {
        g.good().with("subject_token", "a").with("subject_token", "a")
    }),
    row("TOK-06 a parameter that nobody knows, twice", "malformed_request", REQUEST, |g| {
        g.good().with("foo", "bar").with("foo", "bar")
    }),
    row("TOK-06 the second copy has an escaped name", "malformed_request", REQUEST, |g| {
        g.good().and_raw(b"&grant%5ftype=x")
    }),
    row("TOK-06 RI-02 RI-06 two resources", "target_ambiguous", TARGET, |g| {
        g.good().with("resource", "https://search.example")
    }),
    row("TOK-06 RI-02 the same resource twice", "target_ambiguous", TARGET, |g| {
        g.good().with("resource", "https://orders.example")
    }),
    row("TOK-06 RI-02 two audiences", "target_ambiguous", TARGET, |g| {
        g.good().with("audience", "orders").with("audience", "search")
    }),
    row("TOK-07 grant_type in the query", "malformed_request", REQUEST, |g| {
        g.good().without("grant_type").at("/token?grant_type=client_credentials")
    }),
    row("TOK-07 client_assertion in the query", "credential_missing", CLIENT, |g| {
        let svid = g.good().value("client_assertion");
        g.good().without("client_assertion").at(&format!("/token?client_assertion={svid}"))
    }),
    row("TOK-07 the whole form in the query", "malformed_request", REQUEST, |g| {
        let query = g.good().query();
        g.good().at(&format!("/token?{query}")).raw("")
    }),
    row("TOK-07 resource in the query", "target_missing", TARGET, |g| {
        g.good().without("resource").at("/token?resource=https://orders.example")
    }),
    row("TOK-07 the query does not overrule the body", "grant_unsupported", GRANT, |g| {
        g.good().set("grant_type", "password").at("/token?grant_type=client_credentials")
    }),
    row("TOK-08 a broken escape", "malformed_request", REQUEST, |g| g.good().and_raw(b"&x=%zz")),
    row("TOK-08 an escape that is cut off", "malformed_request", REQUEST, |g| g.good().and_raw(b"&x=%4")),
    row("TOK-08 an escaped byte that is no UTF-8", "malformed_request", REQUEST, |g| g.good().and_raw(b"&x=%ff")),
    row("TOK-08 a raw byte that is no UTF-8", "malformed_request", REQUEST, |g| g.good().and_raw(b"&x=\xff")),
    row("TOK-08 an overlong slash", "malformed_request", REQUEST, |g| g.good().and_raw(b"&x=%c0%af")),
    row("TOK-08 an escaped plus is no space", "scope_denied", SCOPE, |g| g.good().and_raw(b"&scope=read%2Bwrite")),
    row("TOK-10 grant_type is missing", "malformed_request", REQUEST, |g| g.good().without("grant_type")),
    row("TOK-10 grant_type is unknown", "grant_unsupported", GRANT, |g| g.good().set("grant_type", "urn:x")),
    row("TOK-10 TOK-27 grant_type is password", "grant_unsupported", GRANT, |g| {
        g.good().set("grant_type", "password").with("username", "u").with("password", "p")
    }),
    row("TOK-10 grant_type is authorization_code", "grant_unsupported", GRANT, |g| {
        g.good().set("grant_type", "authorization_code").with("code", "x")
    }),
    row("TOK-10 grant_type is refresh_token", "grant_unsupported", GRANT, |g| {
        g.good().set("grant_type", "refresh_token").with("refresh_token", "x")
    }),
    row("TOK-26 the grant in upper case", "grant_unsupported", GRANT, |g| {
        g.good().set("grant_type", "Client_Credentials")
    }),
    row("TOK-10 white space behind the grant", "grant_unsupported", GRANT, |g| {
        g.good().set("grant_type", "client_credentials ")
    }),
    row("TOK-26 Grant_Type is not grant_type", "malformed_request", REQUEST, |g| {
        g.good().renamed("grant_type", "Grant_Type")
    }),
    row("TOK-26 Client_Assertion is not client_assertion", "credential_missing", CLIENT, |g| {
        g.good().renamed("client_assertion", "Client_Assertion")
    }),
    row("TOK-21 no credential", "credential_missing", CLIENT, |g| {
        g.good().without("client_assertion").without("client_assertion_type")
    }),
    row("TOK-21 client_id alone is no credential", "credential_missing", CLIENT, |g| {
        g.good().without("client_assertion").without("client_assertion_type").with("client_id", "shop-api")
    }),
    row("TOK-18 TOK-27 Basic alone", "assertion_type_unsupported", CLIENT_401, |g| {
        g.good().without("client_assertion").without("client_assertion_type").header("authorization", BASIC)
    }),
    row("TOK-18 TOK-26 basic in lower case", "assertion_type_unsupported", CLIENT_401, |g| {
        let lower = BASIC.replace("Basic", "basic");
        g.good().without("client_assertion").without("client_assertion_type").header("authorization", &lower)
    }),
    row("TOK-18 the SVID as Bearer", "assertion_type_unsupported", CLIENT_401, |g| {
        let svid = g.good().value("client_assertion");
        let bare = g.good().without("client_assertion").without("client_assertion_type");
        bare.header("authorization", &format!("Bearer {svid}"))
    }),
    row("TOK-18 Negotiate alone", "assertion_type_unsupported", CLIENT_401, |g| {
        g.good().without("client_assertion").without("client_assertion_type").header("authorization", "Negotiate YII=")
    }),
    row("TOK-18 a scheme that is no token", "assertion_type_unsupported", CLIENT_401, |g| {
        g.good().without("client_assertion").without("client_assertion_type").header("authorization", "\"x\",y z")
    }),
    row("TOK-18 an empty Authorization header", "assertion_type_unsupported", CLIENT_401, |g| {
        g.good().without("client_assertion").without("client_assertion_type").header("authorization", "")
    }),
    row("TOK-18 an Authorization header and half a credential", "credential_ambiguous", REQUEST, |g| {
        g.good().without("client_assertion").header("authorization", BASIC)
    }),
    row("TOK-27 client_secret alone", "assertion_type_unsupported", CLIENT, |g| {
        g.good()
            .without("client_assertion")
            .without("client_assertion_type")
            .with("client_id", "a")
            .with("client_secret", "b")
    }),
    row("TOK-19 SVID and Basic", "credential_ambiguous", REQUEST, |g| g.good().header("authorization", BASIC)),
    row("TOK-19 SVID and the same SVID as Bearer", "credential_ambiguous", REQUEST, |g| {
        let good = g.good();
        let svid = good.value("client_assertion");
        good.header("authorization", &format!("Bearer {svid}"))
    }),
    row("TOK-19 SVID and client_secret", "credential_ambiguous", REQUEST, |g| g.good().with("client_secret", "b")),
    row("TOK-19 SVID and attestation", "credential_ambiguous", REQUEST, |g| {
        g.good().header("oauth-client-attestation", "a.b.c").header("oauth-client-attestation-pop", "a.b.c")
    }),
    row("TOK-19 SVID and the proof of an attestation", "credential_ambiguous", REQUEST, |g| {
        g.good().header("oauth-client-attestation-pop", "a.b.c")
    }),
    row("TOK-22 a grant of quotes, controls and letters", "grant_unsupported", GRANT, |g| {
        g.good().set("grant_type", "\"\\\n\r\té\u{200b}\0\u{1f600}")
    }),
    row("TOK-22 a type of quotes, controls and letters", "assertion_type_unsupported", CLIENT, |g| {
        g.good().set("client_assertion_type", "\"\\\n\r\té\u{200b}\0\u{1f600}")
    }),
    row("TOK-22 a resource of quotes, controls and letters", "target_denied", TARGET, |g| {
        g.good().set("resource", "\"\\\n\r\té\u{200b}\0\u{1f600}")
    }),
    row("TOK-22 a client_id of quotes, controls and letters", "client_id_mismatch", CLIENT, |g| {
        g.good().with("client_id", "\"\\\n\r\té\u{200b}\0\u{1f600}")
    }),
];
