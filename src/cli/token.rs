//! `countersign token`: one exchange from the command line, or a file that is kept fresh.

mod watch;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::credential::{NoCredential, Who};
use super::masked::{claims, masked};
use super::output::{aside, line, runtime};
use super::surroundings::Surroundings;
use super::{Exit, Format, http};
use crate::secret::Secret;

/// The wait after a failed renewal doubles from here to [`LONGEST_WAIT`].
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Get a token for a resource, as a workload.
///
/// Fetches the workload's identity (a JWT-SVID from the SPIFFE agent, a service-account token by TokenRequest, or the token in a
/// file) and exchanges it. Beside a running `countersign up` no flags but --as and --for are needed. The token is masked when
/// stdout is a terminal; a pipe gets it whole.
#[derive(Debug, Args)]
pub(super) struct Token {
    /// The resource, by name or audience [default: the one that is the caller's default]
    #[arg(long = "for", value_name = "RESOURCE")]
    resource: Option<String>,
    /// The scopes, with spaces between [default: all that are granted]
    #[arg(long)]
    scope: Option<String>,
    #[command(flatten)]
    who: Who,
    /// The issuer [default: that of `up`]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The certificate authority of the issuer [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the token whole, also to a terminal
    #[arg(long)]
    raw: bool,
    /// Keep the token in this file, with mode 0600, renewed in time until ended
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Keep a stream open and print each token that comes, or keep it in the file of --output: the next one comes in time, and at once
    /// when rules, keys or revocations have changed
    #[arg(long)]
    watch: bool,
    /// How to print the result
    #[arg(short = 'o', long = "format", value_enum, default_value_t)]
    format: Format,
}

/// What came of an exchange.
struct Issued {
    token: Secret<String>,
    answer: Value,
}

impl Token {
    pub(super) fn run(self) -> Exit {
        let outcome = match runtime() {
            Ok(runtime) => runtime.block_on(self.start()),
            Err(error) => Err((Exit::Problem, format!("{error:#}"))),
        };
        outcome.unwrap_or_else(|(exit, why)| {
            aside(format!("countersign token: {why}"));
            exit
        })
    }

    async fn start(&self) -> Result<Exit, (Exit, String)> {
        let near = Surroundings::find();
        let issuer = self.issuer.clone().or_else(|| near.as_ref().map(|near| near.issuer.clone()));
        let issuer = issuer.ok_or((Exit::Usage, "no issuer is known: name it with --issuer".to_owned()))?;
        match &self.output {
            _ if self.watch => self.follow(&issuer, near.as_ref()).await,
            Some(file) => self.keep_fresh(file, &issuer, near.as_ref()).await,
            None => {
                let issued = self.exchange(&issuer, near.as_ref()).await?;
                self.print(&issued);
                Ok(Exit::Ok)
            }
        }
    }

    async fn exchange(&self, issuer: &str, near: Option<&Surroundings>) -> Result<Issued, (Exit, String)> {
        let credential = self.who.credential(issuer, near).await;
        let credential = credential.map_err(|NoCredential { exit, why }| (exit, why))?;
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", credential.assertion_type),
            ("client_assertion", credential.token.expose()),
        ];
        form.extend(self.resource.as_deref().map(|resource| ("audience", resource)));
        form.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        let unreachable = |error: String| (Exit::Unreachable, format!("{issuer} cannot be reached: {error}"));
        let client = http::client(self.ca.as_deref()).map_err(|error| (Exit::Problem, format!("{error:#}")))?;
        let client = client.build().map_err(|error| (Exit::Problem, error.to_string()))?;
        let response = client
            .post(format!("{}/token", issuer.trim_end_matches('/')))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(http::form(&form))
            .send()
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| unreachable(error.to_string()))?;
        let mut answer: Value = serde_json::from_str(&text).unwrap_or_default();
        match answer.get_mut("access_token").map(Value::take) {
            Some(Value::String(token)) => Ok(Issued { token: Secret::new("access token", token), answer }),
            _ => {
                let said = answer.get("error_description").and_then(Value::as_str).unwrap_or("the answer has no token");
                let error = answer.get("error").and_then(Value::as_str).unwrap_or_default();
                let retry = if status.is_server_error() { Exit::Unreachable } else { Exit::Problem };
                Err((retry, format!("{status} {error}: {said}")))
            }
        }
    }

    fn print(&self, issued: &Issued) {
        let whole = self.raw || !std::io::stdout().is_terminal();
        if self.format == Format::Json {
            let mut answer = issued.answer.clone();
            let token = if whole { issued.token.expose().clone() } else { masked(issued.token.expose()) };
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("access_token".to_owned(), token.into());
            }
            line(answer.to_string());
        } else if whole {
            line(issued.token.expose());
        } else {
            line(masked(issued.token.expose()));
            line(format!("{:#}", claims(&issued.token).unwrap_or_default()));
            line("masked: pipe it, or use --raw");
        }
    }

    /// A token that is no longer good is never left in the file: it is renewed after four fifths of its life, and removed when that fails to its end.
    async fn keep_fresh(&self, file: &Path, issuer: &str, near: Option<&Surroundings>) -> Result<Exit, (Exit, String)> {
        let mut ended = signal(SignalKind::terminate()).map_err(|error| (Exit::Problem, error.to_string()))?;
        let mut wait = SHORTEST_WAIT;
        let mut left = Duration::ZERO;
        loop {
            let pause = match self.exchange(issuer, near).await {
                Ok(issued) => {
                    write_whole(file, issued.token.expose())
                        .map_err(|error| (Exit::Problem, format!("{}: {error}", file.display())))?;
                    let seconds = |name: &str| issued.answer.get(name).and_then(Value::as_u64).unwrap_or(60);
                    left = Duration::from_secs(seconds("expires_in"));
                    wait = SHORTEST_WAIT;
                    aside(format!("{} is fresh for {} s", file.display(), seconds("expires_in")));
                    Duration::from_secs(seconds("refresh_in"))
                }
                Err((exit @ (Exit::Usage | Exit::Problem), why)) if left.is_zero() => return Err((exit, why)),
                Err((_, why)) => {
                    aside(format!("not renewed, tried again in {} s: {why}", wait.as_secs()));
                    let pause = wait;
                    wait = (wait * 2).min(LONGEST_WAIT);
                    pause
                }
            };
            tokio::select! {
                _ = ended.recv() => return Ok(Exit::Ok),
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
                () = tokio::time::sleep(pause) => {}
            }
            left = left.saturating_sub(pause);
            if left.is_zero() && std::fs::remove_file(file).is_ok() {
                aside(format!("{} was removed: its token has ended", file.display()));
            }
        }
    }
}

/// Beside the file first, then renamed: a reader sees the old token or the new one.
fn write_whole(file: &Path, token: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = file.with_file_name(name);
    let mut out = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    out.write_all(token.as_bytes())?;
    out.sync_all()?;
    std::fs::rename(&beside, file)
}
