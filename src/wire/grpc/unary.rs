//! A call with one message and one answer: the frame of every such method.
//!
//! Opens the record, reads the message, runs the core and answers, within the time that the caller gives. Knows no method.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use prost::Message;
use tonic::Status;

use super::answer::failed;
use super::credential::Beside;
use super::messages::Messages;
use super::{no_such_method, status, timeout};
use crate::exchange::{Decision, Exchange, Transport};
use crate::reason::Refusal;
use crate::wire::http::body::{Bodies, Unread};
use crate::wire::listener::ConnectionInfo;
use crate::wire::question::Question;

/// What the core says.
type Outcome<Q> = <Q as Question>::Outcome;

/// What is a method's own.
pub(super) trait Method {
    /// What a caller sends.
    type Message: Message + Default;
    /// What the core is asked.
    type Request: Question;

    /// The request that a message makes.
    ///
    /// # Errors
    /// What its shape shows.
    fn read(message: &Self::Message, beside: &Beside) -> Result<Self::Request, Refusal>;

    /// The answer.
    fn answer(outcome: &Outcome<Self::Request>, exchange: &Exchange) -> Response;
}

/// One call, to its end.
pub(super) async fn call<M: Method>(
    State(exchange): State<Arc<Exchange>>,
    State(bodies): State<Bodies>,
    Extension(connection): Extension<ConnectionInfo>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if !super::is_grpc(&headers) {
        return no_such_method();
    }
    let mut decision = exchange.open(Transport::Grpc, super::peer(&connection));
    M::Request::begin(&mut decision);
    let call = async {
        let message = match Messages::new(body, bodies).only().await {
            Ok(message) => message,
            Err(unread) => return Err(refuse_unread(unread, &exchange, &mut decision).await),
        };
        // Boxed: its state is large, and a message that never arrives whole would hold memory for all of it.
        Box::pin(outcome::<M>(&message, &Beside::of(&headers, &connection), &exchange, &mut decision)).await
    };
    match tokio::time::timeout(timeout::of_call(&headers), call).await {
        Ok(Ok(outcome)) => M::answer(&outcome, &exchange),
        Ok(Err(status)) => failed(&status),
        Err(_elapsed) => failed(&status::too_late()),
    }
}

async fn outcome<M: Method>(
    message: &M::Message,
    beside: &Beside,
    exchange: &Exchange,
    decision: &mut Decision,
) -> Result<Outcome<M::Request>, Status> {
    let outcome = match M::read(message, beside) {
        Ok(request) => request.ask(exchange, decision).await,
        Err(refusal) => Err(exchange.refuse(refusal, decision).await),
    };
    outcome.map_err(|refusal| status::refused(&refusal, decision.reference()))
}

/// What could not be read. Whose sender is gone has a record that says so, and is not refused.
pub(super) async fn refuse_unread(unread: Unread, exchange: &Exchange, decision: &mut Decision) -> Status {
    match unread {
        Unread::Refused(refusal) => {
            let refusal = exchange.refuse(refusal, decision).await;
            status::refused(&refusal, decision.reference())
        }
        Unread::CutShort => status::cut_short(),
    }
}
