//! `countersign keys`: the life of our own keys, changes of plan, and more time for the keys of a source that is away.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::operator::{self, Operator};
use super::output::{aside, line};
use super::status::described;
use super::{Exit, Format};
use crate::clock::{Clock, Lifetime, SystemClock};
use crate::issue::NewKey;
use crate::jose::Algorithm;
use crate::wire::operator::{ExtensionAnswer, ExtensionAsk, KeyChange, KeysReport};

/// Show and plan the life of the signing keys; give a source that is away more time.
///
/// A key is published before it signs, signs, retires, and stays published until its last token has ended. All but `new --file`
/// ask the running service, which changes the dates in the key files under their lock.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show each key: what it does now, what comes next, and whom a key that does not sign yet waits for
    ///
    /// Verifiers and the canary are as this process has seen them since it started. Others on the folder may have seen slower ones,
    /// and move the date in the file.
    Status(Ask),
    /// Make a further key; it signs once it has been published for ten minutes. With --file, write one for a mounted Secret
    New {
        #[command(flatten)]
        which: Which,
        /// Write the key to this new file instead of asking a running service
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// With --file: how long after its publication it signs; 0s for the first key of a Secret
        #[arg(long, default_value = "15m", value_name = "TIME", requires = "file")]
        activate_in: String,
    },
    /// Let the next key take over as soon as it has been published long enough and verifiers know it
    Rotate(Which),
    /// Let no waiting key take over for a while
    Hold {
        #[command(flatten)]
        which: Which,
        /// For how long, such as 2h
        #[arg(long = "for", value_name = "TIME")]
        lasting: String,
    },
    /// Let the key before the present one sign again
    Rollback(Which),
    /// Let the last keys of a source that is away serve longer than max_stale, by at most 24h at once and 7d in all
    ///
    /// Counted from now, or from the end of max_stale if that is later. Kept over a restart and recorded. It brings back nothing
    /// that was withdrawn, and ends early with 0s.
    Extend {
        /// The source
        source: String,
        /// How much longer, such as 4h; 0s ends an extension
        time: String,
        /// Why, for whoever finds it later
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Take a key out of the published set at once: its tokens stop verifying wherever keys are fetched anew
    Revoke {
        /// The key id, or its first six letters or more
        key_id: String,
        #[command(flatten)]
        ask: Ask,
    },
}

#[derive(Debug, Args)]
struct Ask {
    #[command(flatten)]
    operator: Operator,
    /// How to print the result
    #[arg(short = 'o', long = "format", alias = "output", value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Args)]
struct Which {
    /// The algorithm of the key
    #[arg(long, value_enum, default_value_t, ignore_case = true)]
    algorithm: Signing,
    #[command(flatten)]
    ask: Ask,
}

/// The algorithms that sign access tokens.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Signing {
    /// ECDSA with P-256
    #[default]
    Es256,
    /// RSA with 2048 bits
    Rs256,
}

impl Signing {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::Es256 => Algorithm::ES256,
            Self::Rs256 => Algorithm::RS256,
        }
    }

    fn name(self) -> String {
        self.algorithm().name().to_owned()
    }
}

impl Keys {
    pub(super) fn run(self) -> Exit {
        let (ask, change) = match self.action {
            Action::Status(ask) => (ask, None),
            Action::New { which, file: Some(file), activate_in } => return write(which.algorithm, &file, &activate_in),
            Action::New { which, .. } => (which.ask, Some(KeyChange::New { algorithm: which.algorithm.name() })),
            Action::Rotate(which) => (which.ask, Some(KeyChange::Rotate { algorithm: which.algorithm.name() })),
            Action::Hold { which, lasting } => {
                (which.ask, Some(KeyChange::Hold { algorithm: which.algorithm.name(), lasting }))
            }
            Action::Rollback(which) => (which.ask, Some(KeyChange::Rollback { algorithm: which.algorithm.name() })),
            Action::Extend { source, time, reason, ask } => return extend(&ask, source, time, reason),
            Action::Revoke { key_id, ask } => (ask, Some(KeyChange::Revoke { key_id })),
        };
        let question = async {
            match &change {
                None => ask.operator.get::<KeysReport>("/keys").await,
                Some(change) => ask.operator.post("/keys", change).await,
            }
        };
        operator::tell("keys", question, |report| {
            match ask.output {
                Format::Json => line(serde_json::to_string(&report).unwrap_or_default()),
                Format::Text => line(report.timeline.trim_end()),
            }
            Exit::Ok
        })
    }
}

fn extend(ask: &Ask, source: String, lasting: String, reason: String) -> Exit {
    let order = ExtensionAsk { source, lasting, reason };
    operator::tell("keys extend", ask.operator.post::<ExtensionAnswer>("/extensions", &order), |answer| {
        match (ask.output, &answer.extension) {
            (Format::Json, _) => line(serde_json::to_string(&answer).unwrap_or_default()),
            (Format::Text, Some(order)) => {
                line(format!(
                    "the last keys of {} may serve until {} (by {})",
                    answer.source.name, order.until, order.by
                ));
            }
            (Format::Text, None) => line(format!("nothing is extended for {} any more", answer.source.name)),
        }
        if let Format::Text = ask.output {
            line(format!("  {}", described(&answer.source)));
        }
        Exit::Ok
    })
}

fn write(algorithm: Signing, file: &std::path::Path, activate_in: &str) -> Exit {
    let Some(activate_in) = Lifetime::parse(activate_in) else {
        aside(format!("countersign keys: {activate_in} is no length of time such as 15m"));
        return Exit::Usage;
    };
    let made = NewKey::make(algorithm.algorithm(), activate_in, SystemClock.now()).and_then(|key| {
        key.write(file)?;
        Ok(key)
    });
    match made {
        Ok(key) => {
            line(format!(
                "{} {} is in {}; it signs from {}",
                key.algorithm,
                key.key_id,
                file.display(),
                key.schedule.activate().to_rfc3339()
            ));
            Exit::Ok
        }
        Err(fault) => {
            aside(format!("countersign keys: {fault}"));
            Exit::Problem
        }
    }
}
