//! HTTPS: the certificate of the files, both versions of HTTP, and no token in the clear.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign::clock::{Clock, Lifetime, SystemClock};
use countersign::world::World;
use countersign::world::x509::{CertificateAuthority, Certified, svid_params};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::evidence;
use crate::stage::{API, Answer, JWT_SPIFFE, ORDERS, Stage, answer, encode, eventually, standard_config};

/// How often the product looks at its certificate.
const LOOK: Lifetime = Lifetime::from_seconds(5);

struct Secure {
    stage: Stage,
    issuer: String,
    authority: CertificateAuthority,
    served: Certified,
}

impl Secure {
    async fn start() -> Self {
        let authority = CertificateAuthority::for_servers("test CA").unwrap();
        let mut served = None;
        let stage = Stage::with(|world, issuer| {
            served = Some(new_pair(&authority, world.directory()));
            config(world, issuer)
        })
        .await;
        let issuer = stage.issuer.replacen("http:", "https:", 1);
        Self { stage, issuer, authority, served: served.unwrap() }
    }

    /// A client that believes our authority alone, and speaks these versions of HTTP.
    fn client(&self, versions: &[&[u8]]) -> reqwest::Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = versions.iter().map(|version| version.to_vec()).collect();
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .tls_info(true)
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap()
    }

    fn form(&self) -> String {
        let svid = self.stage.world.trust_domain().mint(API, &[&self.issuer], Lifetime::from_minutes(5)).unwrap();
        evidence::secret(&svid);
        encode(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_SPIFFE),
            ("client_assertion", &svid),
            ("resource", ORDERS),
        ])
    }

    /// One exchange on a connection of its own: the answer, the certificate that was shown, the version of HTTP.
    async fn exchange(&self, client: &reqwest::Client) -> (Answer, Vec<u8>, reqwest::Version) {
        let request = client
            .post(format!("{}/token", self.issuer))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(self.form());
        let response = request.send().await.unwrap();
        let shown = response.extensions().get::<reqwest::tls::TlsInfo>().unwrap().peer_certificate().unwrap().to_vec();
        let version = response.version();
        (answer(response).await, shown, version)
    }
}

/// Writes a fresh certificate for 127.0.0.1 and its key where the configuration says.
fn new_pair(authority: &CertificateAuthority, directory: &Path) -> Certified {
    let mut params =
        svid_params("spiffe://servers.example/countersign", SystemClock.now(), Lifetime::from_hours(24)).unwrap();
    params.subject_alt_names.push(rcgen::SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let pair = authority.issue(&params).unwrap();
    std::fs::write(directory.join("tls.crt"), pair.pem()).unwrap();
    std::fs::write(directory.join("tls.key"), pair.key_pem().expose()).unwrap();
    pair
}

fn config(world: &World, issuer: &str) -> String {
    let plain = standard_config(world, issuer);
    let secure = plain.replacen("issuer: http:", "issuer: https:", 1);
    secure.replacen("\" }\nadmin:", "\", tls: { certificate: tls.crt, key: tls.key } }\nadmin:", 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_give_tokens_over_tls() {
    let secure = Secure::start().await;
    for (protocol, expected) in [(&b"h2"[..], reqwest::Version::HTTP_2), (b"http/1.1", reqwest::Version::HTTP_11)] {
        let (answer, shown, version) = secure.exchange(&secure.client(&[protocol])).await;
        assert_eq!(answer.claims()["iss"], secure.issuer, "MD-01: https, byte for byte");
        assert_eq!(version, expected);
        assert_eq!(shown, secure.served.der().as_ref());
    }
    let metadata = secure.client(&[b"h2", b"http/1.1"]);
    let url = format!("{}/.well-known/openid-configuration", secure.issuer);
    let document = answer(metadata.get(url).send().await.unwrap()).await.body;
    for member in ["issuer", "token_endpoint", "jwks_uri"] {
        assert!(document[member].as_str().unwrap().starts_with("https://127.0.0.1:"), "MD-01 MD-09");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_without_tls_works_on_loopback() {
    let stage = Stage::standard().await;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(empty_tls())
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap();
    let response = client.get(format!("{}/jwks", stage.issuer)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
}

fn empty_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[tokio::test(flavor = "multi_thread")]
async fn tok_09_plain_http_on_the_tls_port_gets_no_token() {
    let secure = Secure::start().await;
    let form = secure.form();
    let mut connection = TcpStream::connect(secure.issuer.trim_start_matches("https://")).await.unwrap();
    let head = format!(
        "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    // The other end may close before it has read everything.
    let _ = connection.write_all(form.as_bytes()).await;
    let mut heard = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), connection.read_to_end(&mut heard)).await.unwrap();
    let text = String::from_utf8_lossy(&heard);
    assert!(!text.contains("access_token") && !text.contains("200"), "{text:?}");
    assert_eq!(secure.stage.written().len(), 0, "nobody read it");
    // The port serves those who speak TLS all the same.
    assert_eq!(secure.exchange(&secure.client(&[b"h2"])).await.0.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_swapped_on_disk_is_shown_to_new_connections() {
    let secure = Secure::start().await;
    let kept = secure.client(&[b"h2"]);
    assert_eq!(secure.exchange(&kept).await.1, secure.served.der().as_ref());
    let new = new_pair(&secure.authority, secure.stage.directory.path());
    let mut shown = Vec::new();
    for _ in 0..200 {
        secure.stage.advance(LOOK).await;
        shown = secure.exchange(&secure.client(&[b"h2"])).await.1;
        if shown != secure.served.der().as_ref() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(shown, new.der().as_ref());
    let (answer, old, _) = secure.exchange(&kept).await;
    assert_eq!((answer.status, old), (200, secure.served.der().as_ref().to_vec()), "the open connection goes on");
    eventually("each exchange has its record", || secure.stage.records.lines().len() > 2).await;
}
