//! `countersign status`: problems first, how long is left, then each source and our own keys.

mod problems;

use clap::Args;

use self::problems::{left, notes, problems};
use super::operator::{self, Operator};
use super::output::line;
use super::{Exit, Format};
use crate::wire::operator::{RevocationCounts, SourceReport, Status as Report};

/// Show what is wrong with a running service, how long is left, then each source and our own keys.
///
/// Exit code 1 when there is a problem.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    operator: Operator,
    /// How to print the result
    #[arg(short = 'o', long = "format", alias = "output", value_enum, default_value_t)]
    output: Format,
}

impl Status {
    pub(super) fn run(self) -> Exit {
        operator::tell("status", self.operator.get::<Report>("/status"), |report| {
            let problems = problems(&report);
            match self.output {
                Format::Json => line(serde_json::to_string(&report).unwrap_or_default()),
                Format::Text => tell(&report, &problems),
            }
            if problems.is_empty() { Exit::Ok } else { Exit::Problem }
        })
    }
}

fn tell(report: &Report, problems: &[String]) {
    for problem in problems {
        line(format!("✗ {problem}"));
    }
    if problems.is_empty() {
        line("✓ all is well");
    }
    for note in notes(report) {
        line(format!("! {note}"));
    }
    left(&report.sources).iter().for_each(line);
    line(format!("\n{}  version {}  configuration {}", report.issuer, report.version, report.generation));
    line("\nsources");
    for source in &report.sources {
        line(format!("  {}", described(source)));
    }
    line("\nsigning keys");
    for key in &report.signing {
        let signs = if key.signs { ", signs" } else { "" };
        line(format!("  {} {}  {}{signs}", key.algorithm, key.key_id, key.state));
    }
    let RevocationCounts { token, identity, source, key } = report.revocations;
    line(format!("\nrevocations\n  identities {identity}, sources {source}, keys {key}, tokens {token}"));
}

/// One line: keys, how fresh, what comes next, how long is left.
pub(super) fn described(source: &SourceReport) -> String {
    let mut text = format!("{:<16} {:<10} {} key(s)", source.name, source.kind, source.keys);
    if source.skipped > 0 {
        text.push_str(&format!(", {} passed over", source.skipped));
    }
    if source.authorities > 0 {
        text.push_str(&format!(", {} X.509 authorities", source.authorities));
    }
    text.push_str(&match source.age_seconds {
        Some(0) => ", confirmed now".to_owned(),
        Some(age) => format!(", confirmed {} ago", span(age)),
        None => ", never reached".to_owned(),
    });
    if let Some(next) = source.next_seconds {
        text.push_str(&format!(", next look in {}", span(next)));
    }
    if let Some(push) = &source.last_push {
        let (age, keys) = (span(push.age_seconds), push.key_ids.join(", "));
        text.push_str(&format!(", pushed {age} ago by {} ({keys})", push.by));
    }
    if let (Some(1..), Some(until)) = (source.usable_seconds, &source.usable_until) {
        text.push_str(&format!(", usable until {until}"));
    }
    text.push_str(&match source.budget_seconds {
        ..=0 => ", refused now".to_owned(),
        left => format!(", {} left without it", span(left)),
    });
    if let Some(skew) = source.skew_seconds {
        text.push_str(&format!(", clock {skew:+} s"));
    }
    text
}

/// Seconds as people say them.
pub(super) fn span(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 if seconds % 3600 >= 60 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}
