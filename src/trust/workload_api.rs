//! Bundles from the SPIFFE Workload API: two streams for each agent, JWT and X.509, shared by the sources that name it.
//!
//! Each message is the whole truth (WAP-06). A stream that is down takes no keys away; an agent that says no does, in time (WAP-09).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use spiffe::transport::{Endpoint, GrpcStatusCode, TransportError};
use spiffe::{WorkloadApiClient, WorkloadApiError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::bundle_stream::{Bundles, Message};
use super::engine::Shared;
use super::source::{SourceKeys, locked};
use crate::clock::{Lifetime, Timestamp};
use crate::reason::quoted;

pub(super) const SHORTEST_BACKOFF: Lifetime = Lifetime::from_millis(200);
pub(super) const LONGEST_BACKOFF: Lifetime = Lifetime::from_seconds(10);
/// A stream that lived this long was healthy: its end is no reason to wait longer than the first time (WAP-17).
const HEALTHY: Lifetime = Lifetime::from_seconds(10);
/// An agent can forget a registration for a moment.
const GRACE: Lifetime = Lifetime::from_seconds(60);
/// To connect, and to answer: the agent is on this machine.
const DEADLINE: Duration = Duration::from_secs(10);
/// An open stream confirms keys, so an agent that hangs must be noticed: it is asked for a message of its own this often.
const SIGN_OF_LIFE: Lifetime = Lifetime::from_minutes(5);
/// How often the files of last good keys hear that the stream is open.
const KEEP: Lifetime = Lifetime::from_minutes(1);

/// One of an agent's bundle streams. A message of over 4 MiB is refused by the transport and ends the stream (WAP-15).
pub(super) struct Agent {
    endpoint: String,
    bundles: Bundles,
    shared: Arc<Shared>,
    pub(super) cancel: CancellationToken,
    again: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sources: Vec<Arc<SourceKeys>>,
    /// The last message, while the stream is open.
    latest: Option<Message>,
    /// How the first attempt ended, until the next one ends: what a source that comes later is told.
    trouble: Option<String>,
    attempted: bool,
    stopped: bool,
    /// When the next attempt is due, while none is under way.
    next: Option<Timestamp>,
}

/// How a stream ended.
enum End {
    /// Try again after a wait.
    Down(String),
    /// PERMISSION_DENIED.
    Denied(String),
    /// Asking again would change nothing (WAP-08).
    Refused(String),
}

impl Agent {
    pub(super) fn new(endpoint: String, bundles: Bundles, shared: Arc<Shared>, cancel: CancellationToken) -> Arc<Self> {
        Arc::new(Self { endpoint, bundles, shared, cancel, again: Notify::new(), state: Mutex::default() })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// These sources have their keys from here now. One that is new hears at once what the others know.
    pub(super) fn serve(&self, sources: Vec<Arc<SourceKeys>>) {
        let mut state = locked(&self.state);
        for source in &sources {
            if state.sources.iter().any(|known| Arc::ptr_eq(known, source)) {
                continue;
            }
            if let Some(message) = &state.latest {
                self.bundles.publish(&self.shared, source, message);
            } else if let (true, Some(why)) = (state.attempted, &state.trouble) {
                self.bundles.failed(source, why.clone());
                self.bundles.plan(source, state.next);
            }
        }
        state.sources = sources;
        if state.stopped {
            self.again.notify_one();
        }
    }

    /// Connects again and again until nobody needs the agent.
    pub(super) async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::new(SHORTEST_BACKOFF, LONGEST_BACKOFF);
        loop {
            let end = tokio::select! {
                () = self.cancel.cancelled() => break,
                end = self.one_stream(&mut backoff) => end,
            };
            let stopped = matches!(end, End::Refused(_));
            self.down(end);
            let wait = backoff.after_failure(&*self.shared.entropy);
            let next = (!stopped).then(|| self.shared.clock.now().plus(wait));
            self.plan(next);
            self.keep();
            tokio::select! {
                () = self.cancel.cancelled() => break,
                () = self.again.notified() => {}
                () = self.shared.clock.sleep_until(next.unwrap_or(Timestamp::MAX)), if !stopped => {}
            }
            locked(&self.state).stopped = false;
            self.withdraw_what_ended();
        }
        let now = self.shared.clock.now();
        for source in self.sources() {
            self.bundles.disconnect(&self.shared, &source, now);
            self.bundles.attempted(&source);
        }
    }

    async fn one_stream(&self, backoff: &mut Backoff) -> End {
        let clock = &*self.shared.clock;
        let began = clock.now();
        self.begin(began);
        let opened = within(async {
            let client = WorkloadApiClient::connect(endpoint(&self.endpoint)?).await?;
            let stream = self.bundles.open(&client).await?;
            Ok((client, stream))
        });
        let (client, mut messages) = match opened.await {
            Ok(opened) => opened,
            Err(end) => return end,
        };
        let opened_at = clock.now();
        let mut first = true;
        // Each is begun once and slept to its end: begun again at every message, a sleep would grow when the clock is set back.
        let mut until_keep = clock.sleep_until(opened_at.plus(KEEP));
        let mut until_ask = clock.sleep_until(opened_at.plus(SIGN_OF_LIFE));
        loop {
            let message = if first {
                match tokio::time::timeout(DEADLINE, messages.next()).await {
                    Ok(message) => message,
                    Err(_elapsed) => return End::Down(silent()),
                }
            } else {
                tokio::select! {
                    message = messages.next() => message,
                    () = &mut until_keep => {
                        self.keep();
                        until_keep = clock.sleep_until(clock.now().plus(KEEP));
                        continue;
                    }
                    () = &mut until_ask => {
                        // What it says is left to the stream, which keeps the order of messages.
                        let alive = within(async {
                            match self.bundles.ask(&client).await {
                                Err(error) if !is_bad_message(&error) => Err(error),
                                _ => Ok(()),
                            }
                        });
                        if let Err(end) = alive.await {
                            // It has lived for minutes.
                            backoff.reset();
                            return end;
                        }
                        until_ask = clock.sleep_until(clock.now().plus(SIGN_OF_LIFE));
                        continue;
                    }
                }
            };
            first = false;
            if clock.now().since(opened_at) >= HEALTHY {
                backoff.reset();
            }
            match message {
                Some(Ok(message)) => self.take(message),
                Some(Err(error)) if is_bad_message(&error) => self.drop_message(&error),
                Some(Err(error)) => return end_of(&error),
                None => return End::Down("the agent closed the stream".to_owned()),
            }
            self.keep();
        }
    }

    fn begin(&self, now: Timestamp) {
        let mut state = locked(&self.state);
        state.next = None;
        state.sources.iter().for_each(|source| self.bundles.began(source, now));
    }

    fn plan(&self, next: Option<Timestamp>) {
        let mut state = locked(&self.state);
        state.next = next;
        state.sources.iter().for_each(|source| self.bundles.plan(source, next));
    }

    /// A message: what it names is published, and what it does not name is withdrawn.
    fn take(&self, message: Message) {
        let mut state = locked(&self.state);
        state.attempted = true;
        state.trouble = None;
        for source in &state.sources {
            self.bundles.publish(&self.shared, source, &message);
        }
        state.latest = Some(message);
    }

    /// A message that says nothing (WAP-07, C-15), or that the crate refuses as a whole: one key without `kid` in *any*
    /// trust domain of it is enough. The old keys stay, and from now on nobody confirms them until a good message comes.
    fn drop_message(&self, error: &WorkloadApiError) {
        let why = match error {
            WorkloadApiError::MissingRequiredField { .. } => {
                "the agent sent a message without any bundle; it was dropped, the keys before it stay".to_owned()
            }
            other => {
                format!("a message of the agent was dropped, the keys before it stay: {}", quoted(&other.to_string()))
            }
        };
        let now = self.shared.clock.now();
        let mut state = locked(&self.state);
        state.attempted = true;
        state.trouble = Some(why.clone());
        state.latest = None;
        for source in &state.sources {
            self.bundles.disconnect(&self.shared, source, now);
            self.bundles.failed(source, why.clone());
        }
    }

    fn down(&self, end: End) {
        let now = self.shared.clock.now();
        let denied = matches!(end, End::Denied(_));
        let mut state = locked(&self.state);
        state.stopped = matches!(end, End::Refused(_));
        let (End::Down(why) | End::Denied(why) | End::Refused(why)) = end;
        state.attempted = true;
        state.trouble = Some(why.clone());
        state.latest = None;
        for source in &state.sources {
            self.bundles.disconnect(&self.shared, source, now);
            if denied {
                self.bundles.end_at(&self.shared, source, now.plus(GRACE));
            }
            self.bundles.failed(source, why.clone());
        }
    }

    /// Readers see the end of the grace by themselves; here the keys are given up for good, in the file too.
    fn withdraw_what_ended(&self) {
        let now = self.shared.clock.now();
        for source in self.sources() {
            self.bundles.withdraw_ended(&self.shared, &source, now);
        }
    }

    fn sources(&self) -> Vec<Arc<SourceKeys>> {
        locked(&self.state).sources.clone()
    }

    fn keep(&self) {
        for source in self.sources() {
            self.shared.keep_soon(&source);
        }
    }
}

/// `unix:/path` is taken as it stands: the crate's own parser would percent-encode a blank in it.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, WorkloadApiError> {
    match text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
        Some(path) if path.starts_with('/') => Ok(Endpoint::Unix(path.into())),
        _ => Ok(Endpoint::parse(text)?),
    }
}

fn silent() -> String {
    format!("the agent gave no answer within {} s", DEADLINE.as_secs())
}

async fn within<T>(asked: impl Future<Output = Result<T, WorkloadApiError>>) -> Result<T, End> {
    match tokio::time::timeout(DEADLINE, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(end_of(&error)),
        Err(_elapsed) => Err(End::Down(silent())),
    }
}

const fn is_bad_message(error: &WorkloadApiError) -> bool {
    matches!(
        error,
        WorkloadApiError::MissingRequiredField { .. }
            | WorkloadApiError::InvalidResponseField { .. }
            | WorkloadApiError::JwtBundle(_)
            | WorkloadApiError::X509Bundle(_)
            | WorkloadApiError::SpiffeId(_)
    )
}

fn end_of(error: &WorkloadApiError) -> End {
    match error {
        WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_) => End::Denied(format!(
            "the agent says PERMISSION_DENIED ({}); register this process with it, or allow unauthenticated verifiers",
            quoted(&error.to_string())
        )),
        WorkloadApiError::Endpoint(fault) => End::Refused(format!("the agent's address is of no use: {fault}")),
        WorkloadApiError::Transport(TransportError::Status(status)) => match status.code() {
            GrpcStatusCode::PermissionDenied => End::Denied("the agent says PERMISSION_DENIED".to_owned()),
            code @ (GrpcStatusCode::InvalidArgument | GrpcStatusCode::Unimplemented) => End::Refused(format!(
                "the agent refuses the call ({code}: {}); it is not asked again before the next reload",
                quoted(status.message())
            )),
            code => End::Down(format!("the agent failed ({code}: {})", quoted(status.message()))),
        },
        other => End::Down(format!("the agent cannot be reached: {}", quoted(&deepest(other)))),
    }
}

pub(super) fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wap_03_addresses() {
        for (text, path) in [("unix:/run/a b.sock", "/run/a b.sock"), ("unix:///run/agent.sock", "/run/agent.sock")] {
            assert!(matches!(endpoint(text), Ok(Endpoint::Unix(found)) if found.as_os_str() == path), "{text}");
        }
        assert!(matches!(endpoint("tcp://127.0.0.1:8081"), Ok(Endpoint::Tcp { port: 8081, .. })));
        for text in ["unix://host/run/agent.sock", "unix:run/agent.sock", "tcp://localhost:1", "/run/agent.sock", ""] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }
}
