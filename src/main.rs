//! The `countersign` command: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign::cli::run()
}
