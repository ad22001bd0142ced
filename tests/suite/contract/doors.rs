//! What every path does with every method, before anything is decided.

use super::header;
use crate::stage::Stage;

const DOCUMENTS: [&str; 3] = ["/jwks", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];
const NOWHERE: [&str; 12] = [
    "/",
    "/token/",
    "/Token",
    "//token",
    "/token/x",
    "/tok%65n/",
    "/jwks/",
    "/jwks.json",
    "/.well-known/",
    "/readyz",
    "/healthz",
    "/metrics",
];
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"];

fn allowed(list: &str) -> Vec<&str> {
    let mut methods: Vec<&str> = list.split(',').map(str::trim).collect();
    methods.sort_unstable();
    methods
}

#[tokio::test(flavor = "multi_thread")]
async fn tok_01_other_methods_are_405_with_allow() {
    let stage = Stage::standard().await;
    let others = || METHODS.into_iter().filter(|method| *method != "POST");
    for (path, method) in
        ["/token", "/revoke", "/introspect"].into_iter().flat_map(|path| others().map(move |method| (path, method)))
    {
        let answer = stage.request(method, path, &[]).await;
        assert_eq!((answer.status, header(&answer, "allow")), (405, "POST"), "{method} {path}");
        assert_eq!(header(&answer, "cache-control"), "no-store", "TOK-12 {method}");
        if method != "HEAD" {
            assert_eq!(answer.error(), "invalid_request", "{method}");
        }
    }
    for (path, method) in DOCUMENTS.iter().flat_map(|path| METHODS.map(|method| (path, method))) {
        let answer = stage.request(method, path, &[]).await;
        if matches!(method, "GET" | "HEAD") {
            assert_eq!(answer.status, 200, "{method} {path}");
        } else {
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(allowed(header(&answer, "allow")), ["GET", "HEAD"], "{method} {path}");
        }
    }
    assert_eq!(stage.written().len(), 0, "before the table there is no record (design §6)");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_path_is_404_in_json() {
    let stage = Stage::standard().await;
    for (path, method) in NOWHERE.iter().flat_map(|path| ["GET", "POST", "PUT"].map(|method| (path, method))) {
        let answer = stage.request(method, path, &[]).await;
        assert_eq!((answer.status, answer.error()), (404, "invalid_request"), "{method} {path}");
        assert_eq!(header(&answer, "content-type"), "application/json", "TOK-13 {path}");
        assert_eq!(header(&answer, "cache-control"), "no-store", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tok_25_nothing_redirects() {
    let stage = Stage::standard().await;
    let paths = DOCUMENTS.iter().chain(&NOWHERE).chain(&["/token"]);
    for (path, method) in paths.flat_map(|path| METHODS.map(|method| (path, method))) {
        for suffix in ["", "?redirect_uri=https://evil.example&next=//evil.example"] {
            let answer = stage.request(method, &format!("{path}{suffix}"), &[]).await;
            assert!(!(300..400).contains(&answer.status), "{method} {path}{suffix}: {}", answer.status);
            assert!(!answer.headers.contains_key("location"), "{method} {path}{suffix}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tok_28_head_is_get_without_the_body() {
    let stage = Stage::standard().await;
    for path in DOCUMENTS {
        let (get, head) = (stage.request("GET", path, &[]).await, stage.request("HEAD", path, &[]).await);
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        for name in ["content-type", "content-length", "cache-control", "etag"] {
            assert_eq!(header(&head, name), header(&get, name), "{name} of {path}");
        }
        let names = |answer: &crate::stage::Answer| -> Vec<String> {
            let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(&head), names(&get), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tok_30_no_origin_is_given_credentials() {
    let stage = Stage::standard().await;
    let origin = [
        ("origin", "https://evil.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    for path in DOCUMENTS.iter().chain(&["/token"]) {
        for method in ["OPTIONS", "GET", "POST"] {
            let answer = stage.request(method, path, &origin).await;
            assert_eq!(header(&answer, "access-control-allow-credentials"), "", "{method} {path}");
            assert!(!header(&answer, "access-control-allow-origin").contains("evil"), "{method} {path}");
        }
    }
}
