//! What an X.509-SVID must be, whichever side shows it: the rules of its leaf, and a chain that ends at an authority (X509-SVID §4, §5).
//!
//! Never decides whose authorities count: the caller names them. Revocation lists are not asked.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Authorities;
use crate::clock::Timestamp;

/// A serial number has at most 20 octets (RFC 5280 §4.1.2.2).
const LONGEST_SERIAL: usize = 20;

/// The side of a connection that shows the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It called us.
    Client,
    /// We called it.
    Server,
}

/// A leaf as it was shown. Nothing in it is verified.
pub struct Leaf {
    /// Every URI name, in order.
    pub uris: Vec<String>,
    /// The first rule of a leaf that it breaks (X509-SVID §4).
    pub fault: Option<&'static str>,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// `notBefore`.
    pub not_before: Timestamp,
    /// `notAfter`. RFC 5280 §4.1.2.5 has that second within; here it is the end, so that no token is valid in it (MTL-09).
    pub ends_at: Timestamp,
}

impl Leaf {
    /// Reads one certificate. `None` when it is none, or when something follows it.
    pub fn read(der: &[u8], side: Side) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() || parsed.raw_serial().len() > LONGEST_SERIAL + 1 {
            return None;
        }
        let names = parsed.subject_alternative_name().ok()?;
        let names = names.iter().flat_map(|extension| &extension.value.general_names);
        let uris = names.filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
        let validity = parsed.validity();
        Some(Self {
            uris: uris.collect(),
            fault: fault(&parsed, side),
            serial: parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            not_before: Timestamp::from_seconds(validity.not_before.timestamp()),
            ends_at: Timestamp::from_seconds(validity.not_after.timestamp()),
        })
    }
}

/// X509-SVID §4.1, §4.3, §4.4: what a leaf must be.
fn fault(leaf: &X509Certificate<'_>, side: Side) -> Option<&'static str> {
    let (Ok(constraints), Ok(usage), Ok(purposes)) =
        (leaf.basic_constraints(), leaf.key_usage(), leaf.extended_key_usage())
    else {
        return Some("an extension is there twice or cannot be read");
    };
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Some("it is a certificate authority");
    }
    let Some(usage) = usage else { return Some("it has no key usage") };
    if !usage.critical {
        return Some("its key usage is not critical");
    }
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Some("its key may sign certificates or revocation lists");
    }
    if !usage.value.digital_signature() {
        return Some("its key is not for digital signatures");
    }
    match (purposes, side) {
        (Some(purposes), Side::Client) if !purposes.value.client_auth => {
            Some("its extended key usage does not name clientAuth")
        }
        (Some(purposes), Side::Server) if !purposes.value.server_auth => {
            Some("its extended key usage does not name serverAuth")
        }
        _ => None,
    }
}

/// A chain that is to be proven, and the time for which.
pub struct Chain<'a> {
    /// The leaf, DER.
    pub leaf: &'a [u8],
    /// What stands between it and an authority, as far as it was shown.
    pub intermediates: Vec<CertificateDer<'a>>,
    /// The time for which certificates of the chain must be valid. Authorities must be so now.
    pub at: Timestamp,
}

impl Chain<'_> {
    /// RFC 5280 §6 by webpki: signatures, validity, name and basic constraints, usages of the whole chain. The fingerprint of the
    /// authority at its end, which is one of `authorities` and never one of the system's (SCA-10). Looks at no URI name.
    ///
    /// # Errors
    /// What webpki says of the best path.
    pub fn prove(&self, authorities: &Authorities, now: Timestamp, side: Side) -> Result<String, webpki::Error> {
        let valid: Vec<_> = authorities.all().iter().filter(|authority| authority.is_valid_at(now)).collect();
        let anchors: Vec<TrustAnchor<'_>> = valid.iter().map(|authority| authority.anchor().clone()).collect();
        let leaf = CertificateDer::from(self.leaf);
        let leaf = EndEntityCert::try_from(&leaf)?;
        let time =
            UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(self.at.seconds()).unwrap_or_default()));
        let usage = match side {
            Side::Client => KeyUsage::client_auth(),
            Side::Server => KeyUsage::server_auth(),
        };
        let verified =
            leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &self.intermediates, time, usage, None, None)?;
        let end = valid.iter().find(|authority| authority.anchor() == verified.anchor());
        Ok(end.map_or_else(String::new, |authority| authority.fingerprint().to_owned()))
    }
}
