//! `countersign explain`: why a decision went as it did.

use std::io::Read;

use clap::Args;

use super::operator::{self, NoAnswer, Operator};
use super::output::line;
use super::{Exit, Format};
use crate::credential::CompactJws;
use crate::exchange::{Explanation, GrantTally, Record};
use crate::jose::UnverifiedClaims;
use crate::wire::operator::Judge;

/// The longest token that is read from stdin.
const LONGEST: u64 = 64 * 1024;

/// Show a decision step by step: what held, what did not, what would help.
///
/// Takes the reference that a caller got (`error_ref`), or `-`: then a token is read from stdin and decided now, with the
/// running service's keys and rules, and nothing is issued or recorded. The token never leaves this machine.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The reference, or - for a token on stdin
    #[arg(required_unless_present = "grants", default_value = "")]
    reference: String,
    /// Show instead who was granted what, how often and when, over everything that is kept
    #[arg(long, conflicts_with = "reference")]
    grants: bool,
    /// With -: the resource that the token should get a token for, by name or audience
    #[arg(long = "for", value_name = "RESOURCE")]
    resource: Option<String>,
    /// With -: the scopes to ask for
    #[arg(long)]
    scope: Option<String>,
    #[command(flatten)]
    operator: Operator,
    /// How to print the result
    #[arg(short = 'o', long = "format", alias = "output", value_enum, default_value_t)]
    output: Format,
}

impl Explain {
    pub(super) fn run(self) -> Exit {
        if self.grants {
            let ask = self.operator.get::<Vec<GrantTally>>("/grants");
            return operator::tell("explain", ask, |tallies| {
                match self.output {
                    Format::Json => line(serde_json::to_string(&tallies).unwrap_or_default()),
                    Format::Text => tallies.iter().for_each(|tally| line(described(tally))),
                }
                Exit::Ok
            });
        }
        operator::tell("explain", self.ask(), |record| {
            match self.output {
                Format::Json => line(record.to_line().unwrap_or_default()),
                Format::Text => line(Explanation::of(&record).to_string().trim_end()),
            }
            Exit::Ok
        })
    }

    async fn ask(&self) -> Result<Record, NoAnswer> {
        if self.reference != "-" {
            let is_reference =
                self.reference.len() == 12 && self.reference.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !is_reference {
                return Err(NoAnswer::Refused(
                    "a reference has twelve letters and digits; a token is read from stdin with -".to_owned(),
                ));
            }
            return self.operator.get(&format!("/decisions/{}", self.reference)).await;
        }
        let mut token = String::new();
        let read = std::io::stdin().take(LONGEST).read_to_string(&mut token);
        read.map_err(|error| NoAnswer::Refused(format!("stdin cannot be read: {error}")))?;
        let token = token.trim().to_owned();
        // How it would have to be declared; the service decides by that alone.
        let spiffe = CompactJws::parse(token.clone())
            .ok()
            .and_then(|jws| UnverifiedClaims::read(&jws).ok())
            .is_some_and(|claims| claims.unverified_subject().is_some_and(|sub| sub.starts_with("spiffe:")));
        let judge = Judge { token, spiffe, resource: self.resource.clone(), scope: self.scope.clone() };
        self.operator.post("/judge", &judge).await
    }
}

fn described(tally: &GrantTally) -> String {
    let kind = &tally.kind;
    format!(
        "{} × {} on {} for {}\n    {} to {}, by {}, configuration {}",
        tally.count,
        kind.scope,
        kind.resource,
        kind.id,
        tally.first,
        tally.last,
        kind.rules.iter().map(|rule| format!("{rule:?}")).collect::<Vec<_>>().join(", "),
        kind.generation,
    )
}
