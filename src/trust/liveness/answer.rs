//! What an API server's answer says about a token or an object (K8S-16, K8S-17, K8S-18).
//!
//! Pure. What cannot be read is no answer, and no answer is never taken for life or for death.

use http::StatusCode;
use serde_json::Value;

use super::Verdict;
use crate::clock::{Lifetime, Timestamp};
use crate::identity::Object;
use crate::reason::quoted;

/// An API server takes a token that long after the `deletionTimestamp` of what it is bound to (K8S-17).
const DELETION_LEEWAY: Lifetime = Lifetime::from_seconds(60);
/// Before every key of `extra` that says what a token is bound to.
const PREFIX: &str = "authentication.kubernetes.io/";

/// What the token itself says, by our own verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// `sub`: `system:serviceaccount:<namespace>:<name>`.
    pub username: String,
    /// The UID of the service account.
    pub uid: String,
    /// The pod that it is bound to.
    pub pod: Option<Object>,
    /// The node of that pod, or that it is bound to.
    pub node: Option<Object>,
    /// `jti`.
    pub token_id: Option<String>,
}

/// Judges the answer to a TokenReview: alive only if it says so, for an audience that was asked for, of the same user, pod, node and
/// token. Keys of `extra` that older API servers do not write (node, token id) may be missing; those of a pod may not.
pub(super) fn judge_review(body: &[u8], audiences: &[String], expected: &Expected) -> Verdict {
    let Some(answer) = document(body, "TokenReview") else {
        return Verdict::Unknown("the answer is no TokenReview".to_owned());
    };
    let at = |pointer: &str| answer.pointer(pointer);
    if at("/status/authenticated") != Some(&Value::Bool(true)) {
        return not_authenticated(at("/status/error").and_then(Value::as_str).unwrap_or_default(), audiences, expected);
    }
    let granted: Vec<&str> = texts(at("/status/audiences")).collect();
    if !granted.iter().any(|audience| audiences.iter().any(|asked| asked == audience)) {
        let got = granted.iter().map(|audience| quoted(audience)).collect::<Vec<_>>().join(", ");
        let got = if got.is_empty() { "none: it is good for the API server alone".to_owned() } else { got };
        return Verdict::OtherAudience { got, want: wanted(audiences) };
    }
    let user = |member: &str| at("/status/user").and_then(|user| user.get(member)).and_then(Value::as_str);
    let extra = |key: &str| -> Option<&str> {
        let values = at("/status/user/extra")?.get(format!("{PREFIX}{key}"));
        // Two values of one key contradict each other, and so whatever the token says.
        let mut values = texts(values);
        values.next().map(|first| if values.next().is_some() { "(several)" } else { first })
    };
    let object = |object: &Option<Object>, part: fn(&Object) -> &String| object.as_ref().map(part).cloned();
    let pairs = [
        ("username", user("username"), Some(expected.username.clone()), true),
        ("uid", user("uid"), Some(expected.uid.clone()), true),
        ("pod-name", extra("pod-name"), object(&expected.pod, |pod| &pod.name), true),
        ("pod-uid", extra("pod-uid"), object(&expected.pod, |pod| &pod.uid), true),
        ("node-name", extra("node-name"), object(&expected.node, |node| &node.name), false),
        ("node-uid", extra("node-uid"), object(&expected.node, |node| &node.uid), false),
        ("credential-id", extra("credential-id"), expected.token_id.as_ref().map(|id| format!("JTI={id}")), false),
    ];
    for (name, got, want, needed) in pairs {
        if got != want.as_deref() && (needed || got.is_some()) {
            let told = |text: Option<&str>| format!("{name} {}", text.map_or_else(|| "(none)".to_owned(), quoted));
            return Verdict::OtherUser { got: told(got), want: told(want.as_deref()) };
        }
    }
    Verdict::Alive
}

/// Judges why a token is not authenticated. `error` says that it could not be checked; but an API server puts there, joined in one text,
/// what each of its authenticators says, and what that of service accounts says of a token that it knows (`pkg/serviceaccount` of
/// Kubernetes). Whatever is not plainly that may be a timeout of etcd, or the expired certificate of a webhook.
fn not_authenticated(error: &str, audiences: &[String], expected: &Expected) -> Verdict {
    if error.is_empty() {
        return Verdict::Gone("TokenReview gives no reason".to_owned());
    }
    if ends_the_token(error, &expected.username) {
        return Verdict::Gone(format!("TokenReview says: {}", quoted(error)));
    }
    if error.contains("token audiences [") && error.contains(" is invalid for the target audiences [") {
        return Verdict::OtherAudience { got: quoted(error), want: wanted(audiences) };
    }
    Verdict::Unchecked(format!("TokenReview could not check the token: {}", quoted(error)))
}

/// Whether the authenticator of service accounts says that the token, its account or what it is bound to has ended.
fn ends_the_token(error: &str, username: &str) -> bool {
    let mut names = username.rsplit(':');
    let (account, namespace) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    let is_other = error.contains(" UID (") && error.contains(") does not match ");
    is_other
        || [
            "service account token has been invalidated".to_owned(),
            "service account token has expired".to_owned(),
            format!("service account {namespace}/{account} has been deleted"),
            format!("serviceaccounts {account:?} not found"),
            format!("serviceaccount {account:?} not found"),
        ]
        .iter()
        .any(|says| error.contains(says))
}

fn wanted(audiences: &[String]) -> String {
    audiences.iter().map(|one| quoted(one)).collect::<Vec<_>>().join(" or ")
}

/// Judges the answer to a GET of an object: gone if the API server says in its own form that there is none, if another one has the name,
/// or if it was deleted longer ago than tokens outlive their object.
pub(super) fn judge_object(
    status: StatusCode,
    body: &[u8],
    plural: &str,
    wanted: &Object,
    now: Timestamp,
) -> Option<Verdict> {
    let gone = |why: &str| Some(Verdict::Gone(format!("{plural} {}: {why}", quoted(&wanted.name))));
    if status == StatusCode::NOT_FOUND {
        let answer = document(body, "Status")?;
        let says = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str);
        let is_about = says("/details/kind") == Some(plural) && says("/details/name") == Some(&wanted.name);
        return if says("/reason") == Some("NotFound") && is_about { gone("there is none") } else { None };
    }
    if status != StatusCode::OK {
        return None;
    }
    let answer: Value = serde_json::from_slice(body).ok()?;
    let says = |member: &str| answer.pointer("/metadata")?.get(member)?.as_str();
    if says("name") != Some(&wanted.name) {
        return None;
    }
    if says("uid")? != wanted.uid {
        return gone("another one has its name now");
    }
    match says("deletionTimestamp").map(Timestamp::parse_rfc3339) {
        Some(None) => None,
        Some(Some(deleted)) if now > deleted.plus(DELETION_LEEWAY) => gone("it was deleted"),
        Some(Some(_)) | None => Some(Verdict::Alive),
    }
}

fn document(body: &[u8], kind: &str) -> Option<Value> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    (answer.pointer("/kind").and_then(Value::as_str) == Some(kind)).then_some(answer)
}

fn texts(values: Option<&Value>) -> impl Iterator<Item = &str> {
    values.and_then(Value::as_array).into_iter().flatten().map(|value| value.as_str().unwrap_or("(no text)"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const US: &str = "https://id.example";

    fn object(name: &str) -> Object {
        Object { name: name.to_owned(), uid: format!("{name}-uid") }
    }

    fn expected() -> Expected {
        Expected {
            username: "system:serviceaccount:shop:api".to_owned(),
            uid: "u1".to_owned(),
            pod: Some(object("api-0")),
            node: Some(object("node-1")),
            token_id: Some("t1".to_owned()),
        }
    }

    fn good() -> Value {
        json!({ "kind": "TokenReview", "status": {
            "authenticated": true,
            "audiences": ["other", US],
            "user": { "username": "system:serviceaccount:shop:api", "uid": "u1", "extra": {
                "authentication.kubernetes.io/pod-name": ["api-0"],
                "authentication.kubernetes.io/pod-uid": ["api-0-uid"],
                "authentication.kubernetes.io/node-name": ["node-1"],
                "authentication.kubernetes.io/node-uid": ["node-1-uid"],
                "authentication.kubernetes.io/credential-id": ["JTI=t1"],
            } },
        } })
    }

    fn judged(answer: &Value) -> &'static str {
        judge_review(answer.to_string().as_bytes(), &[US.to_owned()], &expected()).word()
    }

    /// The good answer with another value there; `null` takes it away.
    fn with(pointer: &str, value: Value) -> &'static str {
        let mut answer = good();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = answer.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        let name = name.replace("~1", "/");
        if value.is_null() {
            parent.remove(&name);
        } else {
            parent.insert(name, value);
        }
        judged(&answer)
    }

    #[test]
    fn k8s_16_only_a_clear_yes_for_an_audience_that_was_asked_for_is_a_yes() {
        assert_eq!(judged(&good()), "alive");
        assert_eq!(with("/status/audiences", json!([US])), "alive");
        for (pointer, value, word) in [
            ("/status/authenticated", json!(null), "gone"),
            ("/status/authenticated", json!(false), "gone"),
            ("/status/authenticated", json!("true"), "gone"),
            ("/status/audiences", json!(null), "other_audience"),
            ("/status/audiences", json!([]), "other_audience"),
            ("/status/audiences", json!(["https://id.example/"]), "other_audience"),
            ("/status/audiences", json!(US), "other_audience"),
            ("/kind", json!("Status"), "unavailable"),
            ("/status", json!(null), "gone"),
        ] {
            assert_eq!(with(pointer, value.clone()), word, "{pointer} {value}");
        }
        assert_eq!(judge_review(b"<html>", &[US.to_owned()], &expected()).word(), "unavailable");
        assert_eq!(judge_review(b"[]", &[US.to_owned()], &expected()).word(), "unavailable");
    }

    #[test]
    fn k8s_16_k8s_19_only_what_an_api_server_says_of_the_token_itself_is_the_tokens_end() {
        let saying = |error: &str| judged(&json!({ "kind": "TokenReview", "status": { "user": {}, "error": error } }));
        for (error, word) in [
            ("service account token has been invalidated", "gone"),
            ("service account token has expired", "gone"),
            ("serviceaccounts \"api\" not found", "gone"),
            ("serviceaccount \"api\" not found", "gone"),
            ("service account shop/api has been deleted", "gone"),
            ("service account UID (u2) does not match claim (u1)", "gone"),
            ("pod UID (x) does not match service account pod ref claim (api-0-uid)", "gone"),
            ("node UID (x) does not match service account node ref claim (y)", "gone"),
            ("service account token has been invalidated, webhook: context deadline exceeded", "gone"),
            (
                "token audiences [\"https://id.example/token\"] is invalid for the target audiences [\"https://id.example\"]",
                "other_audience",
            ),
            // Trouble of its own, or of another authenticator's.
            ("etcdserver: request timed out", "unavailable"),
            ("serviceaccounts \"other\" not found", "unavailable"),
            ("dial tcp: lookup webhook.example: host not found", "unavailable"),
            ("tls: failed to verify certificate: x509: certificate has expired or is not yet valid", "unavailable"),
            ("service account token is not valid yet", "unavailable"),
            ("invalid signature, no keys found", "unavailable"),
            ("invalid bearer token", "unavailable"),
        ] {
            for told in [error.to_owned(), format!("[invalid bearer token, {error}]")] {
                assert_eq!(saying(&told), word, "{told}");
            }
        }
        assert_eq!(saying(""), "gone", "checked, and not authenticated");
    }

    #[test]
    fn k8s_18_user_pod_node_and_token_are_those_of_the_token() {
        const EXTRA: &str = "/status/user/extra/authentication.kubernetes.io~1";
        for (pointer, other, missing) in [
            ("/status/user/username".to_owned(), json!("system:serviceaccount:shop:admin"), "other_user"),
            ("/status/user/uid".to_owned(), json!("u2"), "other_user"),
            (format!("{EXTRA}pod-name"), json!(["api-1"]), "other_user"),
            (format!("{EXTRA}pod-uid"), json!(["x"]), "other_user"),
            // Older API servers do not write them.
            (format!("{EXTRA}node-name"), json!(["node-2"]), "alive"),
            (format!("{EXTRA}node-uid"), json!(["x"]), "alive"),
            (format!("{EXTRA}credential-id"), json!(["JTI=t2"]), "alive"),
        ] {
            assert_eq!(with(&pointer, other), "other_user", "{pointer}");
            assert_eq!(with(&pointer, json!(null)), missing, "without {pointer}");
        }
        assert_eq!(with(&format!("{EXTRA}credential-id"), json!(["JTI=t1", "JTI=t2"])), "other_user");
        assert_eq!(with(&format!("{EXTRA}node-name"), json!([7])), "other_user");
        // A pod, node or token id of which the token itself knows nothing.
        for unbound in [
            Expected { pod: None, ..expected() },
            Expected { node: None, ..expected() },
            Expected { token_id: None, ..expected() },
        ] {
            let verdict = judge_review(good().to_string().as_bytes(), &[US.to_owned()], &unbound);
            assert_eq!(verdict.word(), "other_user", "{unbound:?}");
        }
    }

    #[test]
    fn k8s_17_an_object_is_gone_when_the_api_server_says_so_and_60_s_after_its_deletion() {
        let now = Timestamp::parse_rfc3339("2026-09-21T14:00:00Z").unwrap();
        let there = |metadata: Value| json!({ "kind": "PartialObjectMetadata", "metadata": metadata }).to_string();
        let word = |status: StatusCode, body: &str| {
            judge_object(status, body.as_bytes(), "pods", &object("api-0"), now).map(|verdict| verdict.word())
        };
        let ok = |metadata: Value| word(StatusCode::OK, &there(metadata));
        assert_eq!(ok(json!({ "name": "api-0", "uid": "api-0-uid" })), Some("alive"));
        assert_eq!(ok(json!({ "name": "api-0", "uid": "other" })), Some("gone"));
        let deleted = |at: &str| ok(json!({ "name": "api-0", "uid": "api-0-uid", "deletionTimestamp": at }));
        assert_eq!(deleted("2026-09-21T13:59:00Z"), Some("alive"));
        assert_eq!(deleted("2026-09-21T13:58:59Z"), Some("gone"));
        assert_eq!(deleted("yesterday"), None);
        let missing = |name: &str, kind: &str, reason: &str| {
            json!({ "kind": "Status", "reason": reason, "details": { "name": name, "kind": kind } }).to_string()
        };
        assert_eq!(word(StatusCode::NOT_FOUND, &missing("api-0", "pods", "NotFound")), Some("gone"));
        // What no API server says of that pod is no answer.
        for (status, body) in [
            (StatusCode::NOT_FOUND, "404 page not found".to_owned()),
            (StatusCode::NOT_FOUND, missing("api-1", "pods", "NotFound")),
            (StatusCode::NOT_FOUND, missing("api-0", "nodes", "NotFound")),
            (StatusCode::NOT_FOUND, missing("api-0", "pods", "Other")),
            (StatusCode::FORBIDDEN, missing("api-0", "pods", "NotFound")),
            (StatusCode::OK, "{}".to_owned()),
            (StatusCode::OK, there(json!({ "name": "api-1", "uid": "x" }))),
            (StatusCode::OK, there(json!({ "name": "api-0" }))),
        ] {
            assert_eq!(word(status, &body), None, "{status} {body}");
        }
    }
}
