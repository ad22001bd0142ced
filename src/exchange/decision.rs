//! The record of one request (design §6, AUD-01..06).
//!
//! Opened when a request arrives, filled as facts become known, written exactly once on every way out. Never token material:
//! what the caller showed is named as shown.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::{ErrorRef, GenerationId, Recorder};
use crate::clock::{Clock, Timestamp};
use crate::identity::{KeyId, WorkloadIdentity};
use crate::issue::AccessToken;
use crate::jose::Algorithm;
use crate::policy::{Ask, Grant, PolicyTrace};
use crate::reason::{Refusal, quoted};
use crate::telemetry::{DecisionLabels, Metrics};
use crate::verify::Evidence;

/// Which door a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// The token endpoint.
    Http,
}

impl Transport {
    /// The word in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A token left.
    Allow,
    /// A reason left.
    Deny,
    /// The connection dropped first.
    Dropped,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Dropped => "dropped",
        }
    }
}

/// One line of the record. Absent facts are absent; text that came from outside unverified stands under `shown`.
#[derive(Debug, Default, Serialize)]
#[serde(default)]
struct Record {
    time: String,
    r#ref: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    transport: &'static str,
    peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    attributes: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<Credential>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<ShownFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    observed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
    #[serde(skip_serializing_if = "String::is_empty")]
    said: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    took_ms: i64,
}

#[derive(Debug, Serialize)]
struct Credential {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<&'static str>,
    expires: String,
    assurance: &'static str,
}

#[derive(Debug, Serialize)]
struct ShownFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

#[derive(Debug, Serialize)]
struct Asked {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct Token {
    jti: String,
    client_id: String,
    aud: String,
    scope: String,
    expires: String,
}

/// A decision that is being made. Dropping it unfinished writes that the connection dropped.
#[derive(Debug)]
pub struct Decision {
    reference: ErrorRef,
    record: Record,
    evidence: Evidence,
    policy: PolicyTrace,
    granted: Option<(String, String, String)>,
    arrived: Timestamp,
    outcome: Outcome,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    metrics: Metrics,
}

impl Decision {
    pub(super) fn open(
        reference: ErrorRef,
        transport: Transport,
        peer: IpAddr,
        arrived: Timestamp,
        clock: Arc<dyn Clock>,
        recorder: Recorder,
        metrics: Metrics,
    ) -> Self {
        let record = Record {
            time: arrived.to_rfc3339(),
            r#ref: reference.to_string(),
            transport: transport.as_str(),
            peer: peer.to_string(),
            ..Record::default()
        };
        Self {
            reference,
            record,
            evidence: Evidence::default(),
            policy: PolicyTrace::default(),
            granted: None,
            arrived,
            outcome: Outcome::Dropped,
            clock,
            recorder,
            metrics,
        }
    }

    /// The name of this decision.
    pub const fn reference(&self) -> &ErrorRef {
        &self.reference
    }

    /// The grant type, once it is known.
    pub const fn of_grant(&mut self, grant: super::Grants) {
        self.record.grant_type = Some(grant.as_str());
    }

    pub(super) fn uses(&mut self, generation: &GenerationId) {
        self.record.generation = Some(generation.to_string());
    }

    pub(super) fn asks(&mut self, ask: &Ask) {
        let short = |text: &Option<String>| text.as_deref().map(|text| text.chars().take(256).collect());
        self.record.asked = Some(Asked {
            resource: short(&ask.resource),
            audience: short(&ask.audience),
            scope: ask.scopes.as_ref().map(ToString::to_string),
            client_id: short(&ask.client_id),
        });
    }

    pub(super) const fn evidence(&mut self) -> &mut Evidence {
        &mut self.evidence
    }

    pub(super) const fn policy(&mut self) -> &mut PolicyTrace {
        &mut self.policy
    }

    pub(super) fn identified(&mut self, identity: &WorkloadIdentity) {
        self.record.id = Some(identity.id.to_string());
        self.record.attributes =
            identity.attributes.iter().map(|(name, value)| (name.to_string(), value.to_owned())).collect();
        self.record.credential = Some(Credential {
            id: identity.credential.id.clone(),
            key_id: identity.credential.key_id.as_ref().map(KeyId::to_string),
            key: self.evidence.key.as_ref().map(ToString::to_string),
            algorithm: self.evidence.algorithm.map(Algorithm::name),
            expires: identity.credential.expires_at.to_rfc3339(),
            assurance: match identity.assurance {
                crate::identity::Assurance::Bearer => "bearer",
            },
        });
    }

    pub(super) fn decided(&mut self, grant: &Grant) {
        self.granted = Some((grant.client_id().to_owned(), grant.audience().to_string(), grant.scopes().to_string()));
    }

    pub(super) fn granted(&mut self, token: &AccessToken) {
        self.outcome = Outcome::Allow;
        let (client_id, aud, scope) = self.granted.take().unwrap_or_default();
        self.record.token =
            Some(Token { jti: token.id.clone(), client_id, aud, scope, expires: token.expires_at.to_rfc3339() });
    }

    /// The request was refused. A door calls this for what it refuses before the exchange.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.outcome = Outcome::Deny;
        self.record.reason = Some(refusal.reason().code());
        self.record.said = refusal.to_caller().to_owned();
        self.record.note = refusal.to_operator().to_owned();
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        let took = self.clock.now().since(self.arrived);
        let record = &mut self.record;
        record.outcome = self.outcome.as_str();
        record.took_ms = took.millis();
        record.kind = self.evidence.kind.map(crate::identity::CredentialKind::as_str);
        record.source = self.evidence.source.as_ref().map(ToString::to_string);
        record.resource = self.policy.resource.take();
        record.rules = std::mem::take(&mut self.policy.rules);
        record.observed = std::mem::take(&mut self.policy.observed);
        // Once verified, the identity says it all; until then what was shown is all there is.
        if record.id.is_none() && self.evidence.fingerprint.is_some() {
            let shown = |text: &Option<String>| text.as_deref().map(quoted);
            record.shown = Some(ShownFacts {
                fingerprint: self.evidence.fingerprint.clone(),
                iss: shown(&self.evidence.shown_issuer),
                sub: shown(&self.evidence.shown_subject),
                kid: shown(&self.evidence.shown_key_id),
            });
        }
        let labels = DecisionLabels {
            outcome: self.outcome.as_str(),
            reason: record.reason.unwrap_or(if self.outcome == Outcome::Allow { "none" } else { "dropped" }),
            transport: record.transport,
            grant: record.grant_type.unwrap_or("none"),
            source: record.source.clone().unwrap_or_default(),
            resource: record.resource.clone().unwrap_or_default(),
        };
        self.metrics.decided(labels, took);
        match serde_json::to_string(record) {
            Ok(line) => self.recorder.record(line),
            Err(error) => tracing::error!(%error, "a decision record could not be written"),
        }
    }
}
