//! Whether a proof was made for an endpoint of ours: `htu` against its public URL (RFC 9449 §4.3).
//!
//! Both are normalised (RFC 3986 §6.2.2 and §6.2.3) and then compared whole. Nothing is heard from the request: behind a proxy
//! the public URL is the one that clients know.

use std::fmt::Write;

use url::Url;

/// Longer ones are not read: no endpoint of ours comes near.
const LONGEST: usize = 2048;

/// Whether `htu` names one of these URLs of ours. Query and fragment do not count.
pub(super) fn is_one_of<'a>(htu: &str, mut ours: impl Iterator<Item = &'a str>) -> bool {
    // A parser of URLs mends what is none; nobody has to send that.
    let is_uri = htu.len() <= LONGEST
        && htu.contains("://")
        && htu.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>'));
    let Some(named) = is_uri.then(|| normal(htu)).flatten() else { return false };
    ours.any(|url| normal(url).is_some_and(|url| url == named))
}

/// Case of scheme and host, default port, dot segments; without query and fragment.
fn normal(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    let host = url.host_str().filter(|_| is_plain && matches!(url.scheme(), "http" | "https"))?;
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("{}://{host}{port}{}", url.scheme(), normal_escapes(url.path())))
}

/// `%7E` and `%7e` are `~`; what stays escaped has capital digits.
fn normal_escapes(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        normal.push_str(before);
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = after;
        match byte {
            Some(byte) => {
                rest = after.get(2..).unwrap_or_default();
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    normal.push(char::from(byte));
                } else {
                    // Writing to a text does not fail.
                    let _ = write!(normal, "%{byte:02X}");
                }
            }
            None => normal.push('%'),
        }
    }
    normal.push_str(rest);
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://id.example/a~b/token";

    #[test]
    fn dpo_03_one_url_has_many_spellings() {
        for same in [
            OURS,
            "HTTPS://ID.example/a~b/token",
            "https://id.example:443/a~b/token",
            "https://id.example:/a~b/token",
            "https://id.example/a%7Eb/token",
            "https://id.example/a%7eb/t%6Fken",
            "https://id.example/x/../a~b/./token",
            "https://id.example/a~b/token?x=y",
            "https://id.example/a~b/token#z",
            "https://id.example/a~b/token?",
        ] {
            assert!(is_one_of(same, [OURS].into_iter()), "{same}");
        }
        for other in [
            "",
            "token",
            "/a~b/token",
            "https:id.example/a~b/token",
            "http://id.example/a~b/token",
            "https://id.example:444/a~b/token",
            "https://id.example.evil.example/a~b/token",
            "https://id.example@evil.example/a~b/token",
            "https://user@id.example/a~b/token",
            "https://id.example/A~b/token",
            "https://id.example/a~b/token/",
            "https://id.example/a~b%2Ftoken",
            "https://id.example/a~b/tokens",
            "https://id.example\\a~b/token",
            " https://id.example/a~b/token",
            "https://id.example/a~b/to\nken",
            "wss://id.example/a~b/token",
        ] {
            assert!(!is_one_of(other, [OURS].into_iter()), "{other}");
        }
        let long = format!("{OURS}?{}", "x".repeat(LONGEST));
        assert!(!is_one_of(&long, [OURS].into_iter()));
    }

    #[test]
    fn dpo_03_escapes_are_the_same_in_capitals_and_not_undone() {
        assert!(is_one_of("https://h/%2f/t", ["https://h/%2F/t"].into_iter()));
        assert!(!is_one_of("https://h/%2f/t", ["https://h///t"].into_iter()));
        assert!(!is_one_of("https://h/%25/t", ["https://h/%/t"].into_iter()));
    }
}
