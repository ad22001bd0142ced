//! Which certificate the listener shows: a pair of files, read again when their content changes, or our own X.509-SVID.
//!
//! Never puts a bad pair in the place of a good one, and never puts a key into an error or a log line.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::client_certificate::Possession;
use crate::clock::{Clock, Lifetime};
use crate::wire::settings::TlsFiles;

/// ALPN: HTTP/2.
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// How often the files are compared. A watch on a file sees nothing when Kubernetes swaps the directory link above it.
const POLL: Lifetime = Lifetime::from_seconds(5);

/// A chain of a few certificates of 2 KiB; with large ones of 8 KiB still eight.
const MAX_CERTIFICATE_BYTES: u64 = 64 * 1024;

/// An RSA key of 16,384 bits is 13 KiB of PEM.
const MAX_KEY_BYTES: u64 = 32 * 1024;

/// Why a pair of files cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum PairFault {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is longer than {limit} bytes", path.display())]
    TooLong { path: PathBuf, limit: u64 },
    #[error("{} holds no PEM certificate", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} is not well-formed PEM", path.display())]
    CertificateMalformed { path: PathBuf },
    #[error("{} holds no PEM private key", path.display())]
    NoKey { path: PathBuf },
    #[error("{} and {} cannot be served together: {source}", certificate.display(), key.display())]
    Refused { certificate: PathBuf, key: PathBuf, source: rustls::Error },
}

/// The pair that is served now, and what is needed to notice a new one.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: Arc<ArcSwap<ServerConfig>>,
    fingerprint: Fingerprint,
}

impl Certificate {
    /// Reads and checks the pair for the first time.
    pub(super) async fn load(files: TlsFiles) -> Result<Self, PairFault> {
        let provider = Arc::new(provider::default_provider());
        let pair = Pair::read(&files).await?;
        let config = server_config(&pair, &files, &provider)?;
        let fingerprint = pair.fingerprint();
        Ok(Self { files, provider, current: Arc::new(ArcSwap::from_pointee(config)), fingerprint })
    }

    /// What each new connection reads.
    pub(super) fn current(&self) -> Arc<ArcSwap<ServerConfig>> {
        Arc::clone(&self.current)
    }

    /// Follows the files for as long as it is polled.
    pub(super) async fn follow(mut self, clock: &dyn Clock) {
        let mut trouble = Trouble::default();
        loop {
            clock.sleep_until(clock.now().plus(POLL)).await;
            match self.refresh().await {
                Ok(changed) => {
                    if changed {
                        info!(certificate = %self.files.certificate.display(), "new certificate: the next connection gets it");
                    }
                    trouble = Trouble::default();
                }
                Err(fault) => {
                    if trouble.is_news(fault.to_string()) {
                        warn!(%fault, "the new certificate cannot be used: the old one stays");
                    }
                }
            }
        }
    }

    /// Whether there was a new pair, which is served from now on.
    async fn refresh(&mut self) -> Result<bool, PairFault> {
        let pair = Pair::read(&self.files).await?;
        let fingerprint = pair.fingerprint();
        if fingerprint == self.fingerprint {
            return Ok(false);
        }
        self.current.store(Arc::new(server_config(&pair, &self.files, &self.provider)?));
        self.fingerprint = fingerprint;
        Ok(true)
    }
}

/// A fault is told once, and only when two polls in a row have seen it: two files cannot be written in one step, and
/// between the steps they do not match.
#[derive(Debug, Default)]
struct Trouble {
    seen: Option<String>,
    told: bool,
}

impl Trouble {
    fn is_news(&mut self, fault: String) -> bool {
        let again = self.seen.as_ref() == Some(&fault);
        let news = again && !self.told;
        self.told = news || (again && self.told);
        self.seen = Some(fault);
        news
    }
}

/// Hashes of both files: the key itself is not kept.
type Fingerprint = [Vec<u8>; 2];

struct Pair {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Pair {
    async fn read(files: &TlsFiles) -> Result<Self, PairFault> {
        let (read, path) = (files.clone(), files.certificate.clone());
        tokio::task::spawn_blocking(move || Self::read_blocking(&read))
            .await
            .unwrap_or_else(|stopped| Err(PairFault::Unreadable { path, source: io::Error::other(stopped) }))
    }

    /// Not through `tokio::fs`, whose buffer would keep a copy of the key.
    fn read_blocking(files: &TlsFiles) -> Result<Self, PairFault> {
        let mut pair = Self {
            certificate: Vec::new(),
            // Room from the start: growing would leave copies of the key behind.
            key: Zeroizing::new(Vec::with_capacity(MAX_KEY_BYTES as usize + 1)),
        };
        read_up_to(MAX_CERTIFICATE_BYTES, &files.certificate, &mut pair.certificate)?;
        read_up_to(MAX_KEY_BYTES, &files.key, &mut pair.key)?;
        Ok(pair)
    }

    fn fingerprint(&self) -> Fingerprint {
        [&self.certificate, &*self.key].map(|content| digest::digest(&digest::SHA256, content).as_ref().to_vec())
    }
}

fn read_up_to(limit: u64, path: &Path, content: &mut Vec<u8>) -> Result<(), PairFault> {
    let unreadable = |source| PairFault::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let read = file.take(limit.saturating_add(1)).read_to_end(content).map_err(unreadable)?;
    if read as u64 > limit { Err(PairFault::TooLong { path: path.to_owned(), limit }) } else { Ok(()) }
}

fn server_config(pair: &Pair, files: &TlsFiles, provider: &Arc<CryptoProvider>) -> Result<ServerConfig, PairFault> {
    let refused =
        |source| PairFault::Refused { certificate: files.certificate.clone(), key: files.key.clone(), source };
    let chain = CertificateDer::pem_slice_iter(&pair.certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_malformed| PairFault::CertificateMalformed { path: files.certificate.clone() })?;
    if chain.is_empty() {
        return Err(PairFault::NoCertificate { path: files.certificate.clone() });
    }
    let key =
        PrivateKeyDer::from_pem_slice(&pair.key).map_err(|_malformed| PairFault::NoKey { path: files.key.clone() })?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(refused)?;
    // `from_der` lets a pair pass that cannot be compared.
    certified.keys_match().map_err(refused)?;

    showing(Arc::new(SingleCertAndKey::from(certified)), provider).map_err(refused)
}

/// BCP 195: TLS 1.2 and 1.3 with the provider's suites, which are all AEAD with forward secrecy. No resumption: a resumed session
/// would skip the check of a client's certificate.
pub(super) fn showing(
    certificate: Arc<dyn ResolvesServerCert>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(Arc::new(Possession::new(provider.signature_verification_algorithms)))
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(all(test, feature = "world"))]
mod tests {
    use std::fs;

    use super::*;
    use crate::wire::listener::tests::{Folder, write_pair};

    #[tokio::test]
    async fn a_bad_pair_never_replaces_a_good_one() {
        let folder = Folder::new();
        let files = folder.files();
        write_pair(&files);
        let good = [fs::read(&files.certificate).unwrap(), fs::read(&files.key).unwrap()];
        let mut certificate = Certificate::load(files.clone()).await.unwrap();
        let served = certificate.current.load_full();
        write_pair(&files);
        let other = [fs::read(&files.certificate).unwrap(), fs::read(&files.key).unwrap()];

        let [none, malformed, pem] = [
            &b""[..],
            b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ];
        let bad: [(&[u8], &[u8], &str); 6] = [
            (&good[0], &other[1], "KeyMismatch"),
            (&other[0], &good[1], "KeyMismatch"),
            (none, &other[1], "holds no PEM certificate"),
            (malformed, &other[1], "is not well-formed PEM"),
            (pem, &other[1], "cannot be served together"),
            (&other[0], none, "holds no PEM private key"),
        ];
        for (chain, key, text) in bad {
            fs::write(&files.certificate, chain).unwrap();
            fs::write(&files.key, key).unwrap();
            let fault = certificate.refresh().await.unwrap_err().to_string();
            assert!(fault.contains(text), "{fault}");
            assert!(Arc::ptr_eq(&served, &certificate.current.load()), "{text}");
        }
        fs::remove_file(&files.key).unwrap();
        assert!(certificate.refresh().await.is_err());

        fs::write(&files.certificate, &good[0]).unwrap();
        fs::write(&files.key, &good[1]).unwrap();
        assert!(!certificate.refresh().await.unwrap(), "the pair that is served already");
        fs::write(&files.certificate, &other[0]).unwrap();
        fs::write(&files.key, &other[1]).unwrap();
        assert!(certificate.refresh().await.unwrap());
        assert!(!Arc::ptr_eq(&served, &certificate.current.load()));
    }

    #[tokio::test]
    async fn files_are_read_up_to_their_limit() {
        let folder = Folder::new();
        let files = folder.files();
        write_pair(&files);
        for (path, limit) in [(&files.certificate, MAX_CERTIFICATE_BYTES), (&files.key, MAX_KEY_BYTES)] {
            let short = fs::read(path).unwrap();
            let mut long = short.clone();
            long.resize(usize::try_from(limit).unwrap(), b'\n');
            fs::write(path, &long).unwrap();
            Certificate::load(files.clone()).await.unwrap();
            long.push(b'\n');
            fs::write(path, &long).unwrap();
            let fault = Certificate::load(files.clone()).await.unwrap_err();
            assert!(matches!(fault, PairFault::TooLong { .. }), "{fault}");
            fs::write(path, short).unwrap();
        }
    }

    #[test]
    fn a_fault_is_told_once_and_not_before_it_was_seen_twice() {
        let mut trouble = Trouble::default();
        let told = ["mismatch", "mismatch", "mismatch", "unreadable", "unreadable", "mismatch"]
            .map(|fault| trouble.is_news(fault.to_owned()));
        assert_eq!(told, [false, true, false, false, true, false]);
    }
}
