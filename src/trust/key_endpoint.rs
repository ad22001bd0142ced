//! Where a key set is asked for: at a URL, at an API server, or where discovery says.
//!
//! A derived URL keeps the configured host, and a document that names a foreign issuer is worth nothing (MD-17, K8S-14).

use std::collections::BTreeSet;

use url::Url;

use super::Endpoint;
use super::origin::Origin;
use super::outbound::Outbound;
use crate::clock::{Lifetime, Timestamp};
use crate::jose::{KeyPurpose, KeySet, parse_object};
use crate::reason::quoted;

const DISCOVERY: &str = ".well-known/openid-configuration";
const API_SERVER_KEYS: &str = "openid/v1/jwks";

/// Asks one source for its keys.
pub(super) struct KeyEndpoint {
    way: Way,
    outbound: Outbound,
}

enum Way {
    Keys(Url),
    Discovery { url: Url, issuers: BTreeSet<String> },
}

impl KeyEndpoint {
    /// `None` for sources that are not asked over https.
    pub(super) fn of(origin: &Origin) -> Option<Self> {
        let (way, endpoint): (Way, &Endpoint) = match origin {
            Origin::Url(endpoint) => (Way::Keys(endpoint.url.clone()), endpoint),
            Origin::ApiServer(endpoint) => (Way::Keys(below(&endpoint.url, API_SERVER_KEYS)), endpoint),
            Origin::Discovery { endpoint, issuers } => {
                let url = match endpoint.url.path().ends_with(DISCOVERY) {
                    true => endpoint.url.clone(),
                    false => below(&endpoint.url, DISCOVERY),
                };
                (Way::Discovery { url, issuers: issuers.clone() }, endpoint)
            }
            Origin::WorkloadApi { .. } | Origin::BundleEndpoint { .. } | Origin::File { .. } | Origin::Push { .. } => {
                return None;
            }
        };
        Some(Self { way, outbound: Outbound::new(endpoint.clone()) })
    }

    #[cfg(all(test, feature = "world"))]
    pub(super) fn with_lookup(origin: &Origin, lookup: super::names::Lookup) -> Option<Self> {
        let endpoint = Self::of(origin)?;
        let outbound = Outbound::with_lookup(endpoint.outbound.endpoint().clone(), lookup);
        Some(Self { outbound, ..endpoint })
    }

    /// What the other side's clock said in the answer to the last request; once.
    pub(super) const fn take_date(&mut self) -> Option<Timestamp> {
        self.outbound.take_date()
    }

    /// For how long the key set that came last is fresh by its cache headers.
    pub(super) const fn fresh_for(&self) -> Option<Lifetime> {
        self.outbound.fresh_for()
    }

    /// # Errors
    /// A sentence for the operator.
    pub(super) async fn fetch(&mut self) -> Result<KeySet, String> {
        let (url, body) = match &self.way {
            Way::Keys(url) => (url.clone(), self.outbound.get(url).await?),
            Way::Discovery { url, issuers } => {
                let document = self.outbound.get(url).await?;
                let url = keys_url(&document, url, issuers)?;
                let body = self.outbound.get_further(&url).await?;
                (url, body)
            }
        };
        KeySet::parse(&body, KeyPurpose::JwkSet)
            .map_err(|fault| format!("the answer of {}{} is no key set: {fault}", url.authority(), url.path()))
    }
}

fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// What a discovery document says about keys, if it is one of this source.
fn keys_url(document: &[u8], asked: &Url, issuers: &BTreeSet<String>) -> Result<Url, String> {
    let document = parse_object(document).map_err(|fault| format!("the discovery document at {asked}: {fault}"))?;
    let issuer = document.text("issuer").ok_or("the discovery document names no issuer")?;
    if !issuers.contains(issuer) {
        let known: Vec<&str> = issuers.iter().map(String::as_str).collect();
        return Err(format!(
            "the discovery document is of issuer {}, and the source has {}; if its tokens say the former, add it to `issuers`",
            quoted(issuer),
            known.join(", ")
        ));
    }
    let text = document.text("jwks_uri").ok_or("the discovery document has no jwks_uri")?;
    let url = Url::parse(text).map_err(|fault| format!("jwks_uri {} is no URL: {fault}", quoted(text)))?;
    if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
        return Err(format!("jwks_uri {} is not a plain https URL", quoted(text)));
    }
    if url.host() != asked.host() {
        return Err(format!(
            "jwks_uri {} is on another host than {}, and is not asked; if you trust it, configure it as keys: {{ url: … }}",
            quoted(text),
            asked.host_str().unwrap_or_default()
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(document: &str) -> Result<String, String> {
        let asked = Url::parse("https://10.0.0.1:6443/.well-known/openid-configuration").unwrap();
        let issuers = BTreeSet::from(["https://kubernetes.default.svc".to_owned()]);
        keys_url(document.as_bytes(), &asked, &issuers).map(String::from)
    }

    #[test]
    fn k8s_14_and_md_17_discovery_keeps_host_and_issuer() {
        let with = |issuer: &str, keys: &str| found(&format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}"}}"#));
        let ours = "https://kubernetes.default.svc";
        assert_eq!(with(ours, "https://10.0.0.1/openid/v1/jwks"), Ok("https://10.0.0.1/openid/v1/jwks".to_owned()));
        for (keys, says) in [
            ("https://10.0.0.2:6443/openid/v1/jwks", "on another host"),
            ("https://10.0.0.1.evil.example/jwks", "on another host"),
            ("https://10.0.0.1@evil.example/jwks", "not a plain https URL"),
            ("https://[::ffff:10.0.0.1]:6443/jwks", "on another host"),
            ("http://10.0.0.1:6443/jwks", "not a plain https URL"),
            ("file:///etc/passwd", "not a plain https URL"),
            ("/openid/v1/jwks", "is no URL"),
        ] {
            let why = with(ours, keys).unwrap_err();
            assert!(why.contains(says), "{keys}: {why}");
        }
        for issuer in ["https://kubernetes.default.svc/", "https://oidc.example", ""] {
            assert!(with(issuer, "https://10.0.0.1/jwks").unwrap_err().contains("is of issuer"), "{issuer}");
        }
        assert!(found(r#"{"jwks_uri":"https://10.0.0.1/jwks"}"#).unwrap_err().contains("names no issuer"));
        assert!(found("<html>").unwrap_err().contains("discovery document"));
    }

    #[test]
    fn k8s_13_well_known_paths_are_appended_once() {
        let url = |text: &str| Url::parse(text).unwrap();
        for (base, path, full) in [
            ("https://api:6443", API_SERVER_KEYS, "https://api:6443/openid/v1/jwks"),
            ("https://rancher/k8s/clusters/c-1/", API_SERVER_KEYS, "https://rancher/k8s/clusters/c-1/openid/v1/jwks"),
            ("https://oidc/id/AB", DISCOVERY, "https://oidc/id/AB/.well-known/openid-configuration"),
        ] {
            assert_eq!(below(&url(base), path).as_str(), full);
        }
    }
}
