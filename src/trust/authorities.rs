//! The X.509 authorities of a trust domain: which certificates may vouch for an X.509-SVID.
//!
//! Only authorities that a source published, never the system's (SCA-10). Judges no chain.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use base64ct::{Base64, Encoding};
use rustls::pki_types::{CertificateDer, TrustAnchor};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::source::Confirmed;
use crate::clock::Timestamp;
use crate::jose::{Value, parse_object};

/// Most authorities of one trust domain. Real ones have one to three.
const MOST_AUTHORITIES: usize = 100;
/// An authority's certificate has 1 to 2 KiB.
const LONGEST_CERTIFICATE: usize = 16 * 1024;

/// Certificates that may vouch: those of a set that are authorities.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Authorities {
    all: Vec<Authority>,
    skipped: usize,
}

/// One authority.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    fingerprint: String,
    from: Timestamp,
    until: Timestamp,
}

impl Authority {
    /// What a chain may end at.
    pub const fn anchor(&self) -> &TrustAnchor<'static> {
        &self.anchor
    }

    /// SHA-256 of its certificate in hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether it is within its own time.
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    /// When its own time ends.
    pub(super) const fn until(&self) -> Timestamp {
        self.until
    }

    /// `None` for a certificate that is no authority: without the CA flag, or without the right to sign certificates (XSV-02).
    fn read(der: &[u8]) -> Option<Self> {
        if der.len() > LONGEST_CERTIFICATE {
            return None;
        }
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        let signs = parsed.key_usage().ok()?.is_some_and(|usage| usage.value.key_cert_sign());
        if !rest.is_empty() || !parsed.is_ca() || !signs {
            return None;
        }
        let certificate = CertificateDer::from(der.to_vec());
        let anchor = webpki::anchor_from_trusted_cert(&certificate).ok()?.to_owned();
        let validity = parsed.validity();
        Some(Self {
            anchor,
            fingerprint: hexadecimal(digest::digest(&digest::SHA256, der).as_ref()),
            from: Timestamp::from_seconds(validity.not_before.timestamp()),
            until: Timestamp::from_seconds(validity.not_after.timestamp())
                .plus(crate::clock::Lifetime::from_seconds(1)),
            certificate,
        })
    }
}

impl Authorities {
    /// The authorities among certificates, each DER.
    pub(super) fn of<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut found = Self::default();
        for certificate in certificates {
            match Authority::read(certificate).filter(|_| found.all.len() < MOST_AUTHORITIES) {
                Some(authority) if found.all.contains(&authority) => {}
                Some(authority) => found.all.push(authority),
                None => found.skipped += 1,
            }
        }
        found
    }

    /// The authorities of a SPIFFE bundle document: the first certificate of each entry with `use: x509-svid` (XSV-06).
    ///
    /// # Errors
    /// A sentence, when it is no document with keys.
    pub(super) fn of_bundle(document: &[u8]) -> Result<Self, String> {
        let document = parse_object(document).map_err(|fault| fault.to_string())?;
        let keys = document.array("keys").ok_or("there is no array \"keys\"")?;
        let mut certificates = Vec::new();
        for key in keys {
            let Value::Object(key) = key else { continue };
            // BUN-03: without a key type it is no key.
            if key.text("use") != Some("x509-svid") || key.text("kty").is_none() {
                continue;
            }
            let first = key.array("x5c").and_then(|chain| chain.first());
            if let Some(Value::String(text)) = first {
                // What is no base64 is no certificate either, and counted as such.
                certificates.push(Base64::decode_vec(text).unwrap_or_default());
            }
        }
        Ok(Self::of(certificates.iter().map(Vec::as_slice)))
    }

    /// As they are kept in files: each certificate in base64.
    pub(super) fn to_base64(&self) -> Vec<String> {
        self.all.iter().map(|authority| Base64::encode_string(&authority.certificate)).collect()
    }

    /// As they were kept. What is no authority is passed over.
    pub(super) fn of_base64(texts: &[Value]) -> Self {
        let der = |text: &Value| match text {
            Value::String(text) => Base64::decode_vec(text).unwrap_or_default(),
            _ => Vec::new(),
        };
        let certificates: Vec<_> = texts.iter().map(der).collect();
        Self::of(certificates.iter().map(Vec::as_slice))
    }

    /// Those that are also among others.
    pub(super) fn common_with(&self, others: &Self) -> Self {
        let common = self.all.iter().filter(|authority| others.all.contains(authority));
        Self { all: common.cloned().collect(), skipped: 0 }
    }

    /// SHA-256 of what they are, in hexadecimal, whatever their order.
    pub(super) fn fingerprint(&self) -> String {
        let mut all: Vec<&str> = self.all.iter().map(Authority::fingerprint).collect();
        all.sort_unstable();
        hexadecimal(digest::digest(&digest::SHA256, all.concat().as_bytes()).as_ref())
    }

    /// All of them, also those that are not within their time.
    pub fn all(&self) -> &[Authority] {
        &self.all
    }

    /// Certificates that were passed over.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} X.509 authorities]", self.all.len())
    }
}

/// The digits of a digest.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a source holds of X.509, by the same rules as its keys: each message is the whole truth, a stream that is down takes
/// nothing away, an agent that says no does in time (WAP-06, WAP-09).
pub(super) struct Shelf {
    held: ArcSwapOption<Held>,
    trouble: ArcSwapOption<String>,
    first_attempt: watch::Sender<bool>,
}

#[derive(Clone)]
struct Held {
    set: Arc<Authorities>,
    confirmed: Confirmed,
    ends: Option<Timestamp>,
}

impl Shelf {
    /// An empty one. `awaited`: authorities can come, so whoever waits for first attempts waits for them too.
    pub(super) fn new(awaited: bool) -> Self {
        Self {
            held: ArcSwapOption::empty(),
            trouble: ArcSwapOption::empty(),
            first_attempt: watch::Sender::new(!awaited),
        }
    }

    /// The source says that these are its authorities.
    pub(super) fn publish(&self, source: &str, set: Authorities, confirmed: Confirmed) {
        let before = self.held.load();
        let set = match before.as_ref() {
            Some(held) if *held.set == set => Arc::clone(&held.set),
            _ => {
                tracing::info!(source, authorities = set.all.len(), "{source} has {} X.509 authorities", set.all.len());
                Arc::new(set)
            }
        };
        self.held.store(Some(Arc::new(Held { set, confirmed, ends: None })));
    }

    /// All is well, or what is not. Logged when the sentence changes.
    pub(super) fn note(&self, source: &str, trouble: Option<String>) {
        let before = self.trouble.load_full();
        if before.as_deref() != trouble.as_ref() {
            match &trouble {
                Some(why) => tracing::warn!(source, "X.509 authorities of {source}: {why}"),
                None => tracing::info!(source, "X.509 authorities of {source}: all is well again"),
            }
            self.trouble.store(trouble.map(Arc::new));
        }
        self.attempted();
    }

    /// The stream that confirmed them is gone since `now`.
    pub(super) fn disconnect(&self, now: Timestamp) {
        self.change(|held| {
            if held.confirmed == Confirmed::WhileOpen {
                held.confirmed = Confirmed::At(now);
            }
        });
    }

    /// They serve until `ends` and then count as withdrawn; an earlier end stays.
    pub(super) fn end_at(&self, ends: Timestamp) {
        self.change(|held| held.ends = Some(held.ends.map_or(ends, |earlier| earlier.min(ends))));
    }

    fn change(&self, change: impl Fn(&mut Held)) {
        self.held.rcu(|held| {
            held.as_ref().map(|held| {
                let mut new = Held::clone(held);
                change(&mut new);
                Arc::new(new)
            })
        });
    }

    /// What is held at `at`, and when it was last confirmed; an end that has come leaves an empty set.
    pub(super) fn at(&self, at: Timestamp) -> Option<(Arc<Authorities>, Timestamp)> {
        let held = self.held.load_full()?;
        Some(match (held.ends, held.confirmed) {
            (Some(ends), _) if ends <= at => (Arc::default(), ends),
            (_, Confirmed::At(confirmed_at)) => (Arc::clone(&held.set), confirmed_at),
            (_, Confirmed::WhileOpen) => (Arc::clone(&held.set), at),
        })
    }

    /// When everything ends, if the agent has said so.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        self.held.load().as_ref().and_then(|held| held.ends)
    }

    /// What is wrong at this moment.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.load().as_ref().map(|why| why.as_ref().clone())
    }

    /// Nobody need wait any more.
    pub(super) fn attempted(&self) {
        self.first_attempt.send_replace(true);
    }

    pub(super) async fn first_attempt(&self) {
        // The sender lives in `self`: waiting ends only when an attempt has.
        let _ = self.first_attempt.subscribe().wait_for(|ended| *ended).await;
    }
}
