//! What time it is, and how long things last.
//!
//! Time is an argument everywhere: a request reads the clock once. `SystemClock` is the only reader of the machine's time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;

/// A moment, in milliseconds since the Unix epoch. Arithmetic saturates: no input can make it wrap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The latest moment that RFC 3339 can write with four digits of year, 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(253_402_300_799_000);

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and `lifetime` later.
    pub const fn plus(self, lifetime: Lifetime) -> Self {
        Self(self.0.saturating_add(lifetime.0))
    }

    /// This moment and `lifetime` earlier.
    pub const fn minus(self, lifetime: Lifetime) -> Self {
        Self(self.0.saturating_sub(lifetime.0))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Self) -> Lifetime {
        let millis = self.0.saturating_sub(earlier.0);
        Lifetime(if millis > 0 { millis } else { 0 })
    }

    /// RFC 3339 in UTC with whole seconds, as written in key files and records.
    pub fn to_rfc3339(self) -> String {
        let format = time::format_description::well_known::Rfc3339;
        time::OffsetDateTime::from_unix_timestamp(self.seconds())
            .ok()
            .and_then(|moment| moment.format(&format).ok())
            .unwrap_or_else(|| format!("{}s", self.seconds()))
    }

    /// Reads RFC 3339; `None` for anything else.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let format = time::format_description::well_known::Rfc3339;
        let moment = time::OffsetDateTime::parse(text, &format).ok()?;
        Some(Self((moment.unix_timestamp_nanos() / 1_000_000) as i64))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// A length of time, never negative, in milliseconds. Written `30s`, `5m`, `12h`, `30d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(i64);

impl Lifetime {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From milliseconds.
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis as i64)
    }

    /// From whole seconds.
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(seconds as i64 * 1000)
    }

    /// From whole minutes.
    pub const fn from_minutes(minutes: u32) -> Self {
        Self(minutes as i64 * 60_000)
    }

    /// From whole hours.
    pub const fn from_hours(hours: u32) -> Self {
        Self(hours as i64 * 3_600_000)
    }

    /// Milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0 / 1000
    }

    /// Whole seconds, rounded up: what a `Retry-After` must say.
    pub const fn seconds_rounded_up(self) -> i64 {
        (self.0 + 999) / 1000
    }

    /// Reads `<number><unit>` with unit `s`, `m`, `h` or `d`; one unit, no sign, no fraction, at most ten years.
    pub fn parse(text: &str) -> Option<Self> {
        let unit = text.chars().last()?;
        let digits = text.get(..text.len().checked_sub(unit.len_utf8())?)?;
        if digits.is_empty() || digits.len() > 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let seconds = digits.parse::<i64>().ok()?.checked_mul(match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        })?;
        (seconds <= 10 * 366 * 86_400).then(|| Self(seconds * 1000))
    }

    /// For timers of the runtime.
    pub const fn to_duration(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds();
        match seconds {
            0 if self.0 > 0 => write!(f, "{}ms", self.0),
            0 => f.write_str("0s"),
            s if s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s % 60 == 0 => write!(f, "{}m", s / 60),
            s if s > 3600 => write!(f, "{}h{}m", s / 3600, s % 3600 / 60),
            s if s > 60 => write!(f, "{}m{}s", s / 60, s % 60),
            s => write!(f, "{s}s"),
        }
    }
}

impl fmt::Debug for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A source of time. Shared as `Arc<dyn Clock>`.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Completes once `now()` has reached `moment`, or once as much time has passed as there was until `moment` at the call:
    /// a clock that is set back must not make anybody sleep longer. So `now()` may be before `moment` afterwards.
    fn sleep_until<'a>(&'a self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since_epoch.map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)))
    }

    fn sleep_until<'a>(&'a self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let mut sleep = Sleep::until(moment, self.now());
        Box::pin(async move {
            while let Some(step) = sleep.next_step(self.now()) {
                tokio::time::sleep(step.to_duration()).await;
            }
        })
    }
}

/// What is left of a sleep, by the wall clock and by the timer. The timer runs evenly, whatever happens to the wall clock.
#[derive(Debug)]
struct Sleep {
    moment: Timestamp,
    left: Lifetime,
}

impl Sleep {
    const fn until(moment: Timestamp, now: Timestamp) -> Self {
        Self { moment, left: moment.since(now) }
    }

    /// How long to sleep before the wall clock is looked at again; `None` when the sleep is over. Each step counts as slept.
    fn next_step(&mut self, now: Timestamp) -> Option<Lifetime> {
        // In short steps: a machine that slept wakes with a new wall clock, which a long timer would not notice.
        const STEP: Lifetime = Lifetime::from_seconds(5);
        let step = self.moment.since(now).min(self.left).min(STEP);
        self.left = Lifetime(self.left.0 - step.0);
        (step > Lifetime::ZERO).then_some(step)
    }
}

/// A clock that stands still until it is moved. Sleepers wake when it passes their moment, or has been advanced by as much as
/// they wanted to sleep.
#[derive(Debug, Clone)]
pub struct ManualClock(watch::Sender<Hands>);

#[derive(Debug, Clone, Copy)]
struct Hands {
    now: Timestamp,
    /// All advances together: what a timer of the machine would count.
    passed: Timestamp,
}

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn starting_at(start: Timestamp) -> Self {
        Self(watch::Sender::new(Hands { now: start, passed: Timestamp(0) }))
    }

    /// Lets time pass: moves the clock forward.
    pub fn advance(&self, by: Lifetime) {
        self.0.send_modify(|hands| *hands = Hands { now: hands.now.plus(by), passed: hands.passed.plus(by) });
    }

    /// Sets the clock back, as an administrator or NTP sets a wall clock. No time passes: sleepers sleep on as long as they would have.
    pub fn step_back(&self, by: Lifetime) {
        self.0.send_modify(|hands| hands.now = hands.now.minus(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.borrow().now
    }

    fn sleep_until<'a>(&'a self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let mut changes = self.0.subscribe();
        let begun = *changes.borrow();
        let enough = begun.passed.plus(moment.since(begun.now));
        Box::pin(async move {
            // The sender lives in `self`, so waiting ends only when the moment has come.
            let _ = changes.wait_for(|hands| hands.now >= moment || hands.passed >= enough).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_in_one_form() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("12h", 43_200), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(Lifetime::parse(text).map(Lifetime::seconds), Some(seconds), "{text}");
        }
        for text in ["", "s", "5", "-5m", "1.5h", "5 m", "5M", "1h30m", "00:05:00", "99999999999s", "9999999999d", "5ä"]
        {
            assert_eq!(Lifetime::parse(text), None, "{text}");
        }
    }

    #[test]
    fn timestamps_survive_their_text() {
        let moment = Timestamp::from_seconds(1_790_000_000);
        assert_eq!(Timestamp::parse_rfc3339(&moment.to_rfc3339()), Some(moment));
        assert_eq!(Timestamp::from_millis(i64::MAX).plus(Lifetime::from_hours(1)).millis(), i64::MAX);
    }

    /// Sleeps 12 s from second 1000, with the wall clock at `looks` at each look, in seconds. Returns the steps.
    fn steps(looks: &[i64]) -> Vec<Option<i64>> {
        let mut sleep = Sleep::until(Timestamp::from_seconds(1012), Timestamp::from_seconds(1000));
        let step = |now: &i64| sleep.next_step(Timestamp::from_seconds(*now)).map(Lifetime::seconds);
        looks.iter().map(step).collect()
    }

    #[test]
    fn a_sleep_ends_at_its_moment_or_when_its_time_has_passed() {
        assert_eq!(steps(&[1000, 1005, 1010, 1012]), [Some(5), Some(5), Some(2), None], "an even clock");
        assert_eq!(steps(&[1000, 1007, 1013]), [Some(5), Some(5), None], "steps that took longer");
        assert_eq!(steps(&[1000, 5000]), [Some(5), None], "set forward");
        let day = 86_400;
        assert_eq!(steps(&[1000, 1005 - day, 1010 - day, 1012 - day]), [Some(5), Some(5), Some(2), None], "set back");
        assert_eq!(steps(&[1000 - day, 1005 - day, 1010, 1012]), [Some(5), Some(5), Some(2), None], "and forth");
        assert_eq!(steps(&[1012]), [None], "no time at all");
    }

    #[tokio::test]
    async fn a_manual_clock_that_is_set_back_wakes_in_time() {
        use futures_util::FutureExt;
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_790_000_000));
        let mut sleeper = clock.sleep_until(clock.now().plus(Lifetime::from_seconds(5)));
        clock.step_back(Lifetime::from_hours(24));
        clock.advance(Lifetime::from_seconds(4));
        assert_eq!((&mut sleeper).now_or_never(), None);
        clock.advance(Lifetime::from_seconds(1));
        assert_eq!(sleeper.now_or_never(), Some(()));
    }
}
