//! Where commands print: results to stdout, everything else to stderr.

use std::io::Write;

use tracing_subscriber::EnvFilter;

/// Prints a line of the result. A reader that went away is no fault.
pub(super) fn line(text: impl AsRef<str>) {
    let _ = writeln!(anstream::stdout(), "{}", text.as_ref());
}

/// Prints a line for people beside the result.
pub(super) fn aside(text: impl AsRef<str>) {
    let _ = writeln!(anstream::stderr(), "{}", text.as_ref());
}

/// Whether stderr takes colours.
pub(super) fn colors() -> bool {
    anstream::stderr().is_terminal()
}

/// Sends logs to stderr, with the filter of `COUNTERSIGN_LOG` or `default`.
#[expect(clippy::disallowed_methods, reason = "the log filter is the one setting of the environment (design §7)")]
pub(super) fn logs(default: &str) {
    let filter = std::env::var("COUNTERSIGN_LOG").unwrap_or_else(|_unset| default.to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_bad| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colors());
    // A log that cannot be written (its disk is full) would be reported with `eprintln!`, which panics then.
    let subscriber = subscriber.log_internal_errors(false);
    let _ = subscriber.try_init();
}

/// A runtime for a command.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
