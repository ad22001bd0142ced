//! `countersign serve`: the service.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use super::output::{aside, colors, logs, runtime};
use crate::app::{App, Records, Start, StartError};
use crate::clock::SystemClock;
use crate::config::Environment;
use crate::entropy::SystemEntropy;
use crate::lifecycle::Drained;
use crate::telemetry::LogLines;

/// Run the service.
///
/// Decision records go to stdout, one JSON line each; logs go to stderr. The configuration is read again on SIGHUP and when
/// its content changes; a bad one never replaces a good one. SIGTERM and Ctrl-C let running requests finish.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The configuration file
    #[arg(long)]
    config: PathBuf,
}

impl Serve {
    pub(super) fn run(self) -> Exit {
        let lines = logs("info");
        match runtime() {
            Ok(runtime) => runtime.block_on(serve(self.config, lines)),
            Err(error) => {
                aside(format!("countersign: {error:#}"));
                Exit::Problem
            }
        }
    }
}

/// What the configuration may ask of this process's environment.
#[expect(clippy::disallowed_methods, reason = "WAP-02: read only where a source says workload_api: auto")]
pub(super) fn environment() -> Environment {
    Environment { spiffe_endpoint_socket: std::env::var("SPIFFE_ENDPOINT_SOCKET").ok() }
}

async fn serve(config: PathBuf, lines: LogLines) -> Exit {
    let start = Start {
        config,
        environment: environment(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        records: Records::Stdout,
    };
    let app = match App::start(start).await {
        Ok(app) => app,
        Err(error) => return refuse(&error),
    };
    app.export_logs(lines).await;
    tracing::info!(public = %app.public_address(), admin = %app.admin_address(), "serving");
    match until_told(&app).await {
        Ok(()) => {}
        Err(error) => {
            aside(format!("countersign: signals cannot be heard: {error}"));
            return Exit::Problem;
        }
    }
    tracing::info!("draining: no new connections, running requests finish");
    match app.stop().await {
        Drained::Whole => {
            tracing::info!("ended; every request was answered");
            Exit::Ok
        }
        Drained::Cut { left } => {
            tracing::warn!(left, "ended; some connections or requests did not finish in time");
            Exit::Ok
        }
    }
}

pub(super) fn refuse(error: &StartError) -> Exit {
    match error {
        StartError::Refused(report) => {
            aside(report.render(colors()));
            aside(format!("\ncountersign: the configuration is refused, {} problem(s)", report.problems()));
        }
        StartError::Other(error) => aside(format!("countersign: {error:#}")),
    }
    Exit::Problem
}

/// Reloads on SIGHUP until SIGTERM or Ctrl-C.
async fn until_told(app: &App) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = hangup.recv() => drop(app.reload().await),
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}
