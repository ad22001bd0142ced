//! Requests that are right, in every way in which clients write them.

use super::row::{Gets, Request, Row, SEARCH, SVID};
use crate::stage::encode;

/// The most that a request may have (LIM-01).
const LONGEST_BODY: usize = 64 * 1024;

/// As `SVID`, with another ask.
const fn asks(name: &'static str, ask: &'static [(&'static str, &'static str)]) -> Row {
    Row { name, request: Request { ask, ..SVID.request }, ..SVID }
}

/// As `SVID`, with other bytes in the body.
const fn writes(name: &'static str, body: fn(&[(&str, &str)]) -> String) -> Row {
    Row { name, request: Request { body, ..SVID.request }, ..SVID }
}

/// As `SVID`, with another content type.
const fn types(name: &'static str, content_type: &'static str) -> Row {
    Row { name, request: Request { content_type, ..SVID.request }, ..SVID }
}

/// As `SVID`, for the resource `search`.
const fn searches(
    name: &'static str,
    ask: &'static [(&'static str, &'static str)],
    client_id: Option<&'static str>,
) -> Row {
    let gets = Gets { target: SEARCH, scope: "find", client_id, rule: "the shop searches", ..SVID.gets };
    Row { gets, ..asks(name, ask) }
}

const fn reads(row: Row) -> Row {
    Row { gets: Gets { scope: "read", ..row.gets }, ..row }
}

pub const ROWS: &[Row] = &[
    asks("TOK-15 TOK-14 no scope: all that are granted", &[("resource", "https://orders.example")]),
    reads(asks("TOK-14 AT-07 one scope of two", &[("resource", "https://orders.example"), ("scope", "read")])),
    asks("TOK-14 both scopes, in another order", &[("resource", "https://orders.example"), ("scope", "write read")]),
    asks("TOK-04 an empty scope", &[("resource", "https://orders.example"), ("scope", "")]),
    asks("TOK-04 an empty client_id", &[("client_id", ""), ("resource", "https://orders.example")]),
    asks("TOK-04 TOK-19 an empty client_secret", &[("client_secret", ""), ("resource", "https://orders.example")]),
    asks("TOK-04 an empty resource beside an audience", &[("resource", ""), ("audience", "orders")]),
    asks("AT-05 no target: the resource of the default rule", &[]),
    asks("TOK-04 AT-05 an empty resource and an empty audience are no target", &[("resource", ""), ("audience", "")]),
    asks("RI-03 audience is the name of the resource", &[("audience", "orders")]),
    asks("RI-03 audience is the value", &[("audience", "https://orders.example")]),
    asks(
        "RI-03 resource and audience are the same value",
        &[("resource", "https://orders.example"), ("audience", "https://orders.example")],
    ),
    asks(
        "RI-03 resource is the value and audience the name",
        &[("resource", "https://orders.example"), ("audience", "orders")],
    ),
    asks(
        "TOK-05 unknown parameters",
        &[("resource", "https://orders.example"), ("foo", "bar"), ("requested_token_type", "x"), ("Scope", "nothing")],
    ),
    asks(
        "CA-04 client_id is the SPIFFE ID, as a client library always sends it",
        &[("client_id", "spiffe://prod.example/ns/shop/sa/api"), ("resource", "https://orders.example")],
    ),
    Row {
        gets: Gets { client_id: Some("shop-api"), ..SVID.gets },
        ..asks(
            "CA-04 client_id is the alias of another rule of the caller",
            &[("client_id", "shop-api"), ("resource", "https://orders.example")],
        )
    },
    searches(
        "AT-01 AT-02 AT-09 OID-05 RS256, typ JWT and further claims, and the alias as client_id",
        &[("resource", "https://search.example")],
        Some("shop-api"),
    ),
    searches(
        "CA-04 the alias as client_id of the request",
        &[("resource", "https://search.example"), ("client_id", "shop-api")],
        Some("shop-api"),
    ),
    searches(
        "CA-04 the SPIFFE ID as client_id, though there is an alias",
        &[("resource", "https://search.example"), ("client_id", "spiffe://prod.example/ns/shop/sa/api")],
        None,
    ),
    searches("RI-03 AT-06 the name of a resource that is no default", &[("audience", "search")], Some("shop-api")),
    writes("TOK-08 plus is a space", |form| encode(form) + "&scope=read+write"),
    writes("TOK-08 %20 is a space", |form| encode(form) + "&scope=read%20write"),
    writes("TOK-08 small and capital letters in escapes, where none are needed", |form| {
        let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        form.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect::<Vec<_>>().join("&")
    }),
    writes("TOK-08 colons and slashes as they are", |form| {
        form.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }),
    writes("TOK-08 empty pairs between the parameters", |form| format!("&{}&&", encode(form).replace('&', "&&"))),
    writes("TOK-02 the parameters in another order", |form| encode(&form.iter().rev().copied().collect::<Vec<_>>())),
    writes("LIM-01 TOK-05 a body of exactly 64 KiB", |form| {
        let body = encode(form) + "&padding=";
        format!("{body}{}", "x".repeat(LONGEST_BODY - body.len()))
    }),
    types("TOK-02 a content type with charset", "application/x-www-form-urlencoded; charset=utf-8"),
    types("TOK-02 a content type with a quoted charset", "application/x-www-form-urlencoded;charset=\"UTF-8\""),
    types("TOK-02 a content type in capitals", "Application/X-WWW-Form-Urlencoded"),
    Row {
        name: "TOK-07 a query string never overrides the body",
        request: Request {
            query: "?grant_type=password&scope=nothing&client_assertion=x&resource=https://other.example",
            ..SVID.request
        },
        ..SVID
    },
    Row {
        name: "MD-18 TOK-30 forwarded headers, an origin and a wish for HTML change nothing",
        request: Request {
            headers: &[
                ("x-forwarded-host", "evil.example"),
                ("x-forwarded-proto", "https"),
                ("forwarded", "host=evil.example;for=10.0.0.1"),
                ("origin", "https://app.example"),
                ("accept", "text/html"),
                ("cookie", "session=1"),
            ],
            ..SVID.request
        },
        ..SVID
    },
];
