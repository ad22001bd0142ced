//! `countersign check`: what is wrong with a configuration, before it is used.

use std::path::PathBuf;

use clap::Args;

use super::output::{aside, line, runtime};
use super::{Exit, Format, serve};
use crate::config;

/// Read a configuration and report every problem in it, with its place and what to do.
///
/// Reads the file and what it includes, checks that everything fits together, and asks its tests. No network is used, and
/// nothing is changed. Lints are remarks: they do not refuse a configuration.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration file
    #[arg(required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Print the JSON schema of configuration files instead
    #[arg(long, conflicts_with = "file")]
    schema: bool,
    /// How to print the result
    #[arg(short = 'o', long = "format", alias = "output", value_enum, default_value_t)]
    output: Format,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        let Some(file) = self.file else {
            line(format!("{:#}", config::schema()));
            return Exit::Ok;
        };
        // A runtime is not needed to read files; it keeps deep recursion off the main thread's stack.
        let loaded = match runtime() {
            Ok(runtime) => {
                let environment = serve::environment();
                let path = file.clone();
                runtime.block_on(
                    async move { tokio::task::spawn_blocking(move || config::load(&path, &environment)).await },
                )
            }
            Err(error) => {
                aside(format!("countersign: {error:#}"));
                return Exit::Problem;
            }
        };
        let (report, taken) = match loaded {
            Ok(Ok(loaded)) => {
                let summary = format!(
                    "{}: ok, {} sources, {} resources, {} rules, {} tests",
                    file.display(),
                    loaded.configuration.sources.len(),
                    loaded.configuration.resources.len(),
                    loaded.configuration.rules.len(),
                    loaded.configuration.tests.len()
                );
                (loaded.lints, Some(summary))
            }
            Ok(Err(report)) => (report, None),
            Err(error) => {
                aside(format!("countersign: {error:#}"));
                return Exit::Problem;
            }
        };
        match self.output {
            Format::Json => line(report.to_json().to_string()),
            Format::Text => {
                if !report.findings().is_empty() {
                    line(report.render(super::output::colors()));
                }
                match &taken {
                    Some(summary) => line(summary),
                    None => line(format!("\n{}: refused, {} problem(s)", file.display(), report.problems())),
                }
            }
        }
        if taken.is_some() { Exit::Ok } else { Exit::Problem }
    }
}
