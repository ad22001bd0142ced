//! The parameters of a client assertion (RFC 7521, RFC 7523) and the client that they name.

use super::ground::Ground;
use super::run::{CLIENT, Row, refuse, row};
use crate::stage::{API, JWT_BEARER, JWT_SPIFFE};

#[tokio::test(flavor = "multi_thread")]
async fn assertion_parameters() {
    refuse(&Ground::new().await, ROWS).await;
}

const ROWS: &[Row] = &[
    row("CA-01 the type without the assertion", "credential_missing", CLIENT, |g| g.good().without("client_assertion")),
    row("CA-01 the assertion without the type", "assertion_type_unsupported", CLIENT, |g| {
        g.good().without("client_assertion_type")
    }),
    row("CA-02 an unknown type", "assertion_type_unsupported", CLIENT, |g| {
        g.good().set("client_assertion_type", "urn:x")
    }),
    row("CA-02 SCA-01 the type in upper case", "assertion_type_unsupported", CLIENT, |g| {
        g.good().set("client_assertion_type", &JWT_SPIFFE.to_uppercase())
    }),
    row("CA-02 SCA-01 jwt-svid instead of jwt-spiffe", "assertion_type_unsupported", CLIENT, |g| {
        g.good().set("client_assertion_type", &JWT_SPIFFE.replace("jwt-spiffe", "jwt-svid"))
    }),
    row("CA-02 SCA-01 the stray = of the draft's example", "assertion_type_unsupported", CLIENT, |g| {
        g.good().set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type=jwt-spiffe")
    }),
    row("CA-02 white space before the type", "assertion_type_unsupported", CLIENT, |g| {
        g.good().set("client_assertion_type", &format!(" {JWT_SPIFFE}"))
    }),
    row("CA-02 the name of the grant as type", "assertion_type_unsupported", CLIENT, |g| {
        g.good_pod().set("client_assertion_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
    }),
    row("CA-21 a SAML assertion", "assertion_type_unsupported", CLIENT, |g| {
        let typed = g.good().set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer");
        typed.set("client_assertion", "PHNhbWwvPg")
    }),
    row("CA-03 two JWTs with a space between", "credential_malformed", CLIENT, |g| {
        let svid = g.stage.svid();
        g.svid_text(&format!("{svid} {svid}"))
    }),
    row("CA-03 two JWTs with a comma between", "credential_malformed", CLIENT, |g| {
        let svid = g.stage.svid();
        g.svid_text(&format!("{svid},{svid}"))
    }),
    row("CA-03 two JWTs with a new line between", "credential_malformed", CLIENT, |g| {
        let svid = g.stage.svid();
        g.svid_text(&format!("{svid}\n{svid}"))
    }),
    row("CA-03 a JWT in an array", "credential_malformed", CLIENT, |g| {
        g.svid_text(&format!("[\"{}\"]", g.stage.svid()))
    }),
    row("CA-03 a new line behind the JWT", "credential_malformed", CLIENT, |g| {
        g.svid_text(&format!("{}\n", g.stage.svid()))
    }),
    row("CA-03 a JWT in quotes", "credential_malformed", CLIENT, |g| g.svid_text(&format!("\"{}\"", g.stage.svid()))),
    row("CA-04 client_id of another workload", "client_id_mismatch", CLIENT, |g| {
        g.good().with("client_id", "spiffe://prod.example/ns/shop/sa/worker")
    }),
    row("CA-04 SCA-16 client_id is a URL, and nobody calls it", "client_id_mismatch", CLIENT, |g| {
        g.good().with("client_id", &g.trap_url())
    }),
    row("CA-04 SCA-07 client_id in another case", "client_id_mismatch", CLIENT, |g| {
        g.good().with("client_id", &API.replace("api", "API"))
    }),
    row("CA-04 client_id with a slash behind it", "client_id_mismatch", CLIENT, |g| {
        g.good().with("client_id", &format!("{API}/"))
    }),
    row("CA-04 client_id is a prefix", "client_id_mismatch", CLIENT, |g| {
        g.good().with("client_id", "spiffe://prod.example/ns/shop")
    }),
    row("CA-04 an alias of somebody else", "client_id_mismatch", CLIENT, |g| {
        g.good_pod().with("client_id", "shop-api")
    }),
    row("CA-04 the Kubernetes name is no client_id", "client_id_mismatch", CLIENT, |g| {
        g.good_pod().with("client_id", "system:serviceaccount:shop:api")
    }),
    row("CA-05 a federated token without iss", "source_unknown", CLIENT, |g| g.pod(|t| t.without_claim("iss"))),
    row("CA-05 a federated token without sub", "claims_invalid", CLIENT, |g| g.pod(|t| t.without_claim("sub"))),
    row("CA-05 a federated token without aud", "claims_invalid", CLIENT, |g| g.pod(|t| t.without_claim("aud"))),
    row("CA-05 a federated token without exp", "token_legacy", CLIENT, |g| g.pod(|t| t.without_claim("exp"))),
    row("CA-05 iss is a list", "source_unknown", CLIENT, |g| {
        g.pod(|t| t.claim("iss", serde_json::json!(["https://kubernetes.default.svc.cluster.local"])))
    }),
    row("CA-19 K8S-03 iss with a slash behind it", "source_unknown", CLIENT, |g| {
        g.pod(|t| t.claim("iss", "https://kubernetes.default.svc.cluster.local/"))
    }),
    row("CA-19 K8S-03 iss in another case", "source_unknown", CLIENT, |g| {
        g.pod(|t| t.claim("iss", "https://Kubernetes.default.svc.cluster.local"))
    }),
    row("CA-19 K8S-03 an issuer that is not configured", "source_unknown", CLIENT, |g| {
        g.pod(|t| t.claim("iss", "https://elsewhere.example"))
    }),
    row("SCA-26 BCJ-07 iss is a URL, and nobody calls it", "source_unknown", CLIENT, |g| {
        let url = g.trap_url();
        g.pod(|t| t.claim("iss", url))
    }),
    row("BCJ-04 iss of one cluster, key of another with the same name", "signature_invalid", CLIENT, |g| {
        g.keyring(&super::keyring::es256("strict"), |t| t.header("kid", "fit"))
    }),
    row("BCJ-05 a cluster names a SPIFFE ID", "subject_invalid", CLIENT, |g| g.pod(|t| t.claim("sub", API))),
    row("SCA-27 a cluster's token with a SPIFFE sub is no SVID", "key_unknown", CLIENT, |g| {
        g.pod(|t| t.claim("sub", API)).set("client_assertion_type", JWT_SPIFFE)
    }),
    row("K8S-23 a pod token as JWT-SVID", "subject_invalid", CLIENT, |g| {
        g.good_pod().set("client_assertion_type", JWT_SPIFFE)
    }),
    row("K8S-23 a JWT-SVID as federated token", "source_unknown", CLIENT, |g| {
        g.good().set("client_assertion_type", JWT_BEARER)
    }),
    row("AUD-06 a sub of controls and quotes", "subject_invalid", CLIENT, |g| {
        g.svid(|t| t.claim("sub", "spiffe://prod.example/\n{\"outcome\":\"allow\"}\u{2028}"))
    }),
    row("AUD-06 an iss of controls and quotes", "source_unknown", CLIENT, |g| {
        g.pod(|t| t.claim("iss", "x\n{\"outcome\":\"allow\"}\r\u{1b}[31m"))
    }),
];
