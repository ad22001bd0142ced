//! `POST /revoke` (RFC 7009).

use countersign::clock::Lifetime;
use countersign::wire::grpc::v1;

use super::{ask, is_active, served, token};
use crate::grpc::{Client, Told};
use crate::stage::{Answer, JWT_BEARER, JWT_SPIFFE, Stage, encode};

/// A revocation by the standard workload, with further parameters.
async fn revoke_with(stage: &Stage, token: &str, more: &[(&str, &str)]) -> Answer {
    let svid = stage.svid();
    let mut form = vec![("client_assertion_type", JWT_SPIFFE), ("client_assertion", &svid), ("token", token)];
    form.extend(more);
    stage.post("/revoke", &encode(&form), &[]).await
}

async fn revoke(stage: &Stage, token: &str) -> Answer {
    revoke_with(stage, token, &[]).await
}

fn is_done(answer: &Answer) {
    assert_eq!((answer.status, answer.text.as_str()), (200, ""), "RFC 7009 §2.2");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_01_the_caller_authenticates_as_at_the_token_endpoint() {
    let stage = served().await;
    let ours = token(&stage.exchange_svid(&stage.svid()).await);
    let svid = stage.svid();
    let spiffe = [("client_assertion_type", JWT_SPIFFE), ("client_assertion", svid.as_str())];
    let (with_token, forged) = ([("token", ours.as_str())], format!("{}A", svid.rsplit_once('.').unwrap().0));
    let anonymous = stage.post("/revoke", &encode(&with_token), &[]).await;
    let unsigned = [("client_assertion_type", JWT_SPIFFE), ("client_assertion", &forged), ("token", &ours)];
    let unsigned = stage.post("/revoke", &encode(&unsigned), &[]).await;
    let header = [("authorization", "Basic Og==")];
    let with_header = stage.post("/revoke", &encode(&with_token), &header).await;
    let twice = stage.post("/revoke", &encode(&[spiffe[0], spiffe[1], with_token[0]]), &header).await;
    let none = stage.post("/revoke", &encode(&spiffe), &[]).await;
    for (answer, status, error, reason) in [
        (&anonymous, 400, "invalid_client", "credential_missing"),
        (&unsigned, 400, "invalid_client", "credential_malformed"),
        (&with_header, 401, "invalid_client", "assertion_type_unsupported"),
        (&twice, 400, "invalid_request", "credential_ambiguous"),
        (&none, 400, "invalid_request", "malformed_request"),
    ] {
        assert_eq!((answer.status, answer.error()), (status, error), "{}", answer.text);
        assert_eq!(stage.reason(answer).await, reason);
    }
    assert_eq!(stage.request("GET", "/revoke", &[]).await.status, 405, "a POST alone");
    assert!(is_active(&stage, &ours).await, "nothing of that revoked it");
    is_done(&revoke(&stage, &ours).await);
    assert!(!is_active(&stage, &ours).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_02_an_unknown_token_is_as_good_as_revoked() {
    let stage = served().await;
    let ours = token(&stage.exchange_svid(&stage.svid()).await);
    let (signed, _) = ours.rsplit_once('.').unwrap();
    let (forged, svid) = (format!("{signed}.{}", "A".repeat(86)), stage.svid());
    for unknown in ["random", "a.b.c", &forged, &svid, &"x".repeat(3000)] {
        is_done(&revoke(&stage, unknown).await);
    }
    assert!(is_active(&stage, &ours).await, "a forged copy revokes nothing");
    stage.advance(Lifetime::from_minutes(6)).await;
    is_done(&revoke(&stage, &ours).await);
    assert_eq!(ask(&stage, None).await.body["tokens"], 0, "what has ended needs no entry");
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_03_what_is_anothers_stays_valid() {
    let stage = served().await;
    let (ours, pods) = (stage.exchange_svid(&stage.svid()).await, stage.exchange_pod(&stage.pod_token("eu1")).await);
    let (ours, pods) = (token(&ours), token(&pods));
    let refused = revoke(&stage, &pods).await;
    assert_eq!((refused.status, refused.error()), (400, "unauthorized_client"), "{}", refused.text);
    assert_eq!(stage.reason(&refused).await, "not_granted");
    assert!(is_active(&stage, &pods).await && is_active(&stage, &ours).await);
    // Its owner may.
    let pod = stage.pod_token("eu1");
    let form = [("client_assertion_type", JWT_BEARER), ("client_assertion", &pod), ("token", &pods)];
    is_done(&stage.post("/revoke", &encode(&form), &[]).await);
    assert!(!is_active(&stage, &pods).await && is_active(&stage, &ours).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_04_rev_05_rev_06_one_token_is_revoked_at_once_whatever_the_hint() {
    let stage = served().await;
    let svid = stage.svid();
    for hint in [&[][..], &[("token_type_hint", "refresh_token")], &[("token_type_hint", "nonsense")]] {
        let (one, other) = (token(&stage.exchange_svid(&svid).await), token(&stage.exchange_svid(&svid).await));
        is_done(&revoke_with(&stage, &one, hint).await);
        assert!(!is_active(&stage, &one).await && is_active(&stage, &other).await, "{hint:?}");
        is_done(&revoke_with(&stage, &one, hint).await);
    }
    let records = stage.written();
    let made: Vec<_> = records.iter().filter(|record| !record["revocation"].is_null()).collect();
    assert_eq!(made.len(), 6);
    for record in made {
        assert_eq!((&record["outcome"], &record["grant_type"]), (&"allow".into(), &"revocation".into()));
        assert_eq!(record["revocation"]["by"], record["id"], "{record}");
    }
    assert!(!stage.exchange_svid(&svid).await.text.is_empty(), "its owner can have another");
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_07_rev_09_the_endpoint_is_published_and_entries_leave_with_their_token() {
    let mut stage = served().await;
    let metadata = stage.request("GET", "/.well-known/oauth-authorization-server", &[]).await;
    assert_eq!(metadata.body["revocation_endpoint"], format!("{}/revoke", stage.issuer));
    let ours = token(&stage.exchange_svid(&stage.svid()).await);
    is_done(&revoke(&stage, &ours).await);
    for _ in 0..2 {
        stage.restart().await;
        stage.keys_known().await;
        assert!(!is_active(&stage, &ours).await, "over a restart");
    }
    assert_eq!(ask(&stage, None).await.body["tokens"], 1);
    stage.advance(Lifetime::from_hours(2)).await;
    for _ in 0..1000 {
        if ask(&stage, None).await.body["tokens"] == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the entry did not leave");
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_03_rev_04_grpc_revokes_by_the_same_rules() {
    let stage = served().await;
    let client = Client::of(&stage.issuer);
    let (ours, pods) = (stage.exchange_svid(&stage.svid()).await, stage.exchange_pod(&stage.pod_token("eu1")).await);
    let (ours, pods) = (token(&ours), token(&pods));
    let revoke = async |credential: Option<&str>, token: &str| {
        let credential = credential.map(|svid| v1::revoke_request::Credential::JwtSvid(svid.to_owned()));
        client.0.clone().revoke(v1::RevokeRequest { credential, token: token.to_owned() }).await
    };
    let svid = stage.svid();
    for (credential, token, reason) in [
        (None, ours.as_str(), "CREDENTIAL_MISSING"),
        (Some(svid.as_str()), "", "MALFORMED_REQUEST"),
        (Some(svid.as_str()), pods.as_str(), "NOT_GRANTED"),
    ] {
        let status = revoke(credential, token).await.unwrap_err();
        assert_eq!(Told::of(&status).unwrap().reason, reason, "{status:?}");
    }
    assert!(is_active(&stage, &ours).await && is_active(&stage, &pods).await);
    for token in ["random", &ours, &ours] {
        revoke(Some(&svid), token).await.unwrap();
    }
    assert!(!is_active(&stage, &ours).await && is_active(&stage, &pods).await);
}
