//! `grpc-timeout`: how long the caller waits for an answer.
//!
//! Only ever shortens what a call may take.

use std::time::Duration;

use axum::http::HeaderMap;

/// From the header of a call to its answer, or to the first message of a stream. Under the listener's own deadline, whose answer is no gRPC.
pub(super) const LONGEST: Duration = Duration::from_secs(20);

/// What the caller says: at most eight digits and a unit. What cannot be read is as if it were not there.
pub(super) fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse::<u64>().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// How long a call may take.
pub(super) fn of_call(headers: &HeaderMap) -> Duration {
    asked(headers).map_or(LONGEST, |asked| asked.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grp_08_a_timeout_shortens() {
        let of = |text: &str| asked(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]));
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for text in ["", "S", "1", "1s", "-1S", "1.5S", "123456789S", "1é"] {
            let header = axum::http::HeaderValue::from_bytes(text.as_bytes()).unwrap();
            assert_eq!(asked(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), header)])), None, "{text}");
        }
        assert_eq!(of_call(&HeaderMap::new()), LONGEST);
    }
}
