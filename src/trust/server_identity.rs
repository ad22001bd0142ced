//! Who a server must be before anything that it says is read.
//!
//! Never falls back from one way to another (FED-13), and resumes no session: each connection proves it anew.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::{Authorities, Chain, Leaf, Side};
use crate::clock::Timestamp;
use crate::identity::SpiffeId;
use crate::reason::quoted;

/// How the other side shows that it is who was meant.
#[derive(Clone)]
pub(super) enum Server {
    /// By its name, vouched for by the `ca` of the endpoint; without one by the system's authorities.
    Named,
    /// By its name, vouched for by the system's authorities or by the `ca` of the endpoint (`https_web`).
    NamedOnTheWeb,
    /// By an X.509-SVID, whatever its name (`https_spiffe`).
    Svid(ServerSvid),
    /// By its place: we ourselves, in plain http on a loopback address. No certificate vouches for it.
    Loopback,
}

/// The one X.509-SVID that a server may show (SPIFFE Federation §5.2.2.2).
#[derive(Clone)]
pub(super) struct ServerSvid {
    /// Exactly this identity.
    pub(super) id: SpiffeId,
    /// The authorities of its trust domain that may vouch for it.
    pub(super) authorities: Arc<Authorities>,
    /// When it is shown.
    pub(super) at: Timestamp,
}

impl Server {
    /// TLS settings that let no other server through. `ca` is the content of the endpoint's file, `path` its place.
    ///
    /// # Errors
    /// A sentence with what is wrong with the authorities.
    pub(super) fn tls(&self, ca: &[u8], path: Option<&Path>) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match self {
            Self::Named => builder.with_root_certificates(roots(ca, path, path.is_none())?),
            Self::NamedOnTheWeb => builder.with_root_certificates(roots(ca, path, true)?),
            Self::Loopback => builder.with_root_certificates(RootCertStore::empty()),
            Self::Svid(svid) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(svid.verifier(&provider)))
            }
        };
        let mut tls = builder.with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.resumption = Resumption::disabled();
        Ok(tls)
    }
}

/// The authorities of a file, the system's, or both.
fn roots(ca: &[u8], path: Option<&Path>, with_the_systems: bool) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = path {
        for certificate in CertificateDer::pem_slice_iter(ca) {
            let certificate = certificate.map_err(|error| format!("{} is no PEM file: {error}", path.display()))?;
            roots.add(certificate).map_err(|error| format!("a certificate of {}: {error}", path.display()))?;
        }
        if roots.is_empty() {
            return Err(format!("{} holds no certificate", path.display()));
        }
    }
    if with_the_systems {
        let (_added, _odd) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err("the system has no certificate authorities".to_owned());
    }
    Ok(roots)
}

impl ServerSvid {
    fn verifier(&self, provider: &CryptoProvider) -> SvidVerifier {
        SvidVerifier { svid: self.clone(), algorithms: provider.signature_verification_algorithms }
    }

    /// Leaf, name and chain, in this order.
    fn verify(&self, leaf_der: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), String> {
        let leaf = Leaf::read(leaf_der, Side::Server).ok_or("its certificate cannot be read as an X.509-SVID")?;
        match leaf.uris.as_slice() {
            [uri] if uri == self.id.as_str() => {}
            [uri] => return Err(format!("it is {}, and the source has server_id {}", quoted(uri), self.id)),
            uris => return Err(format!("its certificate has {} URI names, and an X.509-SVID has one", uris.len())),
        }
        if let Some(fault) = leaf.fault {
            return Err(format!("its certificate is no leaf of an X.509-SVID: {fault}"));
        }
        let chain = Chain { leaf: leaf_der, intermediates: intermediates.to_vec(), at: self.at };
        match chain.prove(&self.authorities, self.at, Side::Server) {
            Ok(_authority) => Ok(()),
            Err(why) => {
                let (count, domain) = (self.authorities.all().len(), self.id.trust_domain());
                Err(format!("none of {count} X.509 authorities of {domain} vouches for its X.509-SVID: {why}"))
            }
        }
    }
}

/// For rustls. The name that was dialled and the machine's clock do not count.
struct SvidVerifier {
    svid: ServerSvid,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for SvidVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fault = |why| CertificateError::Other(OtherError(Arc::new(NotTheServer(why))));
        self.svid.verify(leaf, intermediates).map_err(fault)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for SvidVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server must be {}", self.svid.id)
    }
}

/// Why a server is not the one that was meant, in words for the operator.
#[derive(Debug)]
pub(super) struct NotTheServer(pub(super) String);

impl fmt::Display for NotTheServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotTheServer {}
