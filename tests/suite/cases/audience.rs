//! For whom a credential was made: our issuer alone, byte for byte (CA-06, SCA-04, K8S-04).

use serde_json::json;

use super::ground::Ground;
use super::run::{CLIENT, Row, refuse, row};

#[tokio::test(flavor = "multi_thread")]
async fn audiences() {
    refuse(&Ground::new().await, ROWS).await;
}

const ROWS: &[Row] = &[
    row("CA-06 JSV-07 BCJ-06 made for somebody else", "audience_mismatch", CLIENT, |g| {
        g.svid(|t| t.claim("aud", "https://other.example"))
    }),
    row("CA-06 made for the token endpoint", "audience_mismatch", CLIENT, |g| {
        let url = format!("{}/token", g.issuer());
        g.svid(|t| t.claim("aud", url))
    }),
    row("CA-06 SCA-04 JSV-15 ours and another", "audience_mismatch", CLIENT, |g| {
        let aud = json!([g.issuer(), "x"]);
        g.svid(|t| t.claim("aud", aud))
    }),
    row("CA-06 another and ours", "audience_mismatch", CLIENT, |g| {
        let aud = json!(["x", g.issuer()]);
        g.svid(|t| t.claim("aud", aud))
    }),
    row("CA-06 ours twice", "audience_mismatch", CLIENT, |g| {
        let aud = json!([g.issuer(), g.issuer()]);
        g.svid(|t| t.claim("aud", aud))
    }),
    row("CA-06 ours with a slash", "audience_near_miss", CLIENT, |g| {
        let aud = format!("{}/", g.issuer());
        g.svid(|t| t.claim("aud", aud))
    }),
    row("CA-06 ours in upper case", "audience_near_miss", CLIENT, |g| {
        let aud = g.issuer().replace("http", "HTTP");
        g.svid(|t| t.claim("aud", aud))
    }),
    row("CA-06 ours with another scheme", "audience_near_miss", CLIENT, |g| {
        let aud = g.issuer().replace("http", "https");
        g.svid(|t| t.claim("aud", aud))
    }),
    row("CA-06 ours and white space", "audience_near_miss", CLIENT, |g| {
        let aud = format!("{} ", g.issuer());
        g.svid(|t| t.claim("aud", aud))
    }),
    row("CA-06 ours and an invisible character", "audience_near_miss", CLIENT, |g| {
        let aud = format!("{}\u{200b}", g.issuer());
        g.svid(|t| t.claim("aud", aud))
    }),
    row("CA-06 ours as the start of another", "audience_mismatch", CLIENT, |g| {
        let aud = format!("{}.evil.example", g.issuer());
        g.svid(|t| t.claim("aud", aud))
    }),
    row("CA-06 the host alone", "audience_near_miss", CLIENT, |g| {
        let aud = g.issuer().replace("http://", "");
        g.svid(|t| t.claim("aud", aud))
    }),
    row("CA-06 an empty text", "audience_mismatch", CLIENT, |g| g.svid(|t| t.claim("aud", ""))),
    row("CA-06 JSV-07 SCA-03 no aud", "claims_invalid", CLIENT, |g| g.svid(|t| t.without_claim("aud"))),
    row("CA-06 JSV-07 JOSE-13 an empty list", "claims_invalid", CLIENT, |g| g.svid(|t| t.claim("aud", json!([])))),
    row("CA-06 JOSE-13 a number", "claims_invalid", CLIENT, |g| g.svid(|t| t.claim("aud", 7))),
    row("CA-06 JOSE-13 an object", "claims_invalid", CLIENT, |g| {
        let aud = json!({ "0": g.issuer() });
        g.svid(|t| t.claim("aud", aud))
    }),
    row("JOSE-13 a list in a list", "claims_invalid", CLIENT, |g| {
        let aud = json!([[g.issuer()]]);
        g.svid(|t| t.claim("aud", aud))
    }),
    row("JOSE-13 null", "claims_invalid", CLIENT, |g| g.svid(|t| t.claim("aud", json!(null)))),
    row("JOSE-13 a list with a number in it", "claims_invalid", CLIENT, |g| {
        let aud = json!([g.issuer(), 7]);
        g.svid(|t| t.claim("aud", aud))
    }),
    row("K8S-04 BCJ-06 a pod token for somebody else", "audience_mismatch", CLIENT, |g| {
        g.pod(|t| t.claim("aud", json!(["https://other.example"])))
    }),
    row("K8S-04 a pod token for us and another", "audience_mismatch", CLIENT, |g| {
        let aud = json!([g.issuer(), "https://other.example"]);
        g.pod(|t| t.claim("aud", aud))
    }),
    row("K8S-05 a pod token for the API server", "audience_mismatch", CLIENT, |g| {
        g.minted("eu1", &countersign::world::cluster::TokenAsk::new("shop", "api", "").audiences(&[]))
    }),
    row("K8S-05 a pod token for us and the API server", "audience_mismatch", CLIENT, |g| {
        let aud = json!([g.issuer(), "https://kubernetes.default.svc.cluster.local"]);
        g.pod(|t| t.claim("aud", aud))
    }),
    row("AT-14 a pod token for a resource of ours", "audience_mismatch", CLIENT, |g| {
        g.pod(|t| t.claim("aud", json!(["https://orders.example"])))
    }),
];
