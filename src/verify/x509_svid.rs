//! X.509-SVIDs (SPIFFE X509-SVID, draft-ietf-oauth-spiffe-client-auth-02 §3.2), anew for every request of a connection.
//!
//! The authorities are those of the trust domain in the leaf's own SPIFFE ID and no others (XSV-05), never the system's (SCA-10).
//! That the caller has the key was proven by the handshake. Revocation lists are not asked: SVIDs live for hours.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;

use super::certificate::x5t_s256;
use super::{Evidence, Verifier, Vouched, find_key, jwt_svid, validity};
use crate::clock::Timestamp;
use crate::credential::PeerChain;
use crate::identity::{Assurance, Confirmation, CredentialFacts, CredentialKind, SpiffeId, WorkloadIdentity};
use crate::reason::{Misshapen, Refusal, Unverified, quoted};
use crate::trust::{Chain, Leaf, Reuse, Side, SourceKind, TrustedSource};

/// Verifies the certificates of a connection as they stand at this moment: leaf, source, chain, then time.
pub(super) fn verify(verifier: &Verifier<'_>, chain: &PeerChain, evidence: &mut Evidence) -> Result<Vouched, Refusal> {
    evidence.kind = Some(CredentialKind::X509Svid);
    let Some((leaf_der, intermediates)) = chain.0.split_first() else {
        return Err(Refusal::internal("a chain without a certificate was shown"));
    };
    let hash = digest::digest(&digest::SHA256, leaf_der);
    evidence.fingerprint = Some(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect());
    let leaf = Leaf::read(leaf_der, Side::Client).ok_or_else(|| {
        let sentence = "The certificate of this connection cannot be read as an X.509-SVID.";
        Refusal::misshapen(Misshapen::CredentialMalformed, sentence, "it does not parse, or names stand in it twice")
    })?;
    evidence.shown_subject = leaf.uris.first().cloned();
    let id = subject(&leaf)?;
    let sources = verifier.trust.of_trust_domain(&id.trust_domain());
    if sources.is_empty() {
        let note = format!("trust domain {} is not configured; nothing was fetched", id.trust_domain());
        return Err(Refusal::unverified(Unverified::SourceUnknown, note));
    }
    let intermediates = intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let path = Chain { leaf: leaf_der, intermediates, at: within(&leaf, verifier.at) };
    let (source, authority) = vouched_by(sources, &path, verifier.at)?;
    evidence.source = Some(source.settings.name.clone());
    evidence.authority = Some(authority);
    let times = validity::Times {
        expires: leaf.ends_at,
        not_before: Some(leaf.not_before),
        issued_at: Some(leaf.not_before),
        of: &validity::CERTIFICATE,
    };
    let window = validity::judge(&times, source, verifier.at)?;
    let SourceKind::Spiffe { trust_domain, paths, .. } = &source.settings.kind else {
        return Err(Refusal::internal("an X.509-SVID was routed to a source that is no trust domain"));
    };
    let identity = WorkloadIdentity {
        source: source.settings.name.clone(),
        kind: CredentialKind::X509Svid,
        attributes: jwt_svid::attributes(&id, trust_domain, paths),
        credential: CredentialFacts {
            id: leaf.serial,
            key_id: None,
            issued_at: window.issued_at,
            expires_at: window.ends_at,
        },
        assurance: Assurance::Bound(Confirmation::Certificate(x5t_s256(chain))),
        id,
    };
    // Whoever has seen a certificate cannot show it: its key is proven in each handshake, so it may be shown again.
    Ok(Vouched::unasked(identity, Reuse::Allowed))
}

/// The SPIFFE ID of a leaf that may be one: exactly one URI name (XSV-01), and the usages of a leaf (XSV-02 to XSV-04).
fn subject(leaf: &Leaf) -> Result<SpiffeId, Refusal> {
    let refused = |note: String| Refusal::unverified(Unverified::SubjectInvalid, note);
    let [uri] = leaf.uris.as_slice() else {
        return Err(refused(format!("a leaf has exactly one URI name, this one has {}", leaf.uris.len())));
    };
    let id = SpiffeId::parse(uri)
        .map_err(|why| refused(format!("the URI name {} is no SPIFFE ID of a workload: {why}", quoted(uri))))?;
    match leaf.fault {
        None => Ok(id),
        Some(fault) => Err(refused(format!("{id} shows a certificate that is no leaf of an X.509-SVID: {fault}"))),
    }
}

/// The moment within the leaf's own time that is nearest to now: a leaf that is over, or not valid yet, is proven genuine first
/// and refused for its time then, in words that only its owner hears.
fn within(leaf: &Leaf, at: Timestamp) -> Timestamp {
    at.max(leaf.not_before).min(leaf.ends_at)
}

/// The first source, in the order of the configuration, whose authorities vouch for the leaf, and the authority.
fn vouched_by<'a>(
    sources: &'a [Arc<TrustedSource>],
    path: &Chain<'_>,
    at: Timestamp,
) -> Result<(&'a Arc<TrustedSource>, String), Refusal> {
    let (mut unusable, mut fault, mut tried) = (None, None, 0);
    for source in sources {
        let authorities = match source.authorities_at(at) {
            Ok(authorities) => authorities,
            Err(why) => {
                unusable.get_or_insert((source, why));
                continue;
            }
        };
        tried += authorities.all().len();
        match path.prove(&authorities, at, Side::Client) {
            Ok(authority) => return Ok((source, authority)),
            Err(why) => fault = Some(why),
        }
    }
    // A source that cannot be asked may have the authority: that is not the caller's fault.
    if let Some((source, why)) = unusable {
        return Err(find_key::refuse_unusable(&source.settings.name, &why));
    }
    if tried == 0 {
        let note = "the trust domain has no X.509 authorities: every X.509-SVID by it is withdrawn";
        return Err(Refusal::unverified(Unverified::KeyUnknown, note));
    }
    let why = fault.map_or_else(String::new, |why| format!(": {why}"));
    let note = format!("none of {tried} X.509 authorities vouches for it{why}");
    Err(Refusal::unverified(Unverified::SignatureInvalid, note))
}
