//! What a stream of an agent carries: the JWT bundles, or the X.509 bundles. The loop around both is the agent's.
//!
//! The two never touch each other: what ends one stream takes nothing from the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use spiffe::{JwtBundle, WorkloadApiClient, WorkloadApiError};

use super::authorities::Authorities;
use super::engine::Shared;
use super::origin::Origin;
use super::source::{Confirmed, SourceKeys};
use crate::clock::Timestamp;
use crate::jose::{KeyPurpose, KeySet};

/// A message: the bundle of each trust domain that it names. A JWT bundle is one JWK Set, an X.509 bundle several certificates.
pub(super) type Message = BTreeMap<String, Vec<Vec<u8>>>;

/// Which bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bundles {
    /// `FetchJWTBundles`.
    Jwt,
    /// `FetchX509Bundles`.
    X509,
}

impl Bundles {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Jwt, Self::X509];

    /// Opens the stream.
    pub(super) async fn open(
        self,
        client: &WorkloadApiClient,
    ) -> Result<BoxStream<'static, Result<Message, WorkloadApiError>>, WorkloadApiError> {
        Ok(match self {
            Self::Jwt => {
                let messages = client.stream_jwt_bundles().await?;
                let read = |bundles: spiffe::JwtBundleSet| {
                    let bundles = bundles.iter();
                    bundles.map(|(domain, bundle)| (domain.as_str().to_owned(), vec![document(bundle)])).collect()
                };
                messages.map(move |message| message.map(read)).boxed()
            }
            Self::X509 => {
                let messages = client.stream_x509_bundles().await?;
                let read = |bundles: spiffe::X509BundleSet| {
                    let certificates = |bundle: &spiffe::X509Bundle| {
                        bundle.authorities().iter().map(|one| one.as_bytes().to_vec()).collect()
                    };
                    let bundles = bundles.iter();
                    bundles.map(|(domain, bundle)| (domain.as_str().to_owned(), certificates(bundle))).collect()
                };
                messages.map(move |message| message.map(read)).boxed()
            }
        })
    }

    /// Asks for one message, to see that the agent lives.
    pub(super) async fn ask(self, client: &WorkloadApiClient) -> Result<(), WorkloadApiError> {
        match self {
            Self::Jwt => client.fetch_jwt_bundles().await.map(drop),
            Self::X509 => client.fetch_x509_bundles().await.map(drop),
        }
    }

    /// What the message names for the source is published; what it does not name is withdrawn (WAP-06).
    pub(super) fn publish(self, shared: &Shared, source: &Arc<SourceKeys>, message: &Message) {
        let Origin::WorkloadApi { trust_domain, .. } = &source.origin else { return };
        let bundle = message.get(trust_domain.as_str());
        match self {
            Self::Jwt => {
                let document = bundle.and_then(|bundle| bundle.first());
                let set = document
                    .map_or_else(|| Ok(KeySet::default()), |document| KeySet::parse(document, KeyPurpose::WorkloadApi));
                match set {
                    Ok(set) => {
                        shared.ledger.publish(source, set, Confirmed::WhileOpen);
                        source.succeeded();
                    }
                    Err(fault) => {
                        shared.ledger.disconnect(source, shared.clock.now());
                        source.failed(format!("the bundle of {trust_domain} is no key set: {fault}"));
                    }
                }
            }
            Self::X509 => {
                let set = Authorities::of(bundle.into_iter().flatten().map(Vec::as_slice));
                source.vouches_by(set, Confirmed::WhileOpen);
            }
        }
    }

    /// An attempt begins.
    pub(super) fn began(self, source: &SourceKeys, now: Timestamp) {
        if self == Self::Jwt {
            source.began(now, true);
        }
    }

    /// The stream is gone since `now`.
    pub(super) fn disconnect(self, shared: &Shared, source: &Arc<SourceKeys>, now: Timestamp) {
        match self {
            Self::Jwt => shared.ledger.disconnect(source, now),
            Self::X509 => source.authorities.disconnect(now),
        }
    }

    /// Everything counts as withdrawn from `ends` on.
    pub(super) fn end_at(self, shared: &Shared, source: &Arc<SourceKeys>, ends: Timestamp) {
        match self {
            Self::Jwt => shared.ledger.end_at(source, ends),
            Self::X509 => source.authorities.end_at(ends),
        }
    }

    /// Gives up for good what has ended. Readers of authorities see the end by themselves.
    pub(super) fn withdraw_ended(self, shared: &Shared, source: &Arc<SourceKeys>, now: Timestamp) {
        match self {
            Self::Jwt => shared.ledger.withdraw_ended(source, now),
            Self::X509 if source.authorities.ends().is_some_and(|ends| ends <= now) => {
                source.vouches_no_more(now);
            }
            Self::X509 => {}
        }
    }

    /// An attempt failed.
    pub(super) fn failed(self, source: &SourceKeys, why: String) {
        match self {
            Self::Jwt => source.failed(why),
            Self::X509 => source.authorities.note(source.name.as_str(), Some(why)),
        }
    }

    /// When the next attempt is due.
    pub(super) fn plan(self, source: &SourceKeys, next: Option<Timestamp>) {
        if self == Self::Jwt {
            source.plan(next);
        }
    }

    /// Nobody need wait for this stream any more.
    pub(super) fn attempted(self, source: &SourceKeys) {
        match self {
            Self::Jwt => source.attempted(),
            Self::X509 => source.authorities.attempted(),
        }
    }
}

/// The crate gives single keys only, and the last one of two with one `kid`; in order of their ids they are a set again.
fn document(bundle: &JwtBundle) -> Vec<u8> {
    let mut keys: Vec<(&str, &[u8])> =
        bundle.jwt_authorities().map(|authority| (authority.key_id(), authority.jwk_json())).collect();
    keys.sort_unstable();
    let keys: Vec<&[u8]> = keys.into_iter().map(|(_, jwk)| jwk).collect();
    [b"{\"keys\":[".as_slice(), &keys.join(b",".as_slice()), b"]}"].concat()
}
