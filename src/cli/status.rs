//! `countersign status`: problems first, then each source and our own keys.

use clap::Args;

use super::operator::{self, Operator};
use super::output::line;
use super::{Exit, Format};
use crate::wire::operator::{RevocationCounts, SourceReport, Status as Report};

/// Show what is wrong with a running service, then each source and our own keys.
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

fn problems(report: &Report) -> Vec<String> {
    let mut problems = Vec::new();
    if !report.ready {
        problems.push(format!("not ready: waits for {}", report.waiting_for.join(", ")));
    }
    for source in &report.sources {
        if let Some(error) = &source.last_error {
            let left = match source.usable_seconds {
                Some(left) if left > 0 => format!("its last keys serve {} more", span(left)),
                _ => "nothing by it can be verified".to_owned(),
            };
            problems.push(format!("{}: {error}; {left}", source.name));
        } else if source.keys == 0 {
            problems.push(format!("{}: it has no usable key: everything by it is refused", source.name));
        }
        if !source.copies_of.is_empty() {
            problems.push(format!(
                "{}: it shows keys of {}; those copies are not used",
                source.name,
                source.copies_of.join(", ")
            ));
        }
    }
    if !report.signing.iter().any(|key| key.signs) {
        problems.push("no signing key is active: no token can be issued".to_owned());
    }
    if !report.store_works {
        problems
            .push("the store fails: nothing can be revoked, and credentials that are used once are refused".to_owned());
    }
    problems
}

fn tell(report: &Report, problems: &[String]) {
    for problem in problems {
        line(format!("✗ {problem}"));
    }
    if problems.is_empty() {
        line("✓ all is well");
    }
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

fn described(source: &SourceReport) -> String {
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
    if let Some(left) = source.usable_seconds {
        text.push_str(&format!(", usable for {}", span(left)));
    }
    text
}

/// Seconds as people say them.
fn span(seconds: i64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
