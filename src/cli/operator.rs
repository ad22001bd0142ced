//! The command line's end of the operator socket.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Exit;
use super::output::{aside, runtime};
use crate::wire::operator::socket_in;

/// A running service answers within a moment.
const DEADLINE: Duration = Duration::from_secs(10);

/// Which running service to ask.
#[derive(Clone, Debug, Args)]
pub(super) struct Operator {
    /// The state folder of the running service [default: the first that has an operator socket of ./.countersign/state,
    /// ./state and /var/lib/countersign]
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// No service answers.
    #[error("{0}")]
    Unreachable(String),
    /// The service answered that it has none.
    #[error("{0}")]
    Refused(String),
}

impl Operator {
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        self.ask(reqwest::Method::GET, path, None).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, NoAnswer> {
        let body = serde_json::to_string(body).map_err(|error| NoAnswer::Refused(error.to_string()))?;
        self.ask(reqwest::Method::POST, path, Some(body)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<String>,
    ) -> Result<T, NoAnswer> {
        let socket = self.socket()?;
        let unreachable = |error: reqwest::Error| {
            NoAnswer::Unreachable(format!("no service answers at {}: {error}", socket.display()))
        };
        let client = super::http::client(None).map_err(|error| NoAnswer::Refused(format!("{error:#}")))?;
        let client = client.unix_socket(socket.as_path()).timeout(DEADLINE).build().map_err(unreachable)?;
        let mut request = client.request(method, format!("http://operator{path}"));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.map_err(unreachable)?;
        let is_answer = response.status().is_success();
        let text = response.text().await.map_err(unreachable)?;
        if is_answer {
            return serde_json::from_str(&text)
                .map_err(|error| NoAnswer::Refused(format!("the answer is of another version: {error}")));
        }
        let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let said = said.get("error").and_then(serde_json::Value::as_str).unwrap_or("the service refused");
        Err(NoAnswer::Refused(said.to_owned()))
    }

    fn socket(&self) -> Result<PathBuf, NoAnswer> {
        let folders = match &self.state {
            Some(folder) => vec![folder.clone()],
            None => ["./.countersign/state", "./state", "/var/lib/countersign"].map(PathBuf::from).into(),
        };
        folders.iter().map(|folder| socket_in(folder)).find(|socket| socket.exists()).ok_or_else(|| {
            let looked: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            NoAnswer::Unreachable(format!(
                "there is no operator socket in {}; name the state folder with --state",
                looked.join(", ")
            ))
        })
    }
}

/// Runs a question to the socket and tells its answer, or why there is none, with the exit code for it.
pub(super) fn tell<T>(
    command: &str,
    ask: impl Future<Output = Result<T, NoAnswer>>,
    tell: impl FnOnce(T) -> Exit,
) -> Exit {
    let asked = match runtime() {
        Ok(runtime) => runtime.block_on(ask),
        Err(error) => Err(NoAnswer::Refused(format!("{error:#}"))),
    };
    let (exit, why) = match asked {
        Ok(answer) => return tell(answer),
        Err(NoAnswer::Unreachable(why)) => (Exit::Unreachable, why),
        Err(NoAnswer::Refused(why)) => (Exit::Problem, why),
    };
    aside(format!("countersign {command}: {why}"));
    exit
}
