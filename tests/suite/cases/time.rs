//! When a credential is valid, to the second, by a clock that stands still.

use serde_json::json;

use super::ground::Ground;
use super::keyring::es256;
use super::run::{CLIENT, Row, refuse, row};

#[tokio::test(flavor = "multi_thread")]
async fn times() {
    refuse(&Ground::new().await, ROWS).await;
}

const DAY: i64 = 24 * 3600;

const ROWS: &[Row] = &[
    row("CA-08 JSV-08 JOSE-15 exp is now", "token_expired", CLIENT, |g| g.svid(|t| t.claim("exp", g.now().seconds()))),
    row("CA-08 JSV-09 exp was a second ago: there is no leeway", "token_expired", CLIENT, |g| {
        g.svid(|t| t.claim("exp", g.now().seconds() - 1))
    }),
    row("CA-08 SCA-03 exp was an hour ago", "token_expired", CLIENT, |g| {
        g.svid(|t| t.claim("exp", g.now().seconds() - 3600))
    }),
    row("CA-08 JSV-08 nine seconds to live", "token_expired", CLIENT, |g| {
        g.svid(|t| t.claim("exp", g.now().seconds() + 9))
    }),
    row("CA-08 JOSE-14 a fraction under ten seconds to live", "token_expired", CLIENT, |g| {
        g.svid(|t| t.claim("exp", json!(g.now().seconds() as f64 + 9.999)))
    }),
    row("CA-08 JSV-08 no exp", "claims_invalid", CLIENT, |g| g.svid(|t| t.without_claim("exp"))),
    row("CA-08 JOSE-14 exp is text", "claims_invalid", CLIENT, |g| {
        g.svid(|t| t.claim("exp", (g.now().seconds() + 300).to_string()))
    }),
    row("JOSE-14 exp is true", "claims_invalid", CLIENT, |g| g.svid(|t| t.claim("exp", true))),
    row("JOSE-14 exp is null", "claims_invalid", CLIENT, |g| g.svid(|t| t.claim("exp", json!(null)))),
    row("JOSE-14 exp is negative", "claims_invalid", CLIENT, |g| g.svid(|t| t.claim("exp", -1))),
    row("JOSE-14 exp is 0", "token_expired", CLIENT, |g| g.svid(|t| t.claim("exp", 0))),
    row("JOSE-14 CA-09 exp is 9e18", "token_lifetime", CLIENT, |g| g.svid(|t| t.claim("exp", json!(9e18)))),
    row("JOSE-14 CA-09 exp is 1e300", "token_lifetime", CLIENT, |g| g.svid(|t| t.claim("exp", json!(1e300)))),
    row("JOSE-14 exp is 2 to the 64th", "token_lifetime", CLIENT, |g| g.svid(|t| t.claim("exp", u64::MAX))),
    row("CA-09 JSV-16 a life of a day and a second", "token_lifetime", CLIENT, |g| {
        g.svid(|t| t.claim("exp", g.now().seconds() + DAY + 1))
    }),
    row("CA-09 JSV-16 ten years", "token_lifetime", CLIENT, |g| {
        g.svid(|t| t.claim("exp", g.now().seconds() + 3650 * DAY))
    }),
    row("JSV-16 ten years, and no iat", "token_lifetime", CLIENT, |g| {
        g.svid(|t| t.claim("exp", g.now().seconds() + 3650 * DAY).without_claim("iat"))
    }),
    row("CA-10 JSV-16 issued a day and a second ago", "token_too_old", CLIENT, |g| {
        g.svid(|t| t.claim("iat", g.now().seconds() - DAY - 1))
    }),
    row("CA-10 issued in 1970", "token_too_old", CLIENT, |g| g.svid(|t| t.claim("iat", 0))),
    row("JSV-16 a long life, most of it over", "token_lifetime", CLIENT, |g| {
        g.svid(|t| t.claim("iat", g.now().seconds() - DAY + 60).claim("exp", g.now().seconds() + 61))
    }),
    row("CA-10 JSV-09 nbf is 31 s ahead", "token_not_yet_valid", CLIENT, |g| {
        g.svid(|t| t.claim("nbf", g.now().seconds() + 31))
    }),
    row("CA-10 nbf is an hour ahead", "token_not_yet_valid", CLIENT, |g| {
        g.svid(|t| t.claim("nbf", g.now().seconds() + 3600))
    }),
    row("JSV-14 JSV-09 iat is 31 s ahead", "token_not_yet_valid", CLIENT, |g| {
        g.svid(|t| t.claim("iat", g.now().seconds() + 31))
    }),
    row("JOSE-14 nbf is text", "claims_invalid", CLIENT, |g| g.svid(|t| t.claim("nbf", g.now().seconds().to_string()))),
    row("JOSE-14 iat is a list", "claims_invalid", CLIENT, |g| g.svid(|t| t.claim("iat", json!([g.now().seconds()])))),
    row("JOSE-14 nbf is 1e300", "token_not_yet_valid", CLIENT, |g| g.svid(|t| t.claim("nbf", json!(1e300)))),
    row("JOSE-14 iat is negative", "claims_invalid", CLIENT, |g| g.svid(|t| t.claim("iat", -5))),
    row("K8S-06 a pod token past its end", "token_expired", CLIENT, |g| g.pod(|t| t.claim("exp", g.now().seconds()))),
    row("K8S-06 a pod token before its beginning", "token_not_yet_valid", CLIENT, |g| {
        g.pod(|t| t.claim("nbf", g.now().seconds() + 31))
    }),
    row("K8S-06 a pod token of the future", "token_not_yet_valid", CLIENT, |g| {
        g.pod(|t| t.claim("iat", g.now().seconds() + 31))
    }),
    row("K8S-06 a pod token for a year", "token_lifetime", CLIENT, |g| {
        g.pod(|t| t.claim("exp", g.now().seconds() + 365 * DAY))
    }),
    row("K8S-07 a stretched token, used past warnafter", "token_expired", CLIENT, |g| {
        g.pod(|t| {
            t.claim_at(&["kubernetes.io"], "warnafter", g.now().seconds()).claim("exp", g.now().seconds() + 365 * DAY)
        })
    }),
    row("K8S-07 warnafter comes before exp and is near", "token_expired", CLIENT, |g| {
        g.pod(|t| t.claim_at(&["kubernetes.io"], "warnafter", g.now().seconds() + 9))
    }),
    row("K8S-07 warnafter is text", "claims_invalid", CLIENT, |g| {
        g.pod(|t| t.claim_at(&["kubernetes.io"], "warnafter", "later"))
    }),
    row("K8S-07 warnafter is negative", "claims_invalid", CLIENT, |g| {
        g.pod(|t| t.claim_at(&["kubernetes.io"], "warnafter", -1))
    }),
    row("CA-10 the age counts where a longer life is taken", "token_too_old", CLIENT, |g| {
        g.keyring(&es256("fit"), |t| t.claim("iat", g.now().seconds() - DAY - 1))
    }),
];
