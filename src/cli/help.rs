//! `countersign help`: the long documents, in the terminal.

use clap::{Args, CommandFactory, ValueEnum};

use super::output::line;
use super::{Arguments, Exit};

/// Explain a topic.
#[derive(Debug, Args)]
pub(super) struct Help {
    /// The topic; without one, the commands are listed
    topic: Option<Topic>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Topic {
    /// How a request becomes a token, and what a token says
    Exchange,
    /// Every key of the configuration
    Configuration,
    /// Every reason for a refusal, and what to do
    Refusals,
    /// Start, reload, keys, health, metrics, records
    Operations,
}

impl Help {
    pub(super) fn run(self) -> Exit {
        let text = match self.topic {
            None => Arguments::command().render_long_help().ansi().to_string(),
            Some(Topic::Exchange) => include_str!("../docs/exchange.md").to_owned(),
            Some(Topic::Configuration) => include_str!("../docs/configuration.md").to_owned(),
            Some(Topic::Refusals) => include_str!("../docs/refusals.md").to_owned(),
            Some(Topic::Operations) => include_str!("../docs/operations.md").to_owned(),
        };
        line(text.trim_end());
        Exit::Ok
    }
}
