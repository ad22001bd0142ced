//! `Watch`: a stream of tokens for as long as the caller may have them.
//!
//! Never gives a token without a whole new exchange. Nothing is made ahead: a reader that takes nothing lets nothing be made, and
//! what it finds when it goes on is the state of then.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream;
use tokio::sync::watch::Receiver;
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::answer::{data, streamed, trailers};
use super::credential::Beside;
use super::exchange::{request, response};
use super::messages::Messages;
use super::messages::malformed;
use super::unary::refuse_unread;
use super::v1::watch_request::Message as Sent;
use super::v1::watch_response::Message as Told;
use super::v1::{exchange_request, fresh_credential};
use super::{Core, no_such_method, status, timeout, v1};
use crate::clock::{Lifetime, Timestamp};
use crate::exchange::{Course, Decision, Exchange, Transport};
use crate::identity::SpiffeId;
use crate::lifecycle::Drain;
use crate::reason::{Reason, Refusal};
use crate::wire::http::body::Unread;
use crate::wire::listener::ConnectionInfo;

/// The soonest that an exchange is tried again.
const SOONEST: Lifetime = Lifetime::from_seconds(1);

/// How often the signing keys are looked at: which one signs is a matter of the clock and of files.
const LOOK_AT_KEYS: Lifetime = Lifetime::from_seconds(2);

pub(super) async fn watch(
    State(core): State<Core>,
    Extension(connection): Extension<ConnectionInfo>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if !super::is_grpc(&headers) {
        return no_such_method();
    }
    let stream = Watch {
        decision: Some(core.exchange.open(Transport::Grpc, super::peer(&connection))),
        peer: super::peer(&connection),
        changes: core.exchange.changes(),
        messages: Some(Messages::new(body, core.bodies)),
        exchange: core.exchange,
        drain: core.drain,
        beside: Beside::of(&headers, &connection),
        first: Some(Box::pin(sleep(timeout::LONGEST))),
        deadline: timeout::asked(&headers).map(|asked| Box::pin(sleep(asked))),
        asks: None,
        given: None,
    };
    streamed(stream::unfold(Some(Box::new(stream)), |open| async {
        let mut stream = open?;
        Some(match stream.next().await {
            Ok(told) => (data(&v1::WatchResponse { message: Some(told) }), Some(stream)),
            Err(status) => (trailers(&status), None),
        })
    }))
}

/// One open stream.
struct Watch {
    exchange: Arc<Exchange>,
    drain: Drain,
    peer: IpAddr,
    /// The decision of the first exchange, open since the call arrived.
    decision: Option<Decision>,
    /// What the caller sends, until it sends no more.
    messages: Option<Messages>,
    /// How long the first message may take.
    first: Option<Pin<Box<Sleep>>>,
    /// The caller's own `grpc-timeout`.
    deadline: Option<Pin<Box<Sleep>>>,
    changes: Receiver<()>,
    /// What may hold the credential, or be it, beside the messages.
    beside: Beside,
    /// What was asked for, with the newest credential.
    asks: Option<v1::ExchangeRequest>,
    given: Option<Given>,
}

/// The last token that was given.
struct Given {
    caller: SpiffeId,
    ends: Timestamp,
    course: Course,
}

/// Why a stream moves.
enum Moved {
    /// A message, or the end of them.
    Sent(Result<Option<v1::WatchRequest>, Unread>),
    /// What the last token rests on may have changed.
    Changed,
    /// It is time for what the course says.
    Due,
}

impl Watch {
    /// What the caller is told next; an error is the end.
    async fn next(&mut self) -> Result<Told, Status> {
        loop {
            match self.moved().await? {
                Moved::Sent(sent) => {
                    if !self.take(sent).await? {
                        continue;
                    }
                }
                Moved::Due => {
                    if let Some(needed) = self.needs_credential() {
                        return Ok(needed);
                    }
                }
                Moved::Changed => {}
            }
            // Boxed: its state is large, and a stream that waits would hold memory for all of it.
            if let Some(token) = Box::pin(self.token()).await? {
                return Ok(token);
            }
        }
    }

    /// Waits for what comes first. An error is what ends every stream: the drain, and the caller's own deadline.
    async fn moved(&mut self) -> Result<Moved, Status> {
        let clock = Arc::clone(self.exchange.clock());
        let due = self
            .given
            .as_ref()
            .map(|given| given.course.ask.map_or(given.course.next, |ask| ask.min(given.course.next)));
        let (first, deadline, messages) = (&mut self.first, &mut self.deadline, &mut self.messages);
        tokio::select! {
            biased;
            () = self.drain.begun() => Err(status::draining()),
            () = passed(deadline) => Err(status::too_late()),
            () = passed(first) => Err(status::too_late()),
            sent = sent(messages) => Ok(Moved::Sent(sent)),
            Ok(()) = self.changes.changed(), if due.is_some() => Ok(Moved::Changed),
            () = clock.sleep_until(due.unwrap_or(Timestamp::MAX)), if due.is_some() => Ok(Moved::Due),
        }
    }

    /// Takes a message; whether it is one to exchange for.
    async fn take(&mut self, sent: Result<Option<v1::WatchRequest>, Unread>) -> Result<bool, Status> {
        let sent = match sent {
            Ok(sent) => sent,
            Err(unread) => return Err(self.refuse(unread).await),
        };
        match (sent.map(|sent| sent.message), &mut self.asks) {
            (Some(Some(Sent::Exchange(asks))), None) => {
                if !asks.dpop_proof.is_empty() {
                    return Err(self
                        .refuse(malformed("A proof is good for one token: a stream takes none.").into())
                        .await);
                }
                self.first = None;
                self.asks = Some(*asks);
                Ok(true)
            }
            (Some(Some(Sent::FreshCredential(fresh))), Some(asks)) => {
                asks.credential = fresh.credential.map(|credential| match credential {
                    fresh_credential::Credential::JwtSvid(text) => exchange_request::Credential::JwtSvid(text),
                    fresh_credential::Credential::FederatedJwt(text) => {
                        exchange_request::Credential::FederatedJwt(text)
                    }
                });
                self.beside.authorization.clear();
                Ok(true)
            }
            // Nothing more will be sent; the stream goes on with what it has.
            (None, Some(_)) => {
                self.messages = None;
                Ok(false)
            }
            _ => {
                let sentence = "The first message is an exchange, every later one a fresh credential.";
                Err(self.refuse(malformed(sentence).into()).await)
            }
        }
    }

    /// Says once that the next token needs a fresh credential, when it is time to say so.
    fn needs_credential(&mut self) -> Option<Told> {
        let given = self.given.as_mut()?;
        let by = given.course.next;
        given.course.ask.take().filter(|ask| *ask < by)?;
        let by = Some(prost_types::Timestamp { seconds: by.seconds(), nanos: 0 });
        Some(Told::CredentialNeeded(v1::CredentialNeeded { by }))
    }

    /// Exchanges with what the caller showed last. `None` where that has to be tried again, while the last token is still good.
    async fn token(&mut self) -> Result<Option<Told>, Status> {
        self.changes.mark_unchanged();
        let mut decision = self.decision();
        let asked = match &self.asks {
            Some(asks) => request(asks, &self.beside),
            None => Err(malformed("There is nothing to exchange.")),
        };
        let outcome = match asked {
            Ok(mut asked) => {
                asked.ask.same_as = self.given.as_ref().map(|given| given.caller.clone());
                self.exchange.run(asked, &mut decision).await
            }
            Err(refusal) => Err(self.exchange.refuse(refusal, &mut decision).await),
        };
        match outcome {
            Ok(issued) => {
                let (course, ends) = (Course::after(&issued), issued.token.expires_at);
                self.given = Some(Given { caller: issued.caller.clone(), ends, course });
                Ok(Some(Told::Token(response(&issued))))
            }
            Err(refusal) if self.waits(&refusal) => Ok(None),
            Err(refusal) => Err(status::refused(&refusal, decision.reference())),
        }
    }

    /// What is ours or a dependency's passes: while the last token is good it is tried again, at its end for the last time.
    fn waits(&mut self, refusal: &Refusal) -> bool {
        let now = self.exchange.now();
        let Some(given) = self.given.as_mut().filter(|given| now < given.ends) else { return false };
        if !matches!(refusal.reason(), Reason::Unavailable(_)) {
            return false;
        }
        let after = refusal.retry_after().unwrap_or(Lifetime::ZERO).max(SOONEST);
        given.course.next = now.plus(after).min(given.ends);
        true
    }

    async fn refuse(&mut self, unread: Unread) -> Status {
        let mut decision = self.decision();
        refuse_unread(unread, &self.exchange, &mut decision).await
    }

    /// That of the call while nothing has been decided, then a new one for each.
    fn decision(&mut self) -> Decision {
        self.decision.take().unwrap_or_else(|| self.exchange.open(Transport::Grpc, self.peer))
    }
}

async fn passed(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn sent(messages: &mut Option<Messages>) -> Result<Option<v1::WatchRequest>, Unread> {
    match messages {
        Some(messages) => messages.next().await,
        None => std::future::pending().await,
    }
}

/// Tells the streams whenever another key signs than before. Ends with the drain.
pub(super) async fn follow_keys(exchange: Arc<Exchange>, drain: Drain) {
    let signing = |at: Timestamp| {
        let keys = exchange.issuer().ring().states(at);
        keys.into_iter().filter(|key| key.signs).map(|key| key.key_id).collect::<Vec<_>>()
    };
    let mut before = signing(exchange.now());
    loop {
        tokio::select! {
            () = drain.begun() => return,
            () = exchange.clock().sleep_until(exchange.now().plus(LOOK_AT_KEYS)) => {}
        }
        let now = signing(exchange.now());
        if now != before {
            before = now;
            exchange.something_changed();
        }
    }
}
