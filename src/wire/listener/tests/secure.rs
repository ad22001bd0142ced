//! TLS: versions, ALPN, no resumption, a certificate that follows its files.

use std::slice::from_ref;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::clock::Lifetime;

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

fn client_of(
    anchors: &[CertificateDer<'static>],
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config).into()
}

async fn shake(served: &Served, client: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    soon(client.connect(ServerName::try_from("localhost").unwrap(), served.connect().await)).await
}

async fn secure(limits: Limits) -> (Served, Folder, CertificateDer<'static>) {
    let folder = Folder::new();
    let certificate = write_pair(&folder.files());
    (Served::start(limits, Some(folder.files())).await, folder, certificate)
}

#[tokio::test]
async fn alpn_chooses_the_version_of_http() {
    let (served, _folder, anchor) = secure(PATIENT).await;
    let offers: [(&[&[u8]], &str); 4] =
        [(&[b"h2", b"http/1.1"], "HTTP/2.0"), (&[b"h2"], "HTTP/2.0"), (&[b"http/1.1"], "HTTP/1.1"), (&[], "HTTP/1.1")];
    for (alpn, expected) in offers {
        let stream = shake(&served, &client_of(from_ref(&anchor), BOTH, alpn)).await.unwrap();
        let peer = stream.get_ref().0.local_addr().unwrap();
        let answer = if expected == "HTTP/2.0" {
            let (mut client, _task) = http2(stream).await;
            text(soon(client.send_request(get_request("/"))).await.unwrap()).await
        } else {
            let (mut client, _task) = http1(stream).await;
            text(soon(client.send_request(get_request("/"))).await.unwrap()).await
        };
        assert_eq!(answer, format!("{expected} ConnectionInfo {{ peer: {peer}, tls: true, certificates: None }}"));
    }
    shake(&served, &client_of(&[anchor], BOTH, &[b"spdy/3"])).await.unwrap_err();
}

#[tokio::test]
async fn bcp_09_tls_1_2_and_1_3_without_resumption() {
    let (served, _folder, anchor) = secure(PATIENT).await;
    for (versions, expected) in [(&BOTH[..1], ProtocolVersion::TLSv1_3), (&BOTH[1..], ProtocolVersion::TLSv1_2)] {
        // The client would resume: it keeps the sessions of its configuration.
        let connector = client_of(from_ref(&anchor), versions, &[]);
        for _ in 0..3 {
            let mut stream = shake(&served, &connector).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
            assert!(rest_of(&mut stream).await.starts_with("HTTP/1.1 200 "));
            let (_, session) = stream.get_ref();
            assert_eq!(
                (session.protocol_version(), session.handshake_kind()),
                (Some(expected), Some(HandshakeKind::Full))
            );
            assert_eq!(session.tls13_tickets_received(), 0);
        }
    }
}

/// A client hello of an old version of TLS: rustls has no client that would send one.
fn old_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]); // random
    body.push(0); // no session
    body.extend([0, 4, 0xc0, 0x13, 0x00, 0x2f]); // ECDHE_RSA_WITH_AES_128_CBC_SHA, RSA_WITH_AES_128_CBC_SHA
    body.extend([1, 0]); // no compression
    body.extend([0, 16]); // extensions
    body.extend([0, 10, 0, 4, 0, 2, 0, 23]); // supported_groups: secp256r1
    body.extend([0, 13, 0, 4, 0, 2, 4, 3]); // signature_algorithms: ecdsa_secp256r1_sha256
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

#[tokio::test]
async fn bcp_09_older_versions_are_refused() {
    let (served, _folder, _anchor) = secure(PATIENT).await;
    for minor in [1, 2] {
        let mut socket = served.connect().await;
        socket.write_all(&old_hello(minor)).await.unwrap();
        let mut answer = Vec::new();
        soon(socket.read_to_end(&mut answer)).await.unwrap();
        // RFC 8446 §6: alert, fatal, protocol_version.
        assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]), "TLS 1.{}: {answer:?}", minor - 1);
    }
}

#[tokio::test]
async fn tok_09_plain_http_gets_no_answer_on_the_tls_port() {
    let (served, _folder, _anchor) = secure(PATIENT).await;
    let mut socket = served.connect().await;
    socket.write_all(b"POST /length HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\na").await.unwrap();
    let answer = rest_of(&mut socket).await;
    assert!(!answer.contains("HTTP"), "{answer}");
}

#[tokio::test]
async fn lim_07_a_handshake_that_does_not_come_is_closed() {
    let (served, _folder, _anchor) = secure(Limits { handshake: SHORT, ..PATIENT }).await;
    for start in [&b""[..], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let mut socket = served.connect().await;
        socket.write_all(start).await.unwrap();
        assert_eq!(rest_of(&mut socket).await, "");
    }
}

#[tokio::test]
async fn lim_07_silence_after_the_handshake_is_closed() {
    let (served, _folder, anchor) = secure(Limits { first_request: SHORT, ..PATIENT }).await;
    for (alpn, start) in [
        (&b"h2"[..], &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]),
        (b"h2", b"PRI * HT"),
        (b"h2", b""),
        (b"http/1.1", b"GET / HT"),
    ] {
        let mut stream = shake(&served, &client_of(from_ref(&anchor), BOTH, &[alpn])).await.unwrap();
        stream.write_all(start).await.unwrap();
        stream.flush().await.unwrap();
        rest_of(&mut stream).await;
    }
}

#[tokio::test]
async fn the_drain_does_not_wait_for_handshakes() {
    let (served, _folder, _anchor) = secure(PATIENT).await;
    let mut socket = served.connect().await;
    until("the connection is accepted", async || served.drain.running() == 2).await;
    served.drain.begin();
    assert_eq!(rest_of(&mut socket).await, "");
}

#[tokio::test]
async fn a_new_certificate_is_for_the_next_connection_and_open_ones_go_on() {
    let (served, folder, old) = secure(PATIENT).await;
    let (mut open, _task) = http1(shake(&served, &client_of(from_ref(&old), BOTH, &[])).await.unwrap()).await;
    text(soon(open.send_request(get_request("/"))).await.unwrap()).await;

    let new = write_pair(&folder.files());
    let connector = client_of(&[old.clone(), new.clone()], BOTH, &[]);
    let shown = async || shake(&served, &connector).await.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown().await, old, "the clock has not moved");
    until("the new certificate is shown", async || {
        served.clock.advance(Lifetime::from_seconds(5));
        shown().await == new
    })
    .await;
    assert_eq!(soon(open.send_request(get_request("/"))).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_listener_without_a_good_pair_does_not_start() {
    let folder = Folder::new();
    let settings =
        ListenSettings { address: "127.0.0.1:0".parse().unwrap(), tls: Some(TlsSettings::Files(folder.files())) };
    let error = Listener::bind(&settings, None).await.unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("cannot read {}: ", folder.files().certificate.display())),
        "{error}"
    );
}
