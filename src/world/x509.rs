//! The certificates of the pretend world: CAs, servers and X.509-SVIDs.
//!
//! Never checks one; a certificate comes out exactly as spoiled as its parameters say.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use crate::clock::{Lifetime, Timestamp};
use crate::secret::Secret;

use super::WorldFault;

/// How long the CA of a trust domain lives by the world's clock: longer than any laptop session.
const CA_LIFETIME: Lifetime = Lifetime::from_hours(24 * 365);
/// TLS clients judge a server by the machine's time, while the world's clock may stand anywhere. 2020-01-01 to 2049-12-31.
const SERVER_TIMES: Times = (Timestamp::from_seconds(1_577_836_800), Timestamp::from_seconds(2_524_521_600));
/// Certificates start a little before they are made, as SPIRE's do, for clocks that are behind.
const BACKDATED: Lifetime = Lifetime::from_seconds(10);

/// A certificate authority with an ECDSA P-256 key.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl CertificateAuthority {
    /// The CA of a SPIFFE trust domain: its only URI name is `spiffe://<trust domain>` (X509-SVID §3.1, §4.1).
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn for_trust_domain(name: &str, now: Timestamp) -> Result<Self, WorldFault> {
        let mut params = ca_params(name, (now.minus(BACKDATED), now.plus(CA_LIFETIME)))?;
        params.subject_alt_names.push(uri(&format!("spiffe://{name}"))?);
        Self::from_params(params)
    }

    /// The CA of a server that is known by a plain CA file.
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn for_servers(name: &str) -> Result<Self, WorldFault> {
        Self::from_params(ca_params(name, SERVER_TIMES)?)
    }

    /// A self-signed authority from any parameters, for tests that spoil one thing.
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn from_params(params: CertificateParams) -> Result<Self, WorldFault> {
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Signs a certificate for a new ECDSA P-256 key, from any parameters.
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn issue(&self, params: &CertificateParams) -> Result<Certified, WorldFault> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Certified {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key: Secret::new("private key", key.serialize_der()),
            key_pem: Secret::new("private key", key.serialize_pem()),
        })
    }

    /// Makes an authority below this one, from any parameters, and its certificate.
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn subordinate(&self, params: CertificateParams) -> Result<Self, WorldFault> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Its certificate, DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its entry in a SPIFFE bundle (X509-SVID §6.1): no `kid`, one `x5c`.
    pub fn bundle_key(&self) -> Value {
        let mut key =
            json!({ "use": "x509-svid", "kty": "EC", "crv": "P-256", "x5c": [Base64::encode_string(self.der())] });
        // Uncompressed SEC 1 point: 0x04, x, y.
        if let ([4, point @ ..], Some(members)) = (self.issuer.key().public_key_raw(), key.as_object_mut()) {
            let (x, y) = point.split_at(point.len() / 2);
            members.insert(String::from("x"), Value::from(Base64UrlUnpadded::encode_string(x)));
            members.insert(String::from("y"), Value::from(Base64UrlUnpadded::encode_string(y)));
        }
        key
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateAuthority")
    }
}

/// A certificate with its private key.
#[derive(Debug)]
pub struct Certified {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: Secret<Vec<u8>>,
    key_pem: Secret<String>,
}

impl Certified {
    /// The certificate, DER. It is signed by the CA itself, so this is the whole chain.
    pub const fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key, PKCS#8 DER.
    pub const fn key(&self) -> &Secret<Vec<u8>> {
        &self.key
    }

    /// The private key, PKCS#8 PEM.
    pub const fn key_pem(&self) -> &Secret<String> {
        &self.key_pem
    }

    /// The private key, for rustls.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.expose().clone()).into()
    }
}

/// Parameters of a good X.509-SVID leaf, to start from (X509-SVID §2, §4): exactly one URI name.
///
/// # Errors
/// When `spiffe_id` is not ASCII.
pub fn svid_params(spiffe_id: &str, now: Timestamp, lifetime: Lifetime) -> Result<CertificateParams, WorldFault> {
    let mut params = leaf_params("countersign pretend workload", (now.minus(BACKDATED), now.plus(lifetime)))?;
    params.subject_alt_names.push(uri(spiffe_id)?);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// Parameters of a loopback TLS server.
pub(super) fn server_params(name: &str) -> Result<CertificateParams, WorldFault> {
    let mut params = leaf_params(name, SERVER_TIMES)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    for host in ["localhost", "kubernetes.default.svc"] {
        params.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(host)?));
    }
    Ok(params)
}

/// TLS server settings with the one crypto backend, HTTP/2 and HTTP/1.1.
pub(super) fn server_config(identity: &Certified) -> Result<Arc<rustls::ServerConfig>, WorldFault> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![identity.der().clone()], identity.private_key())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// From and until.
type Times = (Timestamp, Timestamp);

fn ca_params(name: &str, times: Times) -> Result<CertificateParams, WorldFault> {
    let mut params = base_params(name, times)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf_params(name: &str, times: Times) -> Result<CertificateParams, WorldFault> {
    let mut params = base_params(name, times)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn base_params(name: &str, (from, until): Times) -> Result<CertificateParams, WorldFault> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, name);
    params.not_before = moment(from)?;
    params.not_after = moment(until)?;
    Ok(params)
}

fn uri(text: &str) -> Result<SanType, WorldFault> {
    Ok(SanType::URI(Ia5String::try_from(text)?))
}

fn moment(at: Timestamp) -> Result<time::OffsetDateTime, WorldFault> {
    time::OffsetDateTime::from_unix_timestamp(at.seconds())
        .map_err(|error| WorldFault::Refused(format!("a certificate's time: {error}")))
}
