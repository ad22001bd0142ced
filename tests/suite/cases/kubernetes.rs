//! Service-account tokens: what they say of the account, and how they contradict themselves.

use countersign::world::cluster::{Bound, TokenAsk};
use countersign::world::forge::{Forge, legacy_kubernetes};
use serde_json::json;

use super::ground::Ground;
use super::keyring::es256;
use super::run::{CLIENT, Row, UNAUTHORIZED, refuse, row};

#[tokio::test(flavor = "multi_thread")]
async fn service_account_tokens() {
    refuse(&Ground::new().await, ROWS).await;
}

/// A token in which every place names the same account, whatever that is.
fn account(token: Forge, namespace: &str, name: &str) -> Forge {
    token
        .claim("sub", format!("system:serviceaccount:{namespace}:{name}"))
        .claim_at(&["kubernetes.io"], "namespace", namespace)
        .claim_at(&["kubernetes.io", "serviceaccount"], "name", name)
}

const ROWS: &[Row] = &[
    row("K8S-06 a legacy token from a Secret", "token_legacy", CLIENT, |g| {
        g.pod_text(&Forge::new(&es256("fit"), legacy_kubernetes("shop", "api")).sign().unwrap().token())
    }),
    row("K8S-06 a legacy token with an end, for us", "token_legacy", CLIENT, |g| {
        let (aud, exp) = (g.issuer().to_owned(), g.now().seconds() + 300);
        let token = Forge::new(&es256("fit"), legacy_kubernetes("shop", "api")).claim("aud", aud).claim("exp", exp);
        g.pod_text(&token.sign().unwrap().token())
    }),
    row("K8S-06 a bound token with the legacy issuer", "token_legacy", CLIENT, |g| {
        g.keyring(&es256("fit"), |t| t.claim("iss", "kubernetes/serviceaccount"))
    }),
    row("K8S-06 a bound token with the flat claims", "token_legacy", CLIENT, |g| {
        g.pod(|t| t.claim("kubernetes.io/serviceaccount/namespace", "shop"))
    }),
    row("K8S-06 no exp", "token_legacy", CLIENT, |g| g.pod(|t| t.without_claim("exp"))),
    row("K8S-08 no claim kubernetes.io", "subject_invalid", CLIENT, |g| g.pod(|t| t.without_claim("kubernetes.io"))),
    row("K8S-08 kubernetes.io is text", "claims_invalid", CLIENT, |g| g.pod(|t| t.claim("kubernetes.io", "shop"))),
    row("K8S-08 no namespace", "subject_invalid", CLIENT, |g| {
        g.pod(|t| t.without_claim_at(&["kubernetes.io"], "namespace"))
    }),
    row("K8S-08 no service account", "subject_invalid", CLIENT, |g| {
        g.pod(|t| t.without_claim_at(&["kubernetes.io"], "serviceaccount"))
    }),
    row("K8S-08 no name of the service account", "subject_invalid", CLIENT, |g| {
        g.pod(|t| t.without_claim_at(&["kubernetes.io", "serviceaccount"], "name"))
    }),
    row("K8S-08 sub has another namespace", "subject_invalid", CLIENT, |g| {
        g.pod(|t| t.claim("sub", "system:serviceaccount:bank:api"))
    }),
    row("K8S-08 sub has another name", "subject_invalid", CLIENT, |g| {
        g.pod(|t| t.claim("sub", "system:serviceaccount:shop:root"))
    }),
    row("K8S-08 the claim has another namespace", "subject_invalid", CLIENT, |g| {
        g.pod(|t| t.claim_at(&["kubernetes.io"], "namespace", "bank"))
    }),
    row("K8S-08 the claim has another name", "subject_invalid", CLIENT, |g| {
        g.pod(|t| t.claim_at(&["kubernetes.io", "serviceaccount"], "name", "root"))
    }),
    row("K8S-08 the namespace is a list", "subject_invalid", CLIENT, |g| {
        g.pod(|t| t.claim_at(&["kubernetes.io"], "namespace", json!(["shop"])))
    }),
    row("K8S-08 sub of a node", "subject_invalid", CLIENT, |g| g.pod(|t| t.claim("sub", "system:node:node-1"))),
    row("K8S-08 sub of a user", "subject_invalid", CLIENT, |g| g.pod(|t| t.claim("sub", "alice"))),
    row("K8S-08 sub has three parts", "subject_invalid", CLIENT, |g| {
        g.pod(|t| t.claim("sub", "system:serviceaccount:shop"))
    }),
    row("K8S-08 sub has five parts", "subject_invalid", CLIENT, |g| g.pod(|t| account(t, "shop", "api:x"))),
    row("K8S-08 sub is a number", "claims_invalid", CLIENT, |g| g.pod(|t| t.claim("sub", 7))),
    row("NOR-04 a namespace with a slash", "subject_invalid", CLIENT, |g| {
        g.pod(|t| account(t, "shop/sa/api/ns/x", "api"))
    }),
    row("NOR-04 a namespace with an escape", "subject_invalid", CLIENT, |g| g.pod(|t| account(t, "sh%6fp", "api"))),
    row("NOR-04 a namespace in upper case", "subject_invalid", CLIENT, |g| g.pod(|t| account(t, "Shop", "api"))),
    row("NOR-04 a namespace of two dots", "subject_invalid", CLIENT, |g| g.pod(|t| account(t, "..", "api"))),
    row("NOR-04 an empty namespace", "subject_invalid", CLIENT, |g| g.pod(|t| account(t, "", "api"))),
    row("NOR-04 a namespace of 64 characters", "subject_invalid", CLIENT, |g| {
        g.pod(|t| account(t, &"n".repeat(64), "api"))
    }),
    row("NOR-04 a namespace with a dot", "subject_invalid", CLIENT, |g| g.pod(|t| account(t, "shop.x", "api"))),
    row("NOR-04 a name with a slash", "subject_invalid", CLIENT, |g| g.pod(|t| account(t, "shop", "api/x"))),
    row("NOR-04 a name with an underscore", "subject_invalid", CLIENT, |g| g.pod(|t| account(t, "shop", "api_1"))),
    row("NOR-04 a name with a star", "subject_invalid", CLIENT, |g| g.pod(|t| account(t, "shop", "*"))),
    row("NOR-04 a name that begins with a hyphen", "subject_invalid", CLIENT, |g| {
        g.pod(|t| account(t, "shop", "-api"))
    }),
    row("NOR-04 a name with a letter that looks like another", "subject_invalid", CLIENT, |g| {
        g.pod(|t| account(t, "shop", "аpi"))
    }),
    row("NOR-04 a name of 254 characters", "subject_invalid", CLIENT, |g| {
        g.pod(|t| account(t, "shop", &format!("{}.{}", vec!["a".repeat(63); 3].join("."), "b".repeat(62))))
    }),
    row("NOR-04 K8S-11 a pod name with a new line", "subject_invalid", CLIENT, |g| {
        g.pod(|t| t.claim_at(&["kubernetes.io", "pod"], "name", "api-0\nx"))
    }),
    row("NOR-04 K8S-11 an empty node name", "subject_invalid", CLIENT, |g| {
        g.pod(|t| t.claim_at(&["kubernetes.io", "node"], "name", ""))
    }),
    row("K8S-09 NOR-01 the account of the other cluster has the same name", "not_granted", UNAUTHORIZED, |g| {
        g.minted("edge-2", &TokenAsk::new("shop", "billing", g.issuer()))
    }),
    row("K8S-10 an account of the same name with another uid", "not_granted", UNAUTHORIZED, |g| {
        let ask = TokenAsk::new("shop", "pinned", g.issuer());
        let forge = g.stage.cluster("eu1").forge(&ask).unwrap();
        g.pod_text(&forge.claim_at(&["kubernetes.io", "serviceaccount"], "uid", "another").sign().unwrap().token())
    }),
    row("K8S-10 an account of the same name without uid", "not_granted", UNAUTHORIZED, |g| {
        let ask = TokenAsk::new("shop", "pinned", g.issuer());
        let forge = g.stage.cluster("eu1").forge(&ask).unwrap();
        g.pod_text(&forge.without_claim_at(&["kubernetes.io", "serviceaccount"], "uid").sign().unwrap().token())
    }),
    row("K8S-12 the rule wants a node, and the token is bound to nothing", "not_granted", UNAUTHORIZED, |g| {
        g.minted("eu1", &TokenAsk::new("shop", "placed", g.issuer()).bound(Bound::Nothing))
    }),
    row("K8S-12 the rule wants a node, and the token is bound to a Secret", "not_granted", UNAUTHORIZED, |g| {
        g.minted("eu1", &TokenAsk::new("shop", "placed", g.issuer()).bound(Bound::Secret("node-1".to_owned())))
    }),
    row("K8S-12 K8S-11 the pod runs on another node", "not_granted", UNAUTHORIZED, |g| {
        let bound = Bound::Pod { name: "placed-9".to_owned(), node: "node-2".to_owned() };
        g.minted("eu1", &TokenAsk::new("shop", "placed", g.issuer()).bound(bound))
    }),
    row("NOR-03 another namespace", "not_granted", UNAUTHORIZED, |g| {
        g.minted("eu1", &TokenAsk::new("shop2", "api", g.issuer()))
    }),
    row("NOR-03 another account", "not_granted", UNAUTHORIZED, |g| {
        g.minted("eu1", &TokenAsk::new("shop", "worker", g.issuer()))
    }),
];
