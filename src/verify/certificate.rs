//! What stands in a certificate, as far as X.509-SVIDs need it, and the binding of a token to one.
//!
//! Reads; builds no chain and judges no authority. Nothing here is verified.

use aws_lc_rs::digest;
use base64ct::{Base64UrlUnpadded, Encoding};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Binding;
use crate::clock::Timestamp;
use crate::credential::PeerChain;
use crate::identity::Confirmation;

/// A serial number has at most 20 octets (RFC 5280 §4.1.2.2).
const LONGEST_SERIAL: usize = 20;

/// A leaf as it was shown.
pub(super) struct Leaf {
    /// Every URI name, in order.
    pub(super) uris: Vec<String>,
    /// The first rule of a leaf that it breaks (X509-SVID §4).
    pub(super) fault: Option<&'static str>,
    /// The serial number in hexadecimal.
    pub(super) serial: String,
    pub(super) not_before: Timestamp,
    /// `notAfter`. RFC 5280 §4.1.2.5 has that second within; here it is the end, so that no token is valid in it (MTL-09).
    pub(super) ends_at: Timestamp,
}

impl Leaf {
    /// Reads one certificate. `None` when it is none, or when something follows it.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
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
            fault: fault(&parsed),
            serial: parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            not_before: Timestamp::from_seconds(validity.not_before.timestamp()),
            ends_at: Timestamp::from_seconds(validity.not_after.timestamp()),
        })
    }
}

/// X509-SVID §4.1, §4.3, §4.4: what a leaf must be.
fn fault(leaf: &X509Certificate<'_>) -> Option<&'static str> {
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
    if purposes.is_some_and(|purposes| !purposes.value.client_auth) {
        return Some("its extended key usage does not name clientAuth");
    }
    None
}

/// The member `x5t#S256` of a token that is bound to the leaf: SHA-256 of its DER in base64url (RFC 8705 §3.1). Empty without a leaf.
pub fn x5t_s256(chain: &PeerChain) -> String {
    let leaf = chain.0.first().map(Vec::as_slice).unwrap_or_default();
    Base64UrlUnpadded::encode_string(digest::digest(&digest::SHA256, leaf).as_ref())
}

/// What a token can be bound to by the certificate of its connection, whoever issued it: the handshake proved the key. It ends with
/// the certificate (MTL-09). A certificate that cannot be read or is not within its time at `at` binds nothing.
pub fn certificate_binding(chain: &PeerChain, at: Timestamp) -> Option<Binding> {
    let leaf = Leaf::read(chain.0.first()?)?;
    let is_valid = leaf.not_before <= at && at < leaf.ends_at;
    is_valid.then(|| Binding { confirmation: Confirmation::Certificate(x5t_s256(chain)), ends: Some(leaf.ends_at) })
}
