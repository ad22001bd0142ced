//! What the operator socket says of each source, and orders that its last keys serve longer.
//!
//! Decides nothing: reads what is asked for, and who asks by the user id of the other end.

use axum::Json;
use axum::extract::State;
use axum::extract::connect_info::ConnectInfo;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::revoke::Operator;
use super::{OperatorState, refuse};
use crate::clock::{Lifetime, Timestamp};
use crate::exchange::ExtensionRecord;
use crate::identity::SourceName;
use crate::trust::{Extension, ExtensionOrder, FirstFailure, NotExtended, SourceStatus};

/// A push of keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PushReport {
    /// Who pushed.
    pub by: String,
    /// Seconds since.
    pub age_seconds: i64,
    /// The ids of the keys.
    pub key_ids: Vec<String>,
}

/// One source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// `spiffe`, `kubernetes`, `oidc` or `people`.
    pub kind: String,
    /// Usable keys.
    pub keys: usize,
    /// Keys that are passed over.
    pub skipped: usize,
    /// X.509 authorities.
    pub authorities: usize,
    /// What is wrong with them now.
    pub authorities_error: Option<String>,
    /// Whose keys it shows copies of.
    pub copies_of: Vec<String>,
    /// Seconds since the keys were confirmed.
    pub age_seconds: Option<i64>,
    /// Seconds until they may no longer be used.
    pub usable_seconds: Option<i64>,
    /// That moment, RFC 3339.
    pub usable_until: Option<String>,
    /// Seconds until the next attempt.
    pub next_seconds: Option<i64>,
    /// What is wrong now.
    pub last_error: Option<String>,
    /// Seconds until the first caller is refused, if the source stays away from now on.
    pub budget_seconds: i64,
    /// That moment, RFC 3339.
    pub budget_until: String,
    /// What ends then: `no_keys`, `max_stale`, `extension`, `agent_denied` or `x509_authority`.
    pub budget_ends: String,
    /// How far its clock is ahead of ours; behind is negative.
    pub skew_seconds: Option<i64>,
    /// How far ahead the times of its credentials may be.
    pub leeway_seconds: i64,
    /// An order that its keys serve longer, while it stands.
    pub extension: Option<ExtensionReport>,
    /// The last push of keys that was taken.
    pub last_push: Option<PushReport>,
}

/// An order that the last keys of a source serve longer, with RFC 3339 times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionReport {
    /// Who gave it.
    pub by: String,
    /// When.
    pub ordered: String,
    /// Until when.
    pub until: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// When the first caller of any source is refused, if its source stays away from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureReport {
    /// Seconds from now; 0 when callers are refused already.
    pub seconds: i64,
    /// That moment, RFC 3339.
    pub at: String,
    /// Whose callers.
    pub sources: Vec<String>,
}

/// What an operator asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtensionAsk {
    /// The source.
    pub source: String,
    /// How much longer, such as `4h`; `0s` ends what was ordered before.
    pub lasting: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExtensionAnswer {
    /// The order, unless it was one to end another.
    pub extension: Option<ExtensionReport>,
    /// The source as it now is.
    pub source: SourceReport,
}

impl SourceReport {
    pub(super) fn of(source: &SourceStatus, now: Timestamp) -> Self {
        let ahead = |moment: Timestamp| moment.since(now).seconds();
        Self {
            name: source.name.to_string(),
            kind: source.kind.to_owned(),
            keys: source.keys,
            skipped: source.skipped,
            authorities: source.authorities,
            authorities_error: source.authorities_error.clone(),
            copies_of: source.collisions.iter().map(|collision| collision.holder.to_string()).collect(),
            age_seconds: source.confirmed_at.map(|confirmed| now.since(confirmed).seconds()),
            usable_seconds: source.usable_until.map(ahead),
            usable_until: source.usable_until.map(Timestamp::to_rfc3339),
            next_seconds: source.next_attempt.map(ahead),
            last_error: source.last_error.clone(),
            budget_seconds: ahead(source.budget.until),
            budget_until: source.budget.until.to_rfc3339(),
            budget_ends: source.budget.ends.as_str().to_owned(),
            skew_seconds: source.skew_seconds,
            leeway_seconds: source.leeway.seconds(),
            extension: source.extension.as_ref().map(ExtensionReport::of),
            last_push: source.last_push.as_ref().map(|last| PushReport {
                by: last.by.clone(),
                age_seconds: now.since(last.at).seconds(),
                key_ids: last.key_ids.clone(),
            }),
        }
    }
}

impl ExtensionReport {
    fn of(extension: &Extension) -> Self {
        Self {
            by: extension.by.clone(),
            ordered: extension.ordered.to_rfc3339(),
            until: extension.until.to_rfc3339(),
            reason: extension.reason.clone(),
        }
    }
}

impl FailureReport {
    pub(super) fn of(sources: &[SourceStatus], now: Timestamp) -> Option<Self> {
        FirstFailure::of(sources, now).map(|first| Self {
            seconds: first.at.since(now).seconds(),
            at: first.at.to_rfc3339(),
            sources: first.sources.iter().map(SourceName::to_string).collect(),
        })
    }
}

pub(super) async fn extend(
    State(state): State<OperatorState>,
    ConnectInfo(operator): ConnectInfo<Operator>,
    Json(ask): Json<ExtensionAsk>,
) -> Response {
    let source = match SourceName::parse(&ask.source) {
        Ok(source) => source,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    let Some(by_time) = Lifetime::parse(&ask.lasting) else {
        return refuse(StatusCode::BAD_REQUEST, &format!("{} is no length of time such as 4h", ask.lasting));
    };
    let order = ExtensionOrder { source: source.clone(), by_time, by: operator.name(), reason: ask.reason };
    // It outlives the connection: an order that is kept stands at once, and with its record.
    let made = tokio::spawn(ordered(state.clone(), order)).await;
    let extension = match made {
        Ok(Ok(extension)) => extension,
        Ok(Err(why @ NotExtended::Senseless(_))) => return refuse(StatusCode::CONFLICT, &why.to_string()),
        Ok(Err(why @ NotExtended::Unkept(_))) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &why.to_string()),
        Err(_interrupted) => return refuse(StatusCode::SERVICE_UNAVAILABLE, "interrupted: see countersign status"),
    };
    let now = state.exchange.now();
    match state.trust.status().iter().find(|known| known.name == source) {
        Some(status) => Json(ExtensionAnswer { extension, source: SourceReport::of(status, now) }).into_response(),
        // A reload took it away in this moment; the order is kept for when it comes back.
        None => refuse(StatusCode::CONFLICT, &format!("{source} has left the configuration")),
    }
}

/// Gives the order, and records it.
async fn ordered(state: OperatorState, order: ExtensionOrder) -> Result<Option<ExtensionReport>, NotExtended> {
    let (source, by, reason) = (order.source.to_string(), order.by.clone(), order.reason.clone());
    let extension = state.trust.extend(order).await?.as_ref().map(ExtensionReport::of);
    state.exchange.record_extension(ExtensionRecord {
        action: if extension.is_some() { "extend".into() } else { "end".into() },
        source,
        until: extension.as_ref().map(|extension| extension.until.clone()),
        by,
        reason,
    });
    Ok(extension)
}
