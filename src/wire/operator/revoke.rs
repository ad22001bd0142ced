//! Revocation over the operator socket.
//!
//! Decides nothing: reads what is asked for, and who asks by the user id of the other end.

use axum::Json;
use axum::extract::State;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use super::{OperatorState, refuse};
use crate::clock::Lifetime;
use crate::exchange::{NotChanged, RevocationChange, RevocationReport};
use crate::store::RevocationKind;

/// Single tokens that a list shows, the newest: there may be very many.
const TOKENS_SHOWN: usize = 1000;

/// What an operator asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationAsk {
    /// `identity`, `source`, `key` or `token`.
    pub kind: String,
    /// What.
    pub name: String,
    /// Whether a revocation is lifted instead.
    #[serde(default)]
    pub lift: bool,
    /// For how long, such as `2h`; until it is lifted when this is left out.
    #[serde(default)]
    pub lasting: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Everything that is revoked.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevocationList {
    /// The newest first; of single tokens the newest thousand.
    pub revocations: Vec<RevocationReport>,
    /// How many single tokens there are.
    pub tokens: usize,
}

/// How many revocations of each kind are kept.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RevocationCounts {
    /// Single tokens.
    pub token: usize,
    /// Workloads and people.
    pub identity: usize,
    /// Sources.
    pub source: usize,
    /// Keys.
    pub key: usize,
}

impl RevocationCounts {
    pub(super) fn of(state: &OperatorState) -> Self {
        let count = |kind| state.exchange.count_revocations(kind);
        Self {
            token: count(RevocationKind::Token),
            identity: count(RevocationKind::Identity),
            source: count(RevocationKind::Source),
            key: count(RevocationKind::Key),
        }
    }
}

/// Who is at the other end of the socket: the system says it, not the caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator(Option<u32>);

impl Operator {
    /// As records name it.
    pub(super) fn name(self) -> String {
        self.0.map_or_else(|| "an operator".to_owned(), |uid| format!("uid {uid}"))
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Operator {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|credentials| credentials.uid()))
    }
}

pub(super) async fn list(State(state): State<OperatorState>) -> Json<RevocationList> {
    let tokens = state.exchange.count_revocations(RevocationKind::Token);
    Json(RevocationList { revocations: state.exchange.revocations(TOKENS_SHOWN), tokens })
}

pub(super) async fn change(
    State(state): State<OperatorState>,
    ConnectInfo(operator): ConnectInfo<Operator>,
    Json(ask): Json<RevocationAsk>,
) -> Response {
    let Some(kind) = RevocationKind::from_name(&ask.kind) else {
        return refuse(StatusCode::BAD_REQUEST, "revoked are: identity, source, key, token");
    };
    let lasting = match ask.lasting.as_deref().map(|text| Lifetime::parse(text).ok_or(text)).transpose() {
        Ok(lasting) => lasting,
        Err(text) => return refuse(StatusCode::BAD_REQUEST, &format!("{text} is no length of time such as 2h")),
    };
    let by = operator.name();
    let change = RevocationChange { lift: ask.lift, kind, name: ask.name, lasting, reason: ask.reason, by };
    match state.exchange.change_revocation(change).await {
        Ok(report) => Json(report).into_response(),
        Err(why @ NotChanged::Senseless(_)) => refuse(StatusCode::CONFLICT, &why.to_string()),
        Err(why @ NotChanged::Unkept(_)) => refuse(StatusCode::SERVICE_UNAVAILABLE, &why.to_string()),
    }
}
