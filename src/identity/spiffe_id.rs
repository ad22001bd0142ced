//! SPIFFE IDs and trust domains, byte for byte (SPIFFE-ID §2).
//!
//! Never folds, trims or decodes: text that is not canonical is refused, so one identity has one spelling (SID-04, SID-11).

use std::fmt;

/// Why text is not a SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// The text is longer than 2048 bytes (§2.3).
    #[error("a SPIFFE ID has at most 2048 bytes")]
    TooLong,
    /// The text does not start with `spiffe://`.
    #[error("a SPIFFE ID starts with spiffe:// in lower case")]
    Scheme,
    /// The trust domain is empty, over 255 bytes, or has other characters than `a-z 0-9 . - _`.
    #[error("a trust domain has 1 to 255 characters of a-z 0-9 . - _")]
    TrustDomain,
    /// There is no path, so no workload is named (SID-09).
    #[error("a workload's SPIFFE ID has a path")]
    NoPath,
    /// A segment is empty, `.`, `..`, or has other characters than `A-Z a-z 0-9 . - _`.
    #[error("each path segment has characters of A-Z a-z 0-9 . - _ and is neither empty, '.' nor '..'")]
    Path,
}

/// The name of a SPIFFE trust domain: `prod.example`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Reads a bare name, without `spiffe://`.
    ///
    /// # Errors
    /// [`SpiffeIdError::TrustDomain`] for anything outside §2.1.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        let fits = (1..=255).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'));
        if fits { Ok(Self(text.to_owned())) } else { Err(SpiffeIdError::TrustDomain) }
    }

    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SPIFFE ID of a workload: trust domain and path, canonical.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: String,
    path_at: usize,
}

impl SpiffeId {
    const SCHEME: &'static str = "spiffe://";

    /// Reads the whole URI.
    ///
    /// # Errors
    /// A [`SpiffeIdError`] for every form outside SPIFFE-ID §2, and for an ID without a path.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > 2048 {
            return Err(SpiffeIdError::TooLong);
        }
        let rest = text.strip_prefix(Self::SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
        TrustDomain::parse(domain)?;
        if rest.len() == domain.len() {
            return Err(SpiffeIdError::NoPath);
        }
        if !path.split('/').all(is_segment) {
            return Err(SpiffeIdError::Path);
        }
        Ok(Self { text: text.to_owned(), path_at: Self::SCHEME.len() + domain.len() })
    }

    /// Puts an ID together from a trust domain and path segments.
    ///
    /// # Errors
    /// As [`SpiffeId::parse`]; a segment is refused, never escaped (NOR-04).
    pub fn from_segments<'a>(
        domain: &TrustDomain,
        segments: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, SpiffeIdError> {
        let mut text = format!("{}{domain}", Self::SCHEME);
        for segment in segments {
            if !is_segment(segment) {
                return Err(SpiffeIdError::Path);
            }
            text.push('/');
            text.push_str(segment);
        }
        Self::parse(&text)
    }

    /// The URI, byte for byte as it was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path with its leading slash.
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }

    /// The segments of the path.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path().split('/').skip(1)
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.text.get(Self::SCHEME.len()..self.path_at).unwrap_or_default().to_owned())
    }

    /// Whether the ID is of that trust domain.
    pub fn is_member_of(&self, domain: &TrustDomain) -> bool {
        self.text.get(Self::SCHEME.len()..self.path_at) == Some(domain.as_str())
    }
}

/// Whether text may stand between two slashes of a SPIFFE ID's path (§2.2).
pub(super) fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sid_01_to_07_forms_inside_the_standard_are_read() {
        for text in [
            "spiffe://td/a",
            "spiffe://127.0.0.1/a",
            "spiffe://-a/b",
            "spiffe://a_b/c",
            "spiffe://a..b/c",
            "spiffe://td/...",
        ] {
            assert_eq!(SpiffeId::parse(text).map(|id| id.to_string()).as_deref(), Ok(text));
        }
        let longest = format!("spiffe://td/{}", "a".repeat(2048 - 12));
        assert!(SpiffeId::parse(&longest).is_ok());
        assert_eq!(SpiffeId::parse(&format!("{longest}a")), Err(SpiffeIdError::TooLong));
        assert!(TrustDomain::parse(&"a".repeat(255)).is_ok());
        assert!(TrustDomain::parse(&"a".repeat(256)).is_err());
    }

    #[test]
    fn sid_01_to_09_forms_outside_are_refused() {
        for text in [
            "",
            "spiffe",
            "spiffe://",
            "spiffe:///a",
            "http://td/a",
            "SPIFFE://td/a",
            "wimse://td/a",
            "spiffe://TD/a",
            "spiffe://td",
            "spiffe://td/",
            "spiffe://td?x",
            "spiffe://td/a?x",
            "spiffe://td/a#x",
            "spiffe://u@td/a",
            "spiffe://td:80/a",
            "spiffe://t d/a",
            "spiffe://%61/a",
            "spiffe://ü/a",
            "spiffe://*/a",
            "spiffe://[::1]/a",
            "spiffe://td/a//b",
            "spiffe://td/a/./b",
            "spiffe://td/a/../b",
            "spiffe://td/a/",
            "spiffe://td/a%2fb",
            "spiffe://td/a b",
            "spiffe://td/ä",
            " spiffe://td/a",
            "spiffe://td/a\n",
        ] {
            assert!(SpiffeId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parts_are_parts_of_the_text() {
        let id = SpiffeId::parse("spiffe://prod.example/ns/shop/sa/api").unwrap();
        assert_eq!(id.path(), "/ns/shop/sa/api");
        assert_eq!(id.trust_domain().as_str(), "prod.example");
        assert_eq!(id.segments().collect::<Vec<_>>(), ["ns", "shop", "sa", "api"]);
        let same = SpiffeId::from_segments(&id.trust_domain(), id.segments()).unwrap();
        assert_eq!(same, id);
        assert!(SpiffeId::from_segments(&id.trust_domain(), ["a/b"]).is_err());
    }
}
