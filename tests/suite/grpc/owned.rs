//! What becomes of a token: questions about it, its end, and another one on behalf of its subject.

use countersign::wire::grpc::v1;
use tonic::Code;

use super::{Call, Client, Told};
use crate::stage::{API, ORDERS, Stage};

async fn ask(grpc: &Client, svid: &str, token: &str) -> v1::IntrospectResponse {
    let credential = Some(v1::introspect_request::Credential::JwtSvid(svid.to_owned()));
    let asked = v1::IntrospectRequest { credential, token: token.to_owned() };
    grpc.0.clone().introspect(asked).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn int_03_and_rev_04_a_token_is_active_for_its_subject_until_it_is_revoked() {
    let stage = Stage::standard().await;
    let grpc = Client::of(&stage.issuer);
    let svid = stage.svid();
    let token = grpc.exchange(&Call::svid(&svid)).await.unwrap().access_token;
    let told = ask(&grpc, &svid, &token).await;
    assert!(told.active);
    assert_eq!((told.sub.as_str(), told.aud.as_str(), told.iss.as_str()), (API, ORDERS, stage.issuer.as_str()));
    assert_eq!(
        (told.scopes.as_slice(), told.token_type.as_str()),
        (&["read".to_owned(), "write".to_owned()][..], "Bearer")
    );
    let claims = told.claims.unwrap().fields;
    assert!(claims.contains_key("source") && claims.contains_key("kind") && told.act.is_none() && told.cnf.is_none());
    let nothing = v1::IntrospectResponse::default();
    for other in ["x", &svid, &format!("{token}x")] {
        assert_eq!(ask(&grpc, &svid, other).await, nothing);
    }
    // A pod of another identity hears nothing of it, and cannot end it.
    let pod = stage.pod_token("eu1");
    let credential = Some(v1::introspect_request::Credential::FederatedJwt(pod.clone()));
    let asked = v1::IntrospectRequest { credential, token: token.clone() };
    assert_eq!(grpc.0.clone().introspect(asked).await.unwrap().into_inner(), nothing);
    let credential = Some(v1::revoke_request::Credential::FederatedJwt(pod));
    let ended = v1::RevokeRequest { credential, token: token.clone() };
    let refused = grpc.0.clone().revoke(ended).await.unwrap_err();
    assert_eq!((refused.code(), Told::of(&refused).unwrap().reason.as_str()), (Code::PermissionDenied, "NOT_GRANTED"));
    assert!(ask(&grpc, &svid, &token).await.active);

    let credential = Some(v1::revoke_request::Credential::JwtSvid(svid.clone()));
    grpc.0.clone().revoke(v1::RevokeRequest { credential, token: token.clone() }).await.unwrap();
    assert_eq!(ask(&grpc, &svid, &token).await, nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_01_nobody_asks_without_a_credential() {
    let stage = Stage::standard().await;
    let grpc = Client::of(&stage.issuer);
    let asked = v1::IntrospectRequest { credential: None, token: "x".to_owned() };
    let refused = grpc.0.clone().introspect(asked).await.unwrap_err();
    assert_eq!(
        (refused.code(), Told::of(&refused).unwrap().reason.as_str()),
        (Code::Unauthenticated, "CREDENTIAL_MISSING")
    );
    let credential = Some(v1::introspect_request::Credential::JwtSvid(stage.svid()));
    let refused =
        grpc.0.clone().introspect(v1::IntrospectRequest { credential, token: String::new() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
