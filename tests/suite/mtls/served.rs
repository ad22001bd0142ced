//! Our own X.509-SVID as the server's certificate: `listen: { tls: { spiffe: … } }`.

use std::sync::Arc;

use countersign::clock::Lifetime;
use countersign::trust::fetch_jwt_svid;
use countersign::world::World;
use countersign::world::spiffe_agent::Registration;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::stage::{API, Stage, part, standard_config};

/// Takes any server: who it is, the test looks at by itself.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that a new connection is shown.
async fn shown(stage: &Stage) -> Result<Vec<u8>, std::io::Error> {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let socket = TcpStream::connect(stage.issuer.trim_start_matches("http://")).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, socket).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

/// Moves the clock until a new connection is shown another certificate.
async fn next_shown(stage: &Stage, old: Option<&Vec<u8>>, step: Lifetime) -> Vec<u8> {
    for _ in 0..200 {
        stage.advance(step).await;
        if let Ok(new) = shown(stage).await
            && old != Some(&new)
        {
            return new;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no other certificate was shown");
}

fn config(world: &World, issuer: &str) -> String {
    standard_config(world, issuer).replacen("issuer: http:", "issuer: https:", 1).replacen(
        "\" }\nadmin:",
        "\", tls: { spiffe: prod } }\nadmin:",
        1,
    )
}

fn names(certificate: &[u8], id: &str) -> bool {
    certificate.windows(id.len()).any(|window| window == id.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_svid_is_shown_and_follows_the_agent() {
    let stage = Stage::with(config).await;
    stage.app.ready().await;
    let first = next_shown(&stage, None, Lifetime::from_seconds(1)).await;
    assert!(names(&first, API));
    // Half its life later the agent gives another.
    let second = next_shown(&stage, Some(&first), Lifetime::from_minutes(1)).await;
    assert!(names(&second, API));
    // What was given last stays while the agent is gone.
    stage.world.agent().stop().await;
    assert_eq!(shown(&stage).await.unwrap(), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_13_of_several_identities_the_first_is_ours() {
    const OTHER: &str = "spiffe://prod.example/ns/shop/sa/other";
    let hinted = |id: &str| Registration { spiffe_id: id.to_owned(), hint: "internal".to_owned() };
    let stage = Stage::with(|world, issuer| {
        world.agent().register([hinted(API), hinted(OTHER)]);
        config(world, issuer)
    })
    .await;
    let agent = stage.world.agent();
    let default = async || {
        let svid = fetch_jwt_svid(&agent.address(), "https://x.example", None).await.unwrap();
        part(svid.expose(), 1)["sub"].as_str().unwrap().to_owned()
    };
    let first = next_shown(&stage, None, Lifetime::from_seconds(1)).await;
    assert!(names(&first, API) && !names(&first, OTHER));
    assert_eq!(default().await, API);
    // The order is the agent's: turned round, the other is the default.
    agent.register([hinted(OTHER), hinted(API)]);
    let second = next_shown(&stage, Some(&first), Lifetime::from_seconds(1)).await;
    assert!(names(&second, OTHER) && !names(&second, API));
    assert_eq!(default().await, OTHER);
    assert_eq!(agent.calls_without_header(), 0, "WAP-01");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_svid_we_listen_and_are_not_ready() {
    let stage = Stage::with(|world, issuer| {
        world.agent().register::<&str>([]);
        config(world, issuer)
    })
    .await;
    assert!(shown(&stage).await.is_err(), "every handshake fails");
    let ready = stage.admin("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("our X.509-SVID"), "{}", ready.text);
    // An identity of another trust domain is none of ours.
    stage.world.agent().register(["spiffe://other.example/x"]);
    stage.advance(Lifetime::from_seconds(11)).await;
    assert!(shown(&stage).await.is_err());
    stage.world.agent().register([API]);
    assert!(names(&next_shown(&stage, None, Lifetime::from_seconds(5)).await, API));
    stage.app.ready().await;
}
