//! `countersign revoke`: what may no longer be used, at once.

use clap::{Args, ValueEnum};

use super::operator::{self, Operator};
use super::output::line;
use super::{Exit, Format};
use crate::exchange::RevocationReport;
use crate::wire::operator::{RevocationAsk, RevocationList};

/// Revoke an identity, a source, a key or a token, at once; lift it again; list what is revoked.
///
/// While a revocation stands, nothing of what it names gets a token, and every token that it has is inactive at introspection.
/// After it is lifted or ends, credentials and tokens from before stay refused. Who verifies tokens without asking here takes
/// those that were issued until they end. The service must be running; what it answered is kept over a crash.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// What kind of thing
    #[arg(value_enum, requires = "name", required_unless_present = "list")]
    kind: Option<Kind>,
    /// Its name: a SPIFFE ID or a person as source|sub; a source; a key id or thumbprint; a token's jti
    name: Option<String>,
    /// How long it stands, such as 2h [default: until it is lifted]
    #[arg(long = "for", value_name = "TIME", conflicts_with = "lift")]
    lasting: Option<String>,
    /// Why, for whoever finds it later
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// End a revocation. What was issued before stays refused
    #[arg(long)]
    lift: bool,
    /// List what is revoked
    #[arg(long, conflicts_with_all = ["kind", "lift", "lasting", "reason"])]
    list: bool,
    #[command(flatten)]
    operator: Operator,
    /// How to print the result
    #[arg(short = 'o', long = "format", alias = "output", value_enum, default_value_t)]
    output: Format,
}

/// What can be revoked.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A workload, or a person for whom workloads act
    Identity,
    /// Everything that a source vouches for
    Source,
    /// Everything that a key signed
    Key,
    /// One access token
    Token,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Source => "source",
            Self::Key => "key",
            Self::Token => "token",
        }
    }
}

impl Revoke {
    pub(super) fn run(self) -> Exit {
        let Some((kind, name)) = self.kind.zip(self.name) else {
            return operator::tell("revoke", self.operator.get::<RevocationList>("/revocations"), |list| {
                match self.output {
                    Format::Json => line(serde_json::to_string(&list).unwrap_or_default()),
                    Format::Text => tell_all(&list),
                }
                Exit::Ok
            });
        };
        let ask = RevocationAsk {
            kind: kind.as_str().to_owned(),
            name,
            lift: self.lift,
            lasting: self.lasting,
            reason: self.reason,
        };
        operator::tell("revoke", self.operator.post::<RevocationReport>("/revocations", &ask), |report| {
            match self.output {
                Format::Json => line(serde_json::to_string(&report).unwrap_or_default()),
                Format::Text => {
                    line(described(&report));
                    if let Some(remark) = &report.remark {
                        line(format!("  note: {remark}"));
                    }
                }
            }
            Exit::Ok
        })
    }
}

fn tell_all(list: &RevocationList) {
    if list.revocations.is_empty() {
        line("nothing is revoked");
    }
    for report in &list.revocations {
        line(described(report));
    }
    let shown = list.revocations.iter().filter(|report| report.kind == "token").count();
    if let Some(more @ 1..) = list.tokens.checked_sub(shown) {
        line(format!("and {more} more tokens"));
    }
}

fn described(report: &RevocationReport) -> String {
    let RevocationReport { kind, name, from, by, reason, .. } = report;
    let state = match (&report.ends, report.stands) {
        (None, _) if kind == "token" => "revoked".to_owned(),
        (None, _) => "revoked until it is lifted".to_owned(),
        (Some(end), true) => format!("revoked until {end}"),
        (Some(end), false) => format!("lifted or ended; what was issued before {end} stays refused"),
    };
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("{kind} {name}  {state}  (since {from}, by {by}{reason})")
}
