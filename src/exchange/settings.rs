//! How decisions are recorded, and how many there may be.

use std::fmt;

/// Settings of decision records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// One JSON line for each decision on standard output.
    pub stdout: bool,
    /// Nothing leaves before its record is durable.
    pub required: bool,
}

/// How many requests are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// How often one verified identity may come; `None`: as often as it likes.
    pub per_identity: Option<Rate>,
    /// Requests that are answered at a time, at least one.
    pub in_flight: usize,
}

impl Default for LimitSettings {
    /// No rate, and 512 places: some megabytes, and more than two cores answer in a tenth of a second.
    fn default() -> Self {
        Self { per_identity: None, in_flight: 512 }
    }
}

/// So many in a second or in a minute. Written `50/s`, `90/m`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    unit: char,
    seconds: u32,
}

impl Rate {
    /// The most that can be asked for; a number beyond it is a mistake.
    pub const MOST: u32 = 1_000_000;

    /// Reads `<number>/s` or `<number>/m`, from 1 to [`Rate::MOST`].
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, unit) = text.split_once('/')?;
        let (unit, seconds) = match unit {
            "s" => ('s', 1),
            "m" => ('m', 60),
            _ => return None,
        };
        let is_number = (1..=7).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let count = digits.parse::<u32>().ok().filter(|count| is_number && (1..=Self::MOST).contains(count))?;
        Some(Self { count, unit, seconds })
    }

    /// The time of one, in nanoseconds, rounded up: never more often than written.
    pub(super) fn interval_nanos(self) -> i64 {
        (i64::from(self.seconds) * 1_000_000_000 + i64::from(self.count) - 1) / i64::from(self.count)
    }

    /// How many may come at once: what one second gives, at least one.
    pub(super) fn burst(self) -> i64 {
        i64::from((self.count / self.seconds).max(1))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit)
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_in_one_form() {
        for (text, interval, burst) in [
            ("50/s", 20_000_000, 50),
            ("1/m", 60_000_000_000, 1),
            ("90/m", 666_666_667, 1),
            ("120/m", 500_000_000, 2),
            ("1000000/s", 1_000, 1_000_000),
        ] {
            let read = Rate::parse(text).map(|rate| (rate.interval_nanos(), rate.burst(), rate.to_string()));
            assert_eq!(read, Some((interval, burst, text.to_owned())), "{text}");
        }
        for text in ["", "50", "50/h", "0/s", "-1/s", "+1/s", "1.5/s", "50 /s", "50/S", "1000001/s", "00000001/s", "/s"]
        {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
    }
}
