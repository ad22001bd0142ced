//! The command line: one file a command.
//!
//! Answers in sentences that a colleague could forward; tokens are never printed whole.

mod check;
mod credential;
mod decode;
mod doctor;
mod exit;
mod explain;
mod feed;
mod help;
mod http;
mod keys;
mod masked;
mod operator;
mod output;
mod revoke;
mod serve;
mod status;
mod surroundings;
mod token;
#[cfg(feature = "world")]
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

pub use exit::Exit;

const AFTER: &str = "\
Topics of help: exchange, configuration, refusals, operations.
Exit codes: 0 ok, 1 problem found, 2 usage, 3 unreachable, 4 no identity.
Logs go to stderr; COUNTERSIGN_LOG sets their filter (for example debug).";

/// A token service for workloads: a JWT-SVID or a Kubernetes service-account token in, an OAuth access token out.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, after_help = AFTER, disable_help_subcommand = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "world")]
    Up(up::Up),
    Serve(serve::Serve),
    Check(check::Check),
    Token(token::Token),
    Decode(decode::Decode),
    Explain(explain::Explain),
    Feed(feed::Feed),
    Doctor(doctor::Doctor),
    Keys(keys::Keys),
    Revoke(revoke::Revoke),
    Status(status::Status),
    Help(help::Help),
}

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Runs the command of this process's arguments.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let exit = match arguments.command {
        #[cfg(feature = "world")]
        Command::Up(up) => up.run(),
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Token(token) => token.run(),
        Command::Decode(decode) => decode.run(),
        Command::Explain(explain) => explain.run(),
        Command::Feed(feed) => feed.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Keys(keys) => keys.run(),
        Command::Revoke(revoke) => revoke.run(),
        Command::Status(status) => status.run(),
        Command::Help(help) => help.run(),
    };
    exit.into()
}
