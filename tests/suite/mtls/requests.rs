//! What a request must say beside the certificate of its connection, and what it says of itself in metadata.

use base64ct::{Base64, Encoding};
use countersign::clock::{Clock, Lifetime};
use countersign::wire::grpc::v1;
use serde_json::json;

use super::ground::{Ground, PARTNER, alone, ask};
use crate::grpc::Told;
use crate::stage::{API, JWT_SPIFFE, ORDERS, Stage, part};

#[tokio::test(flavor = "multi_thread")]
async fn sca_08_mtl_01_mtl_02_client_id_is_the_spiffe_id() {
    let ground = Ground::new().await;
    let mut connection = ground.connect(Some(ground.good())).await;
    let answer = connection.token(&[("resource", ORDERS)], &[]).await;
    assert_eq!(ground.reason(&answer).await, "credential_missing", "MTL-01");
    assert!(answer.text.contains("client_id"));
    // An alias that a rule gives this very workload is one with a JWT-SVID, and not with a certificate.
    for other in [PARTNER, "shop-api", "spiffe://prod.example/ns/shop/sa/api2", "SPIFFE://prod.example/ns/shop/sa/api"]
    {
        let answer = ask(&mut connection, other).await;
        assert_eq!(ground.reason(&answer).await, "client_id_mismatch", "SCA-08 MTL-02 {other}");
    }
    let answer = ask(&mut connection, API).await;
    assert_eq!((answer.claims()["client_id"].as_str(), answer.claims()["sub"].as_str()), (Some(API), Some(API)));
    let with_partner = alone(&ground.partner.issue_x509(&ground.params(PARTNER)).unwrap());
    let answer = ground.ask(with_partner, API).await;
    assert_eq!(ground.reason(&answer).await, "client_id_mismatch", "MTL-02: another client's certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn sca_28_a_certificate_in_a_header_is_never_read() {
    let ground = Ground::new().await;
    let leaf = ground.prod().issue_x509(&ground.params(API)).unwrap();
    let pem = leaf.pem().replace('\n', "%0A");
    let xfcc = format!("Hash=00;Cert=\"{pem}\";URI={API}");
    let structured = format!(":{}:", Base64::encode_string(leaf.der()));
    let headers = [
        ("client-cert", structured.as_str()),
        ("x-forwarded-client-cert", xfcc.as_str()),
        ("x-ssl-client-cert", pem.as_str()),
        ("ssl-client-cert", pem.as_str()),
    ];
    let asked = [("client_id", API), ("resource", ORDERS)];
    let answer = ground.connect(None).await.token(&asked, &headers).await;
    assert_eq!(ground.reason(&answer).await, "credential_missing");
    // On a connection with another certificate it is that one that counts.
    let partner = alone(&ground.partner.issue_x509(&ground.params(PARTNER)).unwrap());
    let answer = ground.connect(Some(partner)).await.token(&asked, &headers).await;
    assert_eq!(ground.reason(&answer).await, "client_id_mismatch");
    let answer = ground.connect(Some(ground.good())).await.token(&asked, &headers).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_beside_a_credential_does_not_authenticate() {
    let ground = Ground::new().await;
    let svid = ground.prod().mint(API, &[&ground.issuer], Lifetime::from_minutes(5)).unwrap();
    crate::evidence::secret(&svid);
    let explicit = [("client_assertion_type", JWT_SPIFFE), ("client_assertion", svid.as_str()), ("resource", ORDERS)];
    let sidecar = || alone(&ground.partner.issue_x509(&ground.params(PARTNER)).unwrap());
    let stranger = || alone(&ground.servers.issue(&ground.params(PARTNER)).unwrap());
    for identity in [sidecar(), stranger(), ground.good()] {
        let answer = ground.connect(Some(identity)).await.token(&explicit, &[]).await;
        assert_eq!(answer.claims()["sub"], API, "the explicit credential is the caller");
        assert_eq!(answer.claims()["kind"], "jwt_svid");
    }
    // A bad credential is not mended by a good certificate.
    let mut spoiled = explicit;
    spoiled[1].1 = "e30.e30.AA";
    let answer = ground.connect(Some(ground.good())).await.token(&spoiled, &[]).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    let secret = [("client_secret", "x"), ("client_id", API), ("resource", ORDERS)];
    let answer = ground.connect(Some(ground.good())).await.token(&secret, &[]).await;
    assert_eq!(ground.reason(&answer).await, "assertion_type_unsupported");
}

#[tokio::test(flavor = "multi_thread")]
async fn sca_14_mtl_03_mtl_07_metadata_lists_certificates_where_they_are_asked_for() {
    let ground = Ground::new().await;
    let document = ground.connect(None).await.get("/.well-known/oauth-authorization-server").await.unwrap().body;
    assert_eq!(
        document["token_endpoint_auth_methods_supported"],
        json!(["private_key_jwt", "spiffe_jwt", "spiffe_x509"]),
        "SCA-14 MTL-03: and neither tls_client_auth nor self_signed_tls_client_auth"
    );
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], true, "MTL-07");
    assert!(document.get("mtls_endpoint_aliases").is_none(), "MTL-07: the normal endpoints ask for a certificate");
    ground.good_is_granted().await;
    let plain = Stage::standard().await;
    let document = plain.request("GET", "/.well-known/oauth-authorization-server", &[]).await.body;
    assert_eq!(document["token_endpoint_auth_methods_supported"], json!(["private_key_jwt", "spiffe_jwt"]));
    assert!(document.get("tls_client_certificate_bound_access_tokens").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_names_the_certificate_and_its_authority() {
    let ground = Ground::new().await;
    let leaf = ground.prod().issue_x509(&ground.params(API)).unwrap();
    let answer = ground.ask(alone(&leaf), API).await;
    let jti = answer.claims()["jti"].clone();
    let record = ground.stage.written().into_iter().find(|record| record["token"]["jti"] == jti).unwrap();
    assert_eq!((record["kind"].as_str(), record["source"].as_str()), (Some("x509_svid"), Some("prod")));
    assert_eq!(record["key"]["thumbprint"].as_str().unwrap().len(), 64);
    let serial = record["credential"]["id"].as_str().unwrap();
    let bytes: Vec<u8> =
        (0..serial.len()).step_by(2).map(|at| u8::from_str_radix(&serial[at..at + 2], 16).unwrap()).collect();
    assert!(leaf.der().windows(bytes.len()).any(|window| window == bytes), "{serial}");
    assert!(record["credential"]["assurance"].as_str().unwrap().contains("x5t#S256"), "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc_the_connection_s_svid_authenticates_and_is_judged_at_every_call() {
    let ground = Ground::new().await;
    let mut params = ground.params(API);
    let ends = ground.stage.clock.now().plus(Lifetime::from_minutes(2));
    params.not_after = time::OffsetDateTime::from_unix_timestamp(ends.seconds()).unwrap();
    let short = alone(&ground.prod().issue_x509(&params).unwrap());
    let mut connection = ground.connect(Some(short)).await;
    let message = v1::ExchangeRequest { resource: ORDERS.to_owned(), ..v1::ExchangeRequest::default() };
    let granted = connection.exchange(&message).await.unwrap();
    assert_eq!(granted.token_type, "Bearer");
    assert_eq!(part(&granted.access_token, 1)["sub"], API);
    // An explicit credential is who asks, and the certificate is the sidecar's.
    let svid = ground.prod().mint(API, &["https://nowhere.example"], Lifetime::from_minutes(5)).unwrap();
    crate::evidence::secret(&svid);
    let explicit =
        v1::ExchangeRequest { credential: Some(v1::exchange_request::Credential::JwtSvid(svid)), ..message.clone() };
    let refused = connection.exchange(&explicit).await.unwrap_err();
    assert_eq!(Told::of(&refused).unwrap().reason, "AUDIENCE_MISMATCH");
    let named = v1::ExchangeRequest { client_id: PARTNER.to_owned(), ..message.clone() };
    let refused = connection.exchange(&named).await.unwrap_err();
    assert_eq!(Told::of(&refused).unwrap().reason, "CLIENT_ID_MISMATCH");
    ground.stage.advance(Lifetime::from_minutes(2)).await;
    let refused = connection.exchange(&message).await.unwrap_err();
    assert_eq!(Told::of(&refused).unwrap().reason, "TOKEN_EXPIRED", "on the same connection");
    let refused = ground.connect(None).await.exchange(&message).await.unwrap_err();
    assert_eq!(Told::of(&refused).unwrap().reason, "CREDENTIAL_MISSING");
}
