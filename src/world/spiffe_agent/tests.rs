//! The pretend agent over its socket, asked by the SPIFFE client library and by bare requests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use spiffe::{JwtBundleSet, SpiffeId, TrustDomain, WorkloadApiClient, WorkloadApiError};
use tokio_util::sync::CancellationToken;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Status};

use super::*;
use crate::clock::{Lifetime, ManualClock, Timestamp};
use crate::jose::{KeyPurpose, KeySet};
use crate::world::keys::{Algorithm, NamedKey, SigningKey, odd_key};
use crate::world::{Behaviour, ScratchDirectory, Surroundings, WorldFault};

const AUDIENCE: &str = "https://id.example";

struct Stage {
    place: ScratchDirectory,
    clock: ManualClock,
    surroundings: Surroundings,
    stop: CancellationToken,
    api: WorkloadApi,
}

impl Stage {
    async fn set() -> Self {
        let place = ScratchDirectory::new().unwrap();
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_790_000_000));
        let surroundings = Surroundings::with_clock(Arc::new(clock.clone()));
        let stop = CancellationToken::new();
        let domain = PretendTrustDomain::new("prod.example", &surroundings).unwrap();
        let api = WorkloadApi::start(place.path().join("agent.sock"), &domain, &stop).await.unwrap();
        api.register(["spiffe://prod.example/ns/shop/sa/api", "spiffe://prod.example/agents/x"]);
        Self { place, clock, surroundings, stop, api }
    }

    async fn client(&self) -> WorkloadApiClient {
        in_time(WorkloadApiClient::connect_to(self.api.address())).await.unwrap()
    }

    async fn bundles(&self) -> Pin<Box<dyn Stream<Item = Result<JwtBundleSet, WorkloadApiError>> + Send>> {
        Box::pin(in_time(self.client().await.stream_jwt_bundles()).await.unwrap())
    }
}

/// Nothing here takes long; what does is stuck.
async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("this should have ended long ago")
}

async fn next(
    stream: &mut (impl Stream<Item = Result<JwtBundleSet, WorkloadApiError>> + Unpin),
) -> Result<JwtBundleSet, WorkloadApiError> {
    in_time(stream.next()).await.expect("the stream ended")
}

fn kids(bundles: &JwtBundleSet, domain: &str) -> Option<Vec<String>> {
    let bundle = bundles.get(&TrustDomain::new(domain).unwrap())?;
    Some(bundle.jwt_authorities().map(|authority| authority.key_id().to_owned()).collect())
}

fn code<T>(outcome: Result<T, WorkloadApiError>) -> Option<Code> {
    match outcome.err()? {
        WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_) => Some(Code::PermissionDenied),
        WorkloadApiError::Transport(error) if error.to_string().contains("status unavailable") => {
            Some(Code::Unavailable)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spiffe_client_fetches_jwt_svids() {
    let stage = Stage::set().await;
    let client = stage.client().await;
    let svid = in_time(client.fetch_jwt_svid([AUDIENCE], None)).await.unwrap();
    assert_eq!(
        svid.spiffe_id().to_string(),
        "spiffe://prod.example/ns/shop/sa/api",
        "WAP-13: the default is the first"
    );
    assert_eq!(in_time(client.fetch_all_jwt_svids([AUDIENCE], None)).await.unwrap().len(), 2);
    let chosen = SpiffeId::new("spiffe://prod.example/agents/x").unwrap();
    let svid = in_time(client.fetch_jwt_svid([AUDIENCE, "other"], Some(&chosen))).await.unwrap();
    assert_eq!(svid.spiffe_id(), &chosen);
    assert_eq!(svid.audience(), [AUDIENCE, "other"]);
    let foreign = SpiffeId::new("spiffe://prod.example/somebody/else").unwrap();
    assert_eq!(code(in_time(client.fetch_jwt_svid([AUDIENCE], Some(&foreign))).await), Some(Code::PermissionDenied));
    assert_eq!(stage.api.calls(Rpc::FetchJwtSvid), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_validates_what_its_trust_domain_signed() {
    let stage = Stage::set().await;
    let client = stage.client().await;
    let domain = stage.api.domain();
    let forge = domain.forge("spiffe://prod.example/a", &[AUDIENCE], Lifetime::from_minutes(5));
    let good = forge.sign().unwrap().token();
    let svid = in_time(client.validate_jwt_token(AUDIENCE, &good)).await.unwrap();
    assert_eq!(svid.spiffe_id().to_string(), "spiffe://prod.example/a");
    assert!(in_time(client.validate_jwt_token("other", &good)).await.is_err());
    let other = NamedKey::new(domain.active_key().kid(), Arc::new(SigningKey::generate(Algorithm::ES256).unwrap()));
    for bad in [
        forge.clone().key(&other).sign().unwrap(),
        forge.clone().claim("sub", "spiffe://partner.example/a").sign().unwrap(),
        forge.clone().claim("exp", stage.clock_seconds()).sign().unwrap(),
    ] {
        assert!(in_time(client.validate_jwt_token(AUDIENCE, &bad.token())).await.is_err());
    }
    assert_eq!(stage.api.calls(Rpc::ValidateJwtSvid), 5);
}

impl Stage {
    fn clock_seconds(&self) -> i64 {
        self.surroundings.now().seconds()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_mints_what_its_published_key_verifies() {
    let stage = Stage::set().await;
    let domain = stage.api.domain();
    // JSV-02. RSA by one algorithm of each padding: the keys are slow to make.
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::RS256, Algorithm::PS384] {
        let token =
            domain.mint_with(algorithm, "spiffe://prod.example/a", &[AUDIENCE], Lifetime::from_minutes(5)).unwrap();
        let kid = domain.key_of(algorithm).unwrap().kid().to_owned();
        let jwks: Value = serde_json::from_slice(&domain.jwt_bundle()).unwrap();
        let published = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == *kid).unwrap();
        assert_eq!(published.get("use"), None, "JSV-12");
        assert!(domain.open(&token).is_some(), "{algorithm}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_push_every_change_of_the_bundles() {
    let stage = Stage::set().await;
    let domain = stage.api.domain();
    let mut stream = stage.bundles().await;
    let old = domain.active_key().kid().to_owned();
    assert_eq!(kids(&next(&mut stream).await.unwrap(), "prod.example"), Some(vec![old.clone()]));

    let new = domain.rotate(Algorithm::ES384).unwrap().kid().to_owned();
    let both = kids(&next(&mut stream).await.unwrap(), "prod.example").unwrap();
    assert!(both.contains(&old) && both.contains(&new), "rotation keeps the old key");

    domain.withdraw(&old).unwrap();
    assert_eq!(kids(&next(&mut stream).await.unwrap(), "prod.example"), Some(vec![new.clone()]));
    assert!(matches!(domain.withdraw(&old), Err(WorldFault::NoSuchKey(_))));

    let partner = PretendTrustDomain::new("partner.example", &stage.surroundings).unwrap();
    stage.api.federate(&partner);
    assert!(kids(&next(&mut stream).await.unwrap(), "partner.example").is_some());
    let newest = partner.rotate(Algorithm::ES256).unwrap().kid().to_owned();
    assert!(kids(&next(&mut stream).await.unwrap(), "partner.example").unwrap().contains(&newest));
    stage.api.unfederate("partner.example");
    assert_eq!(kids(&next(&mut stream).await.unwrap(), "partner.example"), None, "WAP-06");

    domain.publish_empty(true);
    assert_eq!(kids(&next(&mut stream).await.unwrap(), "prod.example"), Some(vec![]), "BUN-02");
    domain.publish_empty(false);
    assert_eq!(kids(&next(&mut stream).await.unwrap(), "prod.example"), Some(vec![new]));
    assert_eq!(stage.api.calls(Rpc::FetchJwtBundles), 1, "all of it on one stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_reach_new_calls_and_open_streams() {
    let stage = Stage::set().await;
    for (answer, expected) in
        [(Answer::PermissionDenied, Code::PermissionDenied), (Answer::Unavailable, Code::Unavailable)]
    {
        stage.api.answer(Answer::Truth);
        let mut stream = stage.bundles().await;
        next(&mut stream).await.unwrap();
        stage.api.answer(answer);
        assert_eq!(code(next(&mut stream).await), Some(expected));
        assert_eq!(code(in_time(stage.client().await.fetch_jwt_bundles()).await), Some(expected));
    }
    stage.api.answer(Answer::NoBundles);
    let outcome = in_time(stage.client().await.fetch_jwt_bundles()).await;
    assert!(matches!(outcome, Err(WorkloadApiError::MissingRequiredField { .. })), "WAP-07: {outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_stops_and_starts_again_on_its_socket() {
    let stage = Stage::set().await;
    let mut stream = stage.bundles().await;
    next(&mut stream).await.unwrap();
    in_time(stage.api.stop()).await;
    assert_eq!(code(next(&mut stream).await), Some(Code::Unavailable));
    assert!(!stage.api.socket().exists());
    assert!(in_time(WorkloadApiClient::connect_to(stage.api.address())).await.is_err());
    // A process that was killed leaves its socket file behind.
    drop(std::os::unix::net::UnixListener::bind(stage.api.socket()).unwrap());
    stage.api.start_again().await.unwrap();
    next(&mut stage.bundles().await).await.unwrap();
    let second = WorkloadApi::start(stage.api.socket(), stage.api.domain(), &stage.stop).await;
    assert!(matches!(second, Err(WorldFault::SocketInUse(_))));
    let file = stage.place.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let third = WorkloadApi::start(&file, stage.api.domain(), &stage.stop).await;
    assert!(matches!(third, Err(WorldFault::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_the_security_header_is_an_invalid_argument() {
    let stage = Stage::set().await;
    // WAP-01, WAP-12: by hand, because no client leaves the header out.
    for header in [None, Some("false"), Some("True"), Some("")] {
        let status = fetch_jwt_svid_with(&stage, header).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{header:?}");
    }
    fetch_jwt_svid_with(&stage, Some("true")).await.unwrap();
    assert_eq!(stage.api.calls_without_header(), 4);
}

async fn fetch_jwt_svid_with(stage: &Stage, header: Option<&'static str>) -> Result<(), Status> {
    let endpoint = tonic::transport::Endpoint::try_from(format!("unix://{}", stage.api.socket().display())).unwrap();
    let mut grpc = tonic::client::Grpc::new(in_time(endpoint.connect()).await.unwrap());
    in_time(grpc.ready()).await.unwrap();
    let message = super::proto::JwtsvidRequest { audience: vec![AUDIENCE.to_owned()], spiffe_id: String::new() };
    let mut request = tonic::Request::new(message);
    if let Some(value) = header {
        request.metadata_mut().insert("workload.spiffe.io", value.parse().unwrap());
    }
    let path = PathAndQuery::from_static("/SpiffeWorkloadAPI/FetchJWTSVID");
    let codec = tonic_prost::ProstCodec::<_, super::proto::JwtsvidResponse>::default();
    in_time(grpc.unary(request, path, codec)).await.map(|_response| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn x509_svids_are_renewed_and_follow_the_ca() {
    let stage = Stage::set().await;
    let client = stage.client().await;
    let bundles = in_time(client.fetch_x509_bundles()).await.unwrap();
    assert_eq!(bundles.get(&TrustDomain::new("prod.example").unwrap()).unwrap().authorities().len(), 1);
    let mut stream = Box::pin(in_time(client.stream_x509_contexts()).await.unwrap());
    let mut leaf = async || {
        let context = in_time(stream.next()).await.expect("the stream ended").unwrap();
        let svid = context.default_svid().unwrap();
        assert_eq!(svid.spiffe_id().to_string(), "spiffe://prod.example/ns/shop/sa/api");
        svid.leaf().as_bytes().to_vec()
    };
    let first = leaf().await;
    stage.clock.advance(Lifetime::from_minutes(31));
    let second = leaf().await;
    assert_ne!(first, second, "renewed after half its life");
    stage.api.domain().rotate_x509().unwrap();
    assert_ne!(leaf().await, second, "issued again by the new CA");
    let bundles = in_time(client.fetch_x509_bundles()).await.unwrap();
    assert_eq!(bundles.get(&TrustDomain::new("prod.example").unwrap()).unwrap().authorities().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spiffe_bundle_reads_as_the_specification_says() {
    let stage = Stage::set().await;
    let domain = stage.api.domain();
    let bundle = domain.spiffe_bundle();
    assert_eq!(bundle["spiffe_sequence"], 1);
    assert_eq!(bundle["spiffe_refresh_hint"], 300);
    let [x509, jwt] = bundle["keys"].as_array().unwrap().as_slice() else { panic!("{bundle}") };
    assert_eq!((&x509["use"], &jwt["use"]), (&Value::from("x509-svid"), &Value::from("jwt-svid")));
    assert_eq!((x509.get("kid"), jwt["kid"].as_str()), (None, Some(domain.active_key().kid())), "BUN-05");
    assert_eq!(x509["x5c"].as_array().map(Vec::len), Some(1), "XSV-06");
    domain.publish_extra(odd_key());
    let bundle = domain.spiffe_bundle();
    assert_eq!(bundle["spiffe_sequence"], 2, "BUN-06");
    let read = KeySet::parse(bundle.to_string().as_bytes(), KeyPurpose::SpiffeBundle).unwrap();
    assert_eq!(
        (read.keys().len(), read.skipped().len()),
        (1, 1),
        "JSV-11, BUN-03: one is odd, and certificates are not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_trust_domains_can_use_one_name_for_different_keys() {
    let stage = Stage::set().await;
    let partner = PretendTrustDomain::new("partner.example", &stage.surroundings).unwrap();
    let kid = stage.api.domain().active_key().kid().to_owned();
    partner.adopt(NamedKey::new(kid.as_str(), Arc::new(SigningKey::generate(Algorithm::ES256).unwrap())));
    let token = partner.mint("spiffe://prod.example/a", &[AUDIENCE], Lifetime::from_minutes(5)).unwrap();
    assert!(partner.open(&token).is_some());
    assert!(stage.api.domain().open(&token).is_none(), "JSV-10");
}

#[tokio::test(flavor = "multi_thread")]
async fn bundle_endpoints_serve_both_profiles() {
    let stage = Stage::set().await;
    // The machine's clock, as the TLS client below has no other.
    let domain = PretendTrustDomain::new("partner.example", &Surroundings::system()).unwrap();
    let endpoint = BundleEndpoint::start(&domain, &stage.stop).await.unwrap();
    let client = client_trusting(&[pem_to_der(&endpoint.ca_pem())]);
    assert_eq!(get(&client, endpoint.url()).await, domain.spiffe_bundle());
    domain.rotate(Algorithm::ES256).unwrap();
    assert_eq!(get(&client, endpoint.url()).await, domain.spiffe_bundle(), "the newest");
    assert_eq!(endpoint.requests(BUNDLE_PATH), 2);
    endpoint.behave(BUNDLE_PATH, Behaviour::Garbage);
    assert_eq!(get(&client, endpoint.url()).await, Value::Null);

    let named = certificate_of(endpoint.url()).await;
    let svid = domain.x509_svid("spiffe://partner.example/bundle-server", Lifetime::from_hours(1)).unwrap();
    endpoint.show(&svid).unwrap();
    assert_eq!(certificate_of(endpoint.url()).await, *svid.der());
    endpoint.show_name().unwrap();
    assert_ne!(certificate_of(endpoint.url()).await, *svid.der());
    assert_ne!(certificate_of(endpoint.url()).await, named, "a new one");
}

fn pem_to_der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn tls_trusting(roots: &[CertificateDer<'static>]) -> rustls::ClientConfig {
    let mut store = rustls::RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth()
}

fn client_trusting(roots: &[CertificateDer<'static>]) -> reqwest::Client {
    reqwest::Client::builder().tls_backend_preconfigured(tls_trusting(roots)).no_proxy().build().unwrap()
}

async fn get(client: &reqwest::Client, url: &str) -> Value {
    let response = in_time(client.get(url).send()).await.unwrap();
    serde_json::from_slice(&in_time(response.bytes()).await.unwrap()).unwrap_or_default()
}

/// The certificate that a server shows, whatever it is worth.
async fn certificate_of(url: &str) -> CertificateDer<'static> {
    #[derive(Debug, Default)]
    struct Look(std::sync::Mutex<Option<CertificateDer<'static>>>);
    impl rustls::client::danger::ServerCertVerifier for Look {
        fn verify_server_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            *self.0.lock().unwrap() = Some(end_entity.clone().into_owned());
            Err(rustls::Error::General("seen enough".to_owned()))
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Err(rustls::Error::General("not reached".to_owned()))
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Err(rustls::Error::General("not reached".to_owned()))
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
    let look = Arc::new(Look::default());
    let mut config = tls_trusting(&[]);
    config.dangerous().set_certificate_verifier(Arc::clone(&look) as _);
    let client = reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy().build().unwrap();
    assert!(in_time(client.get(url).send()).await.is_err());
    let seen = look.0.lock().unwrap().take();
    seen.unwrap()
}
