//! When a source is asked again that has answered: as its cache headers say (RFC 9111), within bounds of ours.
//!
//! Never decides how long keys may be used: that is `max_stale`, whatever a header says.

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName};

use super::outbound::date_of;
use crate::clock::{Lifetime, Timestamp};

/// Without any word of the source, and at the latest: a header makes nobody keep a withdrawn key for longer. API servers say an hour,
/// and platforms that rotate weekly seven days. SPIFFE's own default, and well below the time that platforms publish a key before its first use.
const REGULAR: Lifetime = Lifetime::from_minutes(5);
/// A source cannot make us ask more often.
const SHORTEST: Lifetime = Lifetime::from_minutes(1);

/// The time until the next regular attempt, before jitter.
pub(super) fn until_next(said: Option<Lifetime>) -> Lifetime {
    said.map_or(REGULAR, |said| said.clamp(SHORTEST, REGULAR))
}

/// For how long an answer with these headers is fresh; `None` when they do not say.
///
/// What cannot be read counts as stale at once (RFC 9111 §4.2.1), and the shortest of several times counts.
pub(super) fn said_by(headers: &HeaderMap) -> Option<Lifetime> {
    let mut fresh: Option<Lifetime> = None;
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    for directive in lines.flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let says = match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => Lifetime::ZERO,
            "max-age" => seconds(value.trim().trim_matches('"')),
            _ => continue,
        };
        fresh = Some(fresh.map_or(says, |other| other.min(says)));
    }
    let fresh = match fresh {
        Some(fresh) => fresh,
        None => before_expiry(headers)?,
    };
    Some(Lifetime::from_seconds(u32::try_from((fresh.seconds() - age(headers).seconds()).max(0)).unwrap_or(u32::MAX)))
}

/// What the clock of the side that answers says: `Date`, and what passed since when a cache kept the answer (RFC 9111 §5.1).
pub(super) fn clock_of(headers: &HeaderMap) -> Option<Timestamp> {
    Some(headers.get(DATE).and_then(date_of)?.plus(age(headers)))
}

fn age(headers: &HeaderMap) -> Lifetime {
    text(headers, AGE).map_or(Lifetime::ZERO, seconds)
}

fn before_expiry(headers: &HeaderMap) -> Option<Lifetime> {
    let expires = headers.get(EXPIRES)?;
    let date = headers.get(DATE).and_then(date_of)?;
    Some(date_of(expires).map_or(Lifetime::ZERO, |expires| expires.since(date)))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Delta-seconds (RFC 9111 §1.2.2): a number too large to hold is the largest, and no number is none.
fn seconds(digits: &str) -> Lifetime {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Lifetime::ZERO;
    }
    Lifetime::from_seconds(digits.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn said(lines: &[(HeaderName, &str)]) -> Option<i64> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        said_by(&headers).map(Lifetime::seconds)
    }

    #[test]
    fn cache_headers_are_read_as_rfc_9111_says() {
        for (line, seconds) in [
            ("public, max-age=3600", 3600),
            ("Max-Age=60", 60),
            ("max-age=\"60\"", 60),
            ("max-age=600, max-age=60", 60),
            ("max-age=99999999999999999999", i64::from(u32::MAX)),
            ("no-store", 0),
            ("max-age=3600, no-cache", 0),
            ("max-age=", 0),
            ("max-age=-1", 0),
            ("max-age=1.5", 0),
            ("max-age", 0),
        ] {
            assert_eq!(said(&[(CACHE_CONTROL, line)]), Some(seconds), "{line}");
        }
        // A shared cache's time is not ours.
        assert_eq!(said(&[(CACHE_CONTROL, "public, s-maxage=600, must-revalidate")]), None);
        assert_eq!(said(&[(CACHE_CONTROL, "public"), (CACHE_CONTROL, "max-age=60")]), Some(60));
        assert_eq!(said(&[(CACHE_CONTROL, "max-age=60"), (AGE, "45")]), Some(15));
        assert_eq!(said(&[(CACHE_CONTROL, "max-age=60"), (AGE, "61")]), Some(0));
        let date = (DATE, "Tue, 03 Nov 2026 08:00:00 GMT");
        let expires = |text| (EXPIRES, text);
        assert_eq!(said(&[date.clone(), expires("Tue, 03 Nov 2026 08:10:00 GMT")]), Some(600));
        assert_eq!(said(&[date.clone(), expires("0")]), Some(0));
        assert_eq!(
            said(&[date.clone(), expires("Tue, 03 Nov 2026 08:10:00 GMT"), (CACHE_CONTROL, "max-age=60")]),
            Some(60)
        );
        assert_eq!(said(&[expires("Tue, 03 Nov 2026 08:10:00 GMT")]), None, "without its own clock it says nothing");
        assert_eq!(said(&[date]), None);
    }

    #[test]
    fn no_header_makes_us_ask_all_the_time_or_more_rarely_than_without() {
        for (said, minutes) in [(None, 5), (Some(0), 1), (Some(59), 1), (Some(240), 4), (Some(604_800), 5)] {
            assert_eq!(until_next(said.map(Lifetime::from_seconds)), Lifetime::from_minutes(minutes), "{said:?}");
        }
    }
}
