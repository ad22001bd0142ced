//! Redirects of a bundle endpoint (FED-06): followed within the configured host, by the same checks, a few times.
//!
//! Never remembered: the next call begins at the configured URL again, also after a 301.

use http::HeaderValue;
use url::Url;

use super::{Answer, Outbound, refusal};
use crate::reason::quoted;

/// One for a new path and one for a trailing slash are usual.
const MOST_REDIRECTS: usize = 3;

impl Outbound {
    /// The body of a GET, also where a redirect leads within the configured host: the first request of a call.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(in crate::trust) async fn get_following(&mut self, url: &Url) -> Result<Vec<u8>, String> {
        self.manner.names.forget();
        let mut url = url.clone();
        for _redirect in 0..=MOST_REDIRECTS {
            match self.ask(&url).await? {
                Answer::Body(body) => return Ok(body),
                Answer::Other { status, location, .. } if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) => {
                    url = target(&url, location.as_ref(), &self.endpoint.url)?;
                }
                Answer::Other { status, .. } if matches!(status.as_u16(), 401 | 403) => {
                    let why = format!("{}: a bundle endpoint asks nobody who they are; is this one?", status.as_u16());
                    return Err(super::asked(&url, why));
                }
                Answer::Other { status, location, token } => {
                    return Err(super::asked(&url, refusal(status, location.as_ref(), token)));
                }
            }
        }
        Err(super::asked(&url, format!("one more redirect after {MOST_REDIRECTS}")))
    }
}

/// Where a redirect leads, if it may lead there.
fn target(from: &Url, location: Option<&HeaderValue>, configured: &Url) -> Result<Url, String> {
    let fault = |why: String| super::asked(from, format!("a redirect {why}, and is not followed"));
    let text = location.and_then(|value| value.to_str().ok()).ok_or_else(|| fault("to nowhere".to_owned()))?;
    let mut to = from.join(text).map_err(|error| fault(format!("to {}: {error}", quoted(text))))?;
    if to.scheme() != "https" || !to.username().is_empty() || to.password().is_some() {
        return Err(fault(format!("to {}, which is not a plain https URL", quoted(text))));
    }
    if to.host() != configured.host() {
        return Err(fault(format!("to {}, which is another host", quoted(text))));
    }
    to.set_fragment(None);
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fed_06_a_redirect_keeps_the_configured_host_and_https() {
        let configured = Url::parse("https://spire.example:8443/bundle?a=b").unwrap();
        let to = |text: &str| {
            target(&configured, Some(&HeaderValue::from_str(text).unwrap()), &configured).map(String::from)
        };
        for (text, url) in [
            ("https://spire.example/other", "https://spire.example/other"),
            ("/other", "https://spire.example:8443/other"),
            ("other?x#y", "https://spire.example:8443/other?x"),
            ("//SPIRE.example/x", "https://spire.example/x"),
        ] {
            assert_eq!(to(text), Ok(url.to_owned()), "{text}");
        }
        for (text, says) in [
            ("http://spire.example:8443/bundle", "not a plain https URL"),
            ("https://u@spire.example/", "not a plain https URL"),
            ("https://:p@spire.example/", "not a plain https URL"),
            ("https://spire.example@evil.example/", "not a plain https URL"),
            ("https://evil.example/bundle", "another host"),
            ("//evil.example/bundle", "another host"),
            ("https://spire.example.evil.example/", "another host"),
            ("https://127.0.0.1/", "another host"),
            ("file:///etc/passwd", "not a plain https URL"),
            ("https://", "https://"),
        ] {
            let why = to(text).unwrap_err();
            assert!(why.contains(says) && why.contains("not followed"), "{text}: {why}");
        }
        assert!(target(&configured, None, &configured).unwrap_err().contains("to nowhere"));
    }
}
