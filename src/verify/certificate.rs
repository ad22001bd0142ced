//! The binding of a token to the certificate of a connection.
//!
//! Reads; builds no chain and judges no authority. Nothing here is verified.

use aws_lc_rs::digest;
use base64ct::{Base64UrlUnpadded, Encoding};

use super::Binding;
use crate::clock::Timestamp;
use crate::credential::PeerChain;
use crate::identity::Confirmation;
use crate::trust::{Leaf, Side};

/// The member `x5t#S256` of a token that is bound to the leaf: SHA-256 of its DER in base64url (RFC 8705 §3.1). Empty without a leaf.
pub fn x5t_s256(chain: &PeerChain) -> String {
    let leaf = chain.0.first().map(Vec::as_slice).unwrap_or_default();
    Base64UrlUnpadded::encode_string(digest::digest(&digest::SHA256, leaf).as_ref())
}

/// What a token can be bound to by the certificate of its connection, whoever issued it: the handshake proved the key. It ends with
/// the certificate (MTL-09). A certificate that cannot be read or is not within its time at `at` binds nothing.
pub fn certificate_binding(chain: &PeerChain, at: Timestamp) -> Option<Binding> {
    let leaf = Leaf::read(chain.0.first()?, Side::Client)?;
    let is_valid = leaf.not_before <= at && at < leaf.ends_at;
    is_valid.then(|| Binding { confirmation: Confirmation::Certificate(x5t_s256(chain)), ends: Some(leaf.ends_at) })
}
