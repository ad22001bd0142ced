//! Kubernetes service-account tokens that are right.

use countersign::clock::Lifetime;
use countersign::jose::Algorithm;
use countersign::world::cluster::{Bound, TokenAsk};
use serde_json::json;

use super::house::{House, SECOND_ISSUER, signed, signed_by};
use super::row::{Gets, POD, Request, Row, VAULT};

fn by(house: &House, algorithm: Algorithm) -> String {
    signed_by(house.pod(), &house.eu1[&algorithm])
}

fn bound(house: &House, bound: Bound) -> String {
    let ask = TokenAsk::new("shop", "api", &house.stage.issuer).bound(bound);
    house.stage.cluster("eu1").mint(&ask).unwrap()
}

/// The pod that a rule names.
fn keeper(house: &House) -> String {
    house.stage.cluster("eu1").mint(&TokenAsk::new("shop", "keeper", &house.stage.issuer)).unwrap()
}

const KEEPER: Row = Row {
    credential: keeper,
    request: Request { ask: &[("resource", "urn:example:vault")], ..POD.request },
    gets: Gets {
        sub: || "spiffe://id.example/k8s/eu1/ns/shop/sa/keeper".to_owned(),
        flat: &[("cluster", "eu1"), ("namespace", "shop"), ("service_account", "keeper")],
        target: VAULT,
        scope: "open",
        client_id: Some("old-keeper"),
        life: 60,
        rule: "one pod opens the vault",
        ..POD.gets
    },
    ..POD
};

pub const ROWS: &[Row] = &[
    Row { name: "K8S-01 RS256", credential: |house| by(house, Algorithm::RS256), ..POD },
    Row { name: "K8S-01 ES256", credential: |house| by(house, Algorithm::ES256), ..POD },
    Row { name: "K8S-01 ES384", credential: |house| by(house, Algorithm::ES384), ..POD },
    Row { name: "K8S-01 ES512", credential: |house| by(house, Algorithm::ES512), ..POD },
    Row {
        name: "JSV-04 K8S-09 no kid, and one key of all clusters with that issuer fits",
        credential: |house| {
            let key = &house.eu1[&Algorithm::ES384];
            signed(&house.pod().header("alg", "ES384").without_header("kid").key(key))
        },
        ..POD
    },
    Row {
        name: "K8S-02 JWK-08 odd keys in the set of the cluster",
        credential: |house| {
            let text = house.stage.cluster("eu1").jwks().to_string();
            assert!(text.contains("ML-DSA") && text.contains("without-coordinates"), "the world changed: {text}");
            house.stage.pod_token("eu1")
        },
        ..POD
    },
    Row {
        name: "CA-13 K8S-01 no typ, as Kubernetes writes it",
        credential: |house| signed(&house.pod().without_header("typ")),
        ..POD
    },
    Row { name: "CA-13 typ JWT", credential: |house| signed(&house.pod().header("typ", "JWT")), ..POD },
    Row {
        name: "CA-13 JOSE-12 typ application/jwt",
        credential: |house| signed(&house.pod().header("typ", "application/jwt")),
        ..POD
    },
    Row {
        name: "CA-13 typ client-authentication+jwt",
        credential: |house| signed(&house.pod().header("typ", "client-authentication+jwt")),
        ..POD
    },
    Row {
        name: "CA-13 JOSE-12 typ application/Client-Authentication+JWT",
        credential: |house| signed(&house.pod().header("typ", "application/Client-Authentication+JWT")),
        ..POD
    },
    Row {
        name: "CA-06 JOSE-13 aud as a string in a Kubernetes token",
        credential: |house| signed(&house.pod().claim("aud", house.stage.issuer.as_str())),
        ..POD
    },
    Row {
        name: "CA-06 K8S-04 JOSE-13 aud as an array of one in a Kubernetes token",
        credential: |house| signed(&house.pod().claim("aud", json!([house.stage.issuer]))),
        ..POD
    },
    Row {
        name: "K8S-03 the second issuer of a cluster",
        credential: |house| signed(&house.pod().claim("iss", SECOND_ISSUER)),
        ..POD
    },
    Row {
        name: "K8S-09 NOR-01 the other cluster with the same issuer is another identity",
        credential: |house| house.stage.pod_token("edge-2"),
        gets: Gets {
            source: "edge-2",
            sub: || "spiffe://id.example/k8s/edge-2/ns/shop/sa/api".to_owned(),
            flat: &[("cluster", "edge-2"), ("namespace", "shop"), ("service_account", "api")],
            ..POD.gets
        },
        ..POD
    },
    Row {
        name: "K8S-11 a pod without its node, as before Kubernetes 1.30",
        credential: |house| signed(&house.pod().without_claim_at(&["kubernetes.io"], "node")),
        ..POD
    },
    Row {
        name: "K8S-11 without jti, as before Kubernetes 1.30",
        credential: |house| signed(&house.pod().without_claim("jti")),
        ..POD
    },
    Row { name: "K8S-11 bound to no object", credential: |house| bound(house, Bound::Nothing), ..POD },
    Row {
        name: "K8S-11 bound to a Secret",
        credential: |house| bound(house, Bound::Secret("api-secret".to_owned())),
        ..POD
    },
    Row { name: "K8S-11 bound to a node", credential: |house| bound(house, Bound::Node("node-1".to_owned())), ..POD },
    Row {
        name: "K8S-11 NOR-08 unknown members of kubernetes.io and unknown claims",
        credential: |house| {
            let forge = house.pod().claim_at(&["kubernetes.io"], "future", json!([1])).claim("groups", json!(["root"]));
            signed(&forge.claim_at(&["kubernetes.io", "pod"], "priority", 7))
        },
        ..POD
    },
    Row {
        name: "K8S-07 warnafter ahead: it is the end of a token stretched to a year",
        credential: |house| {
            let forge = house.pod().claim("exp", house.in_seconds(365 * 86_400));
            signed(&forge.claim_at(&["kubernetes.io"], "warnafter", house.in_seconds(120)))
        },
        gets: Gets { life: 120, ..POD.gets },
        ..POD
    },
    Row {
        name: "K8S-07 warnafter after exp: exp is the end",
        credential: |house| {
            let forge = house.pod().claim("exp", house.in_seconds(90));
            signed(&forge.claim_at(&["kubernetes.io"], "warnafter", house.in_seconds(120)))
        },
        gets: Gets { life: 90, ..POD.gets },
        ..POD
    },
    Row {
        name: "K8S-04 AT-12 the shortest token that the API server gives, near its end",
        credential: |house| {
            let ask = TokenAsk::new("shop", "api", &house.stage.issuer).lifetime(Lifetime::from_minutes(10));
            let forge = house.stage.cluster("eu1").forge(&ask).unwrap();
            let old = house.in_seconds(-585);
            signed(&forge.claim("iat", old).claim("nbf", old).claim("exp", house.in_seconds(15)))
        },
        gets: Gets { life: 15, ..POD.gets },
        ..POD
    },
    Row {
        name: "NOR-04 K8S-08 a service account with a dot in its name",
        credential: |house| {
            house.stage.cluster("eu1").mint(&TokenAsk::new("shop", "api.v2", &house.stage.issuer)).unwrap()
        },
        gets: Gets {
            sub: || "spiffe://id.example/k8s/eu1/ns/shop/sa/api.v2".to_owned(),
            flat: &[("cluster", "eu1"), ("namespace", "shop"), ("service_account", "api.v2")],
            ..POD.gets
        },
        ..POD
    },
    Row { name: "CA-11 a projected token, twice", times: 2, ..POD },
    Row { name: "K8S-10 K8S-11 a rule that names pod and node", ..KEEPER },
    Row {
        name: "K8S-23 CA-04 client_id is the mapped identity, though there is an alias",
        request: Request {
            ask: &[("resource", "urn:example:vault"), ("client_id", "spiffe://id.example/k8s/eu1/ns/shop/sa/keeper")],
            ..POD.request
        },
        gets: Gets { client_id: None, ..KEEPER.gets },
        ..KEEPER
    },
    Row {
        name: "K8S-23 CA-04 client_id is an alias",
        request: Request { ask: &[("resource", "urn:example:vault"), ("client_id", "old-keeper")], ..POD.request },
        ..KEEPER
    },
];
