//! Our own keys over the operator socket: the timeline, and changes of plan.
//!
//! Every change is made by the ring under its file lock, and answered with the whole timeline as it then is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::{OperatorState, refuse};
use crate::clock::{Lifetime, Timestamp};
use crate::issue::{Canary, JWKS_MAX_AGE, KeyRing, KeyRingFault, KeyStatus, Wait, named, timeline};
use crate::jose::Algorithm;

/// A change of plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyChange {
    /// Make a further key now; it signs once it has been published long enough.
    New {
        /// The algorithm.
        algorithm: String,
    },
    /// Let the next key take over as soon as it has been published long enough.
    Rotate {
        /// The algorithm.
        algorithm: String,
    },
    /// Let no waiting key take over for so long.
    Hold {
        /// The algorithm.
        algorithm: String,
        /// For how long, such as `2h`.
        lasting: String,
    },
    /// Let the key before the present one sign again.
    Rollback {
        /// The algorithm.
        algorithm: String,
    },
    /// Take a key out of the published set at once: its tokens stop verifying.
    Revoke {
        /// The key id, or its first six letters or more.
        key_id: String,
    },
}

/// The keys as they are.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeysReport {
    /// The timeline for people.
    pub timeline: String,
    /// Each key.
    pub keys: Vec<KeyReport>,
    /// The published keys that do not sign yet.
    #[serde(default)]
    pub waits: Vec<WaitReport>,
}

/// What a published key waits for.
#[derive(Debug, Serialize, Deserialize)]
pub struct WaitReport {
    /// Its key id.
    pub key_id: String,
    /// When it signs, as things are.
    pub until: String,
    /// When it signs whoever it still waits for.
    pub at_the_latest: String,
    /// How long verifiers may keep the key set, in seconds.
    pub cache_seconds: i64,
    /// The slowest verifier that was seen in 32 days, in seconds.
    pub slowest_verifier_seconds: Option<i64>,
    /// `waiting`, `passed` or `failed`.
    pub canary: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_fault: Option<String>,
    /// Whether its date is an operator's, who waits for nobody.
    #[serde(default)]
    pub by_order: bool,
    /// All of it for people.
    #[serde(default)]
    pub sentence: String,
}

impl WaitReport {
    pub(in crate::wire) fn of(wait: &Wait, at: Timestamp) -> Self {
        let shown: String = wait.key_id.as_str().chars().take(8).collect();
        let (canary, canary_fault) = match &wait.canary {
            Canary::Waiting => ("waiting", None),
            Canary::Passed => ("passed", None),
            Canary::Failed(why) => ("failed", Some(why.clone())),
        };
        Self {
            key_id: wait.key_id.to_string(),
            until: wait.later(at).map_or(wait.schedule.activate(), |(until, _)| until).to_rfc3339(),
            at_the_latest: wait.at_the_latest().to_rfc3339(),
            cache_seconds: JWKS_MAX_AGE.seconds(),
            slowest_verifier_seconds: wait.slowest.map(Lifetime::seconds),
            canary: canary.to_owned(),
            canary_fault,
            by_order: wait.by_order(),
            sentence: format!("{} {shown}… {}", wait.algorithm, wait.sentence(at)),
        }
    }
}

/// One key with its dates, RFC 3339.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeyReport {
    /// Its key id.
    pub key_id: String,
    /// Its algorithm.
    pub algorithm: String,
    /// Its state.
    pub state: String,
    /// Whether it signs.
    pub signs: bool,
    /// When it was or will be published.
    pub publish: String,
    /// When it begins to sign.
    pub activate: String,
    /// When it stops signing.
    pub retire: String,
}

impl KeysReport {
    fn of(keys: &[KeyStatus], waits: &[Wait], at: Timestamp) -> Self {
        let report = |key: &KeyStatus| KeyReport {
            key_id: key.key_id.to_string(),
            algorithm: key.algorithm.name().to_owned(),
            state: key.state.as_str().to_owned(),
            signs: key.signs,
            publish: key.schedule.publish().to_rfc3339(),
            activate: key.schedule.activate().to_rfc3339(),
            retire: key.schedule.retire().to_rfc3339(),
        };
        let mut timeline = timeline(keys, at);
        let waits: Vec<WaitReport> = waits.iter().map(|wait| WaitReport::of(wait, at)).collect();
        for wait in &waits {
            timeline.push_str(&wait.sentence);
            timeline.push('\n');
        }
        Self { timeline, keys: keys.iter().map(report).collect(), waits }
    }
}

pub(super) async fn show(State(state): State<OperatorState>) -> Json<KeysReport> {
    let at = state.exchange.now();
    let ring = state.exchange.issuer().ring();
    Json(KeysReport::of(&ring.states(at), &ring.waits(at), at))
}

pub(super) async fn change(State(state): State<OperatorState>, Json(change): Json<KeyChange>) -> Response {
    let (at, ring) = (state.exchange.now(), Arc::clone(state.exchange.issuer().ring()));
    tracing::info!(?change, "an operator changes the plan of the signing keys");
    match tokio::task::spawn_blocking(move || apply(&ring, &change, at).map(|keys| (keys, ring.waits(at)))).await {
        Ok(Ok((keys, waits))) => Json(KeysReport::of(&keys, &waits, at)).into_response(),
        Ok(Err(why)) => refuse(StatusCode::CONFLICT, &why),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn apply(ring: &KeyRing, change: &KeyChange, at: Timestamp) -> Result<Vec<KeyStatus>, String> {
    let algorithm = |name: &str| match Algorithm::from_name(name) {
        Some(algorithm @ (Algorithm::ES256 | Algorithm::RS256)) => Ok(algorithm),
        _ => Err(format!("{name} signs nothing here: ES256 or RS256")),
    };
    let told = |fault: KeyRingFault| fault.to_string();
    match change {
        KeyChange::New { algorithm: name } => ring.new_key(algorithm(name)?, at).map_err(told),
        KeyChange::Rotate { algorithm: name } => ring.rotate(algorithm(name)?, at).map_err(told),
        KeyChange::Rollback { algorithm: name } => ring.rollback(algorithm(name)?, at).map_err(told),
        KeyChange::Hold { algorithm: name, lasting } => {
            let lasting =
                Lifetime::parse(lasting).ok_or_else(|| format!("{lasting} is no length of time such as 2h"))?;
            ring.hold(algorithm(name)?, at.plus(lasting), at).map_err(told)
        }
        KeyChange::Revoke { key_id } => {
            let keys = ring.states(at);
            let key = named(&keys, key_id).ok_or("no key, or more than one, begins with that; give more of its id")?;
            ring.revoke(&key.key_id, at).map_err(told)
        }
    }
}
