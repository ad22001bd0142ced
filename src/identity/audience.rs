//! Audiences and issuers: text that is compared byte for byte.
//!
//! URLs are judged here once and never rewritten: what was configured is what is compared and published.

use std::fmt;

use url::Url;

/// Why text is not an audience or issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudienceError {
    /// Empty, over 2048 bytes, or with white space or control characters.
    #[error("it has 1 to 2048 bytes without white space")]
    Text,
    /// Not an absolute URI.
    #[error("it is an absolute URI such as https://orders.example")]
    NotAbsolute,
    /// It has a fragment (RFC 8707 §2).
    #[error("it has no fragment")]
    Fragment,
    /// An issuer has neither query nor user information (RFC 8414 §2).
    #[error("it has no query and no user information")]
    Query,
    /// An issuer is https; http only on a loopback host.
    #[error("it is an https URL; http only with a loopback host while the listener has no TLS")]
    Scheme,
}

/// A value of `aud` that tokens are made for: an absolute URI without a fragment (RFC 8707 §2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audience(String);

impl Audience {
    /// Reads an absolute URI.
    ///
    /// # Errors
    /// [`AudienceError`] for relative URIs, fragments and white space.
    pub fn parse(text: &str) -> Result<Self, AudienceError> {
        if text.is_empty() || text.len() > 2048 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(AudienceError::Text);
        }
        if text.contains('#') {
            return Err(AudienceError::Fragment);
        }
        if !has_scheme(text) || Url::parse(text).is_err() {
            return Err(AudienceError::NotAbsolute);
        }
        Ok(Self(text.to_owned()))
    }

    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether text starts with a scheme and has something behind it. `Url` alone takes `https:x` for `https://x/`.
fn has_scheme(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let special = ["http", "https", "ws", "wss", "ftp"].iter().any(|name| scheme.eq_ignore_ascii_case(name));
    !rest.is_empty() && (!special || rest.starts_with("//"))
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Our own issuer identifier (RFC 8414 §2), compared and published byte for byte.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IssuerUrl(String);

impl IssuerUrl {
    /// Reads an issuer. `http` is taken only with a loopback host; whether the listener allows it is the configuration's check.
    ///
    /// # Errors
    /// [`AudienceError`] for everything outside RFC 8414 §2.
    pub fn parse(text: &str) -> Result<Self, AudienceError> {
        Audience::parse(text)?;
        let url = Url::parse(text).map_err(|_not_a_url| AudienceError::NotAbsolute)?;
        if url.query().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(AudienceError::Query);
        }
        match (url.scheme(), url.host()) {
            ("https", Some(_)) => Ok(Self(text.to_owned())),
            ("http", Some(host)) if is_loopback(&host) => Ok(Self(text.to_owned())),
            _ => Err(AudienceError::Scheme),
        }
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is plain http (loopback).
    pub fn is_plain_http(&self) -> bool {
        self.0.starts_with("http:")
    }

    /// The host without port; what `identity_domain` is unless set.
    pub fn host(&self) -> String {
        Url::parse(&self.0).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The path without its last slash: empty for most issuers.
    pub fn path(&self) -> String {
        Url::parse(&self.0).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default()
    }

    /// The URL of an endpoint below the issuer: `endpoint("/token")`.
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }
}

fn is_loopback(host: &url::Host<&str>) -> bool {
    match host {
        url::Host::Domain(name) => *name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ri_01_audiences_are_absolute_uris_without_fragment() {
        for text in ["https://orders.example", "https://orders.example/a?b", "urn:example:orders", "spiffe://td/orders"]
        {
            assert_eq!(Audience::parse(text).map(|a| a.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "orders", "/orders", "https://a#b", "https:a", "https://", "https://a b", "https://a\n", "x:"]
        {
            assert!(Audience::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn md_01_issuers_are_https_or_loopback() {
        for text in [
            "https://id.example",
            "https://id.example/p",
            "http://127.0.0.1:8484",
            "http://localhost",
            "http://[::1]:1",
        ] {
            assert!(IssuerUrl::parse(text).is_ok(), "{text}");
        }
        for text in [
            "http://id.example",
            "https://id.example?x",
            "https://u@id.example",
            "spiffe://td/a",
            "http://10.0.0.1",
            "https://id.example#a",
        ] {
            assert!(IssuerUrl::parse(text).is_err(), "{text}");
        }
        assert_eq!(IssuerUrl::parse("https://id.example/p/").unwrap().endpoint("/token"), "https://id.example/p/token");
    }
}
