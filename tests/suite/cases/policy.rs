//! Verified, and not allowed: target, scope, rules.

use super::ground::{Ground, PARTNER};
use super::keyring::es256;
use super::run::{CLIENT, REQUEST, Row, SCOPE, TARGET, UNAUTHORIZED, refuse, row};

#[tokio::test(flavor = "multi_thread")]
async fn targets_scopes_and_rules() {
    refuse(&Ground::new().await, ROWS).await;
}

const ROWS: &[Row] = &[
    row("RI-01 RI-04 resource is a bare word", "target_denied", TARGET, |g| g.good().set("resource", "orders")),
    row("RI-01 resource is a path", "target_denied", TARGET, |g| g.good().set("resource", "/orders")),
    row("RI-01 resource has a fragment", "target_denied", TARGET, |g| {
        g.good().set("resource", "https://orders.example#a")
    }),
    row("RI-01 resource has an empty fragment", "target_denied", TARGET, |g| {
        g.good().set("resource", "https://orders.example#")
    }),
    row("RI-04 a resource that is not there", "target_denied", TARGET, |g| {
        g.good().set("resource", "https://nothing.example")
    }),
    row("RI-05 a slash behind the resource", "target_denied", TARGET, |g| {
        g.good().set("resource", "https://orders.example/")
    }),
    row("RI-05 a path below the resource", "target_denied", TARGET, |g| {
        g.good().set("resource", "https://orders.example/x")
    }),
    row("RI-05 the resource in upper case", "target_denied", TARGET, |g| {
        g.good().set("resource", "https://ORDERS.example")
    }),
    row("RI-05 the resource as http", "target_denied", TARGET, |g| g.good().set("resource", "http://orders.example")),
    row("RI-05 white space behind the resource", "target_denied", TARGET, |g| {
        g.good().set("resource", "https://orders.example ")
    }),
    row("RI-05 the start of the resource", "target_denied", TARGET, |g| g.good().set("resource", "https://orders")),
    row("RI-04 an audience that is not there", "target_denied", TARGET, |g| {
        g.good().without("resource").with("audience", "nothing")
    }),
    row("RI-05 the name in upper case", "target_denied", TARGET, |g| {
        g.good().without("resource").with("audience", "Orders")
    }),
    row("AT-14 our issuer as resource", "target_denied", TARGET, |g| g.good().set("resource", g.issuer())),
    row("RI-02 RI-06 resource and audience name two", "target_denied", TARGET, |g| g.good().with("audience", "search")),
    row("AT-05 RI-04 no target, and no default", "target_missing", TARGET, |g| g.good().without("resource")),
    row("AT-05 AT-06 no target, and two defaults", "target_ambiguous", TARGET, |g| {
        g.svid(|t| t.claim("sub", "spiffe://prod.example/both")).without("resource")
    }),
    row("AT-06 no target, and scopes of two resources", "target_missing", TARGET, |g| {
        g.good().without("resource").with("scope", "read find")
    }),
    row("AT-06 TOK-17 a scope of another resource", "scope_denied", SCOPE, |g| g.good().with("scope", "find")),
    row("AT-06 a scope of this resource and of another", "scope_denied", SCOPE, |g| {
        g.good().with("scope", "read find")
    }),
    row("TOK-17 a scope that nobody knows", "scope_denied", SCOPE, |g| g.good().with("scope", "admin")),
    row("TOK-17 TOK-14 a granted scope and one that is not", "scope_denied", SCOPE, |g| {
        g.svid(|t| t.claim("sub", "spiffe://prod.example/readers/one")).with("scope", "read write")
    }),
    row("TOK-17 a scope in upper case", "scope_denied", SCOPE, |g| g.good().with("scope", "READ")),
    row("TOK-17 a star", "scope_denied", SCOPE, |g| g.good().with("scope", "*")),
    row("TOK-17 offline_access", "scope_denied", SCOPE, |g| g.good().with("scope", "read offline_access")),
    row("TOK-16 a quote", "scope_denied", SCOPE, |g| g.good().with("scope", "a\"b")),
    row("TOK-16 a backslash", "scope_denied", SCOPE, |g| g.good().with("scope", "a\\b")),
    row("TOK-16 a leading space", "scope_denied", SCOPE, |g| g.good().with("scope", " read")),
    row("TOK-16 a space behind", "scope_denied", SCOPE, |g| g.good().with("scope", "read ")),
    row("TOK-16 two spaces", "scope_denied", SCOPE, |g| g.good().with("scope", "read  write")),
    row("TOK-16 a tab", "scope_denied", SCOPE, |g| g.good().with("scope", "read\twrite")),
    row("TOK-16 a comma", "scope_denied", SCOPE, |g| g.good().with("scope", "read,write")),
    row("TOK-16 a letter that is not ASCII", "scope_denied", SCOPE, |g| g.good().with("scope", "réad")),
    row("SCA-06 TOK-10 a genuine SVID, and no rule", "not_granted", UNAUTHORIZED, |g| {
        g.svid(|t| t.claim("sub", "spiffe://prod.example/nobody"))
    }),
    row("SCA-06 a rule, and for another resource", "not_granted", UNAUTHORIZED, |g| {
        g.good_pod().set("resource", "https://search.example")
    }),
    row("SCA-06 a rule that only observes", "not_granted", UNAUTHORIZED, |g| {
        g.good().set("resource", "https://vault.example")
    }),
    row("SCA-20 SID-06 the path in upper case", "not_granted", UNAUTHORIZED, |g| {
        g.svid(|t| t.claim("sub", "spiffe://prod.example/NS/shop/sa/api"))
    }),
    row("SID-10 a claim namespace is no attribute", "not_granted", UNAUTHORIZED, |g| {
        g.svid(|t| {
            t.claim("sub", "spiffe://prod.example/nobody").claim("namespace", "shop").claim("service_account", "api")
        })
        .set("resource", "https://search.example")
    }),
    row("NOR-03 a partner cannot name our workload", "key_unknown", CLIENT, |g| {
        g.partner(&es256("partner-second"), |t| t.claim("sub", PARTNER.replace("partner.example", "prod.example")))
    }),
    row("LIM-04 a client_id of 2049 bytes", "malformed_request", REQUEST, |g| {
        g.good().with("client_id", &"x".repeat(2049))
    }),
];
