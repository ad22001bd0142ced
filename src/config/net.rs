//! Decides what an address in the configuration means: listeners, URLs that keys come from, Workload API sockets.
//!
//! Must never resolve a name or dial anything.

use std::net::SocketAddr;

use url::Url;

use super::ledger::Said;

/// Bytes of a URL.
const MAX_URL: usize = 2048;

/// An IP address with a port.
pub(super) fn listener(text: &str) -> Result<SocketAddr, Said> {
    text.parse().map_err(|_not_an_address| {
        Said::new("an IP address with a port is needed here")
            .hint("such as 127.0.0.1:8484 or [::1]:8484; names are not resolved")
    })
}

/// A URL that keys are fetched from: https, nothing but host, port, path and, with `query`, a query.
pub(super) fn key_url(text: &str, query: bool) -> Result<Url, Said> {
    let https = "keys are fetched over https alone, such as https://10.0.0.1:6443";
    if text.len() > MAX_URL || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Said::new(format!("a URL has at most {MAX_URL} bytes and no white space")));
    }
    if !text.starts_with("https://") {
        return Err(Said::new("this is not an https URL").hint(https));
    }
    let url = Url::parse(text).map_err(|error| Said::new(format!("this is not a URL: {error}")).hint(https))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Said::new("a URL with user information is not taken")
            .hint("take the part before `@` away")
            .hiding_the_line());
    }
    if url.fragment().is_some() {
        return Err(Said::new("a URL with a fragment is not taken").hint("take the part from `#` on away"));
    }
    if !query && url.query().is_some() {
        return Err(Said::new("a URL with a query is not taken here").hint("take the part from `?` on away"));
    }
    Ok(url)
}

/// The collector of telemetry: http or https, host and port, and nothing else. Given back as it is dialled.
pub(super) fn collector(text: &str) -> Result<String, Said> {
    let form = "such as https://collector.example:4317";
    let not_one = |why: &str| Said::new(format!("this is not the URL of a collector: {why}")).hint(form);
    if text.len() > MAX_URL || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(not_one("it is too long or has white space"));
    }
    let url = Url::parse(text).map_err(|error| not_one(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(not_one("it has user information").hiding_the_line());
    }
    match (url.scheme(), url.host_str(), url.port_or_known_default()) {
        ("http" | "https", Some(host), Some(port)) if url.path() == "/" && url.query().or(url.fragment()).is_none() => {
            Ok(format!("{}://{host}:{port}", url.scheme()))
        }
        ("http" | "https", ..) => Err(not_one("it has a host and a port alone")),
        _ => Err(not_one("it is neither http nor https")),
    }
}

/// The socket of a Workload API (SPIFFE Workload Endpoint §4, WAP-03): `unix:/path`, `unix:///path` or `tcp://IP:port`,
/// given back as `unix:/path` or `tcp://IP:port`.
pub(super) fn workload_api(text: &str) -> Result<String, Said> {
    let forms = "unix:/path/to.sock, unix:///path/to.sock or tcp://IP:port";
    if text.len() > MAX_URL || text.chars().any(char::is_control) {
        return Err(Said::new("this is not the address of a Workload API").hint(forms));
    }
    if let Some(rest) = text.strip_prefix("unix:") {
        let path = match rest.strip_prefix("//") {
            Some(after) if !after.starts_with('/') => {
                return Err(Said::new("a unix socket has no host: two slashes begin one")
                    .hint("write unix:/path or unix:///path"));
            }
            Some(after) => after,
            None => rest,
        };
        if !path.starts_with('/') || path.len() < 2 || path.contains(['?', '#', '%']) {
            return Err(Said::new("a unix socket is an absolute path, without `?`, `#` and `%`").hint(forms));
        }
        return Ok(format!("unix:{path}"));
    }
    if let Some(rest) = text.strip_prefix("tcp://") {
        let address = rest.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
        return address.map(|address| format!("tcp://{address}")).ok_or_else(|| {
            Said::new("after tcp:// an IP address and a port are needed, and nothing else")
                .hint("names are not resolved; a path is not taken")
        });
    }
    let said = Said::new("this is not the address of a Workload API");
    Err(match text.starts_with('/') {
        true => said.hint(format!("write unix:{text}")),
        false => said.hint(format!("`auto`, {forms}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_host_and_a_port() {
        for (text, dialled) in [
            ("https://collector.example:4317", "https://collector.example:4317"),
            ("http://127.0.0.1:4317/", "http://127.0.0.1:4317"),
            ("https://[::1]", "https://[::1]:443"),
        ] {
            assert_eq!(collector(text).ok().as_deref(), Some(dialled), "{text}");
        }
        for text in [
            "collector.example:4317",
            "grpc://collector.example:4317",
            "https://collector.example:4317/v1/traces",
            "https://collector.example:4317?x=y",
            "https://collector.example:4317#x",
            "https://u:p@collector.example:4317",
            "https:// collector.example",
            "http://",
            "",
        ] {
            assert!(collector(text).is_err(), "{text}");
        }
    }

    #[test]
    fn key_urls_are_https_and_nothing_else() {
        for text in
            ["https://10.0.0.1:6443", "https://id.example/keys", "https://[::1]/x", "https://id.example/keys?a=b"]
        {
            assert!(key_url(text, true).is_ok(), "{text}");
        }
        for text in [
            "http://id.example",
            "http://127.0.0.1/keys",
            "https:id.example",
            "HTTPS://id.example",
            "https://",
            "https://u@id.example",
            "https://u:p@id.example",
            "https://id.example/#",
            "https://id.example/ x",
            "https://id.example\n",
            "id.example",
            "",
            "file:///etc/x",
            "https://id.example:99999",
        ] {
            assert!(key_url(text, true).is_err(), "{text}");
        }
        assert!(key_url("https://id.example/?a", false).is_err());
        assert!(key_url(&format!("https://id.example/{}", "x".repeat(MAX_URL)), true).is_err());
    }

    #[test]
    fn wap_03_socket_forms() {
        for (text, form) in [
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("tcp://127.0.0.1:80", "tcp://127.0.0.1:80"),
            ("tcp://[::1]:80", "tcp://[::1]:80"),
        ] {
            assert_eq!(workload_api(text).unwrap(), form, "{text}");
        }
        for text in [
            "unix://host/x",
            "unix:x",
            "unix:",
            "unix:/",
            "unix://",
            "tcp://localhost:1",
            "tcp://1.2.3.4:1/x",
            "tcp://1.2.3.4",
            "tcp:1.2.3.4:1",
            "tcp://1.2.3.4:0",
            "/bare/path",
            "http://x",
            "",
            "UNIX:/x",
            "unix:/x?y",
            "unix:/x\n",
        ] {
            assert!(workload_api(text).is_err(), "{text}");
        }
        assert_eq!(workload_api("/bare/path").unwrap_err().hint.unwrap(), "write unix:/bare/path");
    }
}
