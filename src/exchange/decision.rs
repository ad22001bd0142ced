//! A decision that is being made (design §6, AUD-01..06).
//!
//! Opened when a request arrives, filled as facts become known, recorded exactly once on every way out, also when the
//! connection drops.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::record::{
    AskedRecord, CredentialRecord, ExtensionRecord, KeyRecord, PushRecord, Record, RevocationRecord, ShownRecord,
    SubjectRecord, TokenRecord,
};
use super::{ErrorRef, GenerationId, NotRecorded, Recorder};
use crate::clock::{Clock, Timestamp};
use crate::identity::{Assurance, Confirmation, CredentialKind, SourceName, WorkloadIdentity};
use crate::issue::AccessToken;
use crate::policy::{Ask, Grant, PolicyTrace};
use crate::reason::{About, Refusal, quoted};
use crate::telemetry::{DecisionLabels, ExchangeSpan, Metrics, Spans};
use crate::verify::{Evidence, OwnToken, Subject};

/// Which door a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// The token endpoint.
    Http,
    /// The gRPC service.
    Grpc,
    /// The operator socket, which decides and grants nothing.
    Operator,
}

impl Transport {
    /// The word in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Operator => "operator",
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
    /// A question about a token was answered.
    Answered,
    /// The connection dropped first.
    Dropped,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Answered => "answered",
            Self::Dropped => "dropped",
        }
    }
}

/// A decision that is being made. Dropping it unfinished records that the connection dropped.
#[derive(Debug)]
pub struct Decision {
    reference: ErrorRef,
    record: Record,
    evidence: Evidence,
    policy: PolicyTrace,
    granted: TokenRecord,
    arrived: Timestamp,
    outcome: Outcome,
    recorded: bool,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    metrics: Metrics,
    spans: Option<Spans>,
}

impl Decision {
    pub(super) fn open(
        reference: ErrorRef,
        transport: Transport,
        peer: IpAddr,
        clock: Arc<dyn Clock>,
        recorder: Recorder,
        metrics: Metrics,
    ) -> Self {
        let arrived = clock.now();
        let record = Record {
            time: arrived.to_rfc3339(),
            r#ref: reference.to_string(),
            transport: transport.as_str().into(),
            peer: peer.to_string(),
            ..Record::default()
        };
        Self {
            reference,
            record,
            evidence: Evidence::default(),
            policy: PolicyTrace::default(),
            granted: TokenRecord::default(),
            arrived,
            outcome: Outcome::Dropped,
            recorded: false,
            clock,
            recorder,
            metrics,
            spans: None,
        }
    }

    pub(super) fn with_spans(mut self, spans: Option<Spans>) -> Self {
        self.spans = spans;
        self
    }

    /// The name of this decision.
    pub const fn reference(&self) -> &ErrorRef {
        &self.reference
    }

    pub(super) fn of_grant(&mut self, grant: super::Grants) {
        self.record.grant_type = Some(grant.as_str().into());
    }

    pub(super) fn uses(&mut self, generation: &GenerationId) {
        self.record.generation = Some(generation.to_string());
    }

    pub(super) fn asks(&mut self, ask: &Ask) {
        let cut = |text: &str| text.chars().take(256).collect();
        let short = |text: &Option<String>| text.as_deref().map(cut);
        self.record.asked = Some(AskedRecord {
            resource: short(&ask.resource),
            audience: short(&ask.audience),
            scope: ask.scopes.as_ref().map(|scopes| cut(&scopes.to_string())),
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
        self.record.credential = Some(CredentialRecord {
            id: identity.credential.id.clone(),
            issued: identity.credential.issued_at.map(Timestamp::to_rfc3339),
            expires: identity.credential.expires_at.to_rfc3339(),
            assurance: match &identity.assurance {
                Assurance::Bearer => "bearer".into(),
                Assurance::Bound(confirmation) => confirmation.member().into(),
            },
        });
    }

    /// A question about a token, which is no grant.
    pub(super) fn introspects(&mut self) {
        self.record.grant_type = Some("introspection".into());
    }

    /// What became known of the subject, and what its token merely said.
    pub(super) fn acts_for(&mut self, subject: Option<(&Subject, &str)>, evidence: &Evidence) {
        self.record.subject = Some(match subject {
            None => SubjectRecord { shown: shown(evidence), ..SubjectRecord::default() },
            Some((subject, token)) => SubjectRecord {
                sub: Some(subject.who.name()),
                source: Some(subject.who.source().to_string()),
                token: Some(token.to_owned()),
                expires: Some(subject.ends.to_rfc3339()),
                acted_by: subject.acted_by.iter().map(ToString::to_string).collect(),
                shown: None,
            },
        });
    }

    /// What an introspection told, and why not more.
    pub(super) fn told(&mut self, told: &Result<OwnToken, String>, evidence: &Evidence) {
        self.outcome = Outcome::Answered;
        self.record.active = Some(told.is_ok());
        self.record.subject = Some(match told {
            Err(why) => {
                self.record.note.clone_from(why);
                SubjectRecord { shown: shown(evidence), ..SubjectRecord::default() }
            }
            Ok(token) => SubjectRecord {
                sub: Some(token.subject.name()),
                source: Some(token.subject.source().to_string()),
                token: Some(token.id.clone()),
                expires: Some(token.expires_at.to_rfc3339()),
                acted_by: token.acted_by.iter().map(ToString::to_string).collect(),
                shown: None,
            },
        });
    }

    pub(super) fn decided(&mut self, grant: &Grant) {
        let cnf = |bound: &Confirmation| BTreeMap::from([(bound.member().to_owned(), bound.value().to_owned())]);
        self.granted = TokenRecord {
            client_id: grant.client_id().to_owned(),
            aud: grant.audience().to_string(),
            scope: grant.scopes().to_string(),
            cnf: grant.confirmation().map(cnf),
            ..TokenRecord::default()
        };
    }

    pub(super) fn granted(&mut self, token: &AccessToken) {
        self.outcome = Outcome::Allow;
        let granted = std::mem::take(&mut self.granted);
        let (jti, expires) = (token.id.clone(), token.expires_at.to_rfc3339());
        self.record.token = Some(TokenRecord { jti, expires, ..granted });
    }

    /// It is about revoking a token, not about having one.
    pub fn of_revocation(&mut self) {
        self.record.grant_type = Some("revocation".into());
    }

    /// Something was revoked or a revocation lifted, or there was nothing to do and the note says why.
    pub(super) fn revoked(&mut self, revocation: Option<RevocationRecord>, note: &str) {
        self.outcome = Outcome::Allow;
        self.record.revocation = revocation;
        note.clone_into(&mut self.record.note);
    }

    /// It is about the keys of a source.
    pub fn of_push(&mut self, source: &SourceName) {
        self.record.grant_type = Some("push".into());
        self.record.push = Some(PushRecord { source: source.to_string(), ..PushRecord::default() });
    }

    /// The keys of a source are to be replaced by these.
    pub(super) fn pushes(&mut self, push: PushRecord) {
        self.record.push = Some(push);
    }

    /// They are.
    pub(super) const fn pushed(&mut self) {
        self.outcome = Outcome::Allow;
    }

    /// An operator lets the keys of a source serve longer, or no longer.
    pub(super) fn extended(&mut self, extension: ExtensionRecord) {
        self.outcome = Outcome::Allow;
        self.record.grant_type = Some("extension".into());
        self.record.extension = Some(extension);
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.outcome = Outcome::Deny;
        let record = &mut self.record;
        record.token = None;
        record.revocation = None;
        if let Some(push) = &mut record.push {
            push.keys.clear();
        }
        record.reason = Some(refusal.reason().code().into());
        record.about = match refusal.is_about() {
            About::Caller => None,
            About::Subject => Some("subject".into()),
            About::Assertion => Some("assertion".into()),
        };
        refusal.to_caller().clone_into(&mut record.said);
        refusal.to_operator().clone_into(&mut record.note);
        record.got = refusal.comparison().map(|pair| pair.got.clone());
        record.want = refusal.comparison().map(|pair| pair.want.clone());
        record.remedy = refusal.remedy().map(str::to_owned);
    }

    /// Records now and waits until the record is durable; dropping it later records nothing more. Where more became known
    /// since, the same again is another record, which counts.
    pub(super) async fn make_durable(&mut self) -> Result<(), NotRecorded> {
        self.finish();
        self.recorder.durably(&self.record, self.clock.as_ref()).await?;
        self.recorded = true;
        self.count();
        Ok(())
    }

    /// Whether a durable record has been made.
    pub(super) const fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// The whole record as it stands, for who asked without wanting a token. Nothing is recorded or counted.
    pub(super) fn into_record(mut self, would_allow: bool) -> Record {
        self.recorded = true;
        self.finish();
        self.record.outcome = if would_allow { "would_allow".into() } else { "would_deny".into() };
        std::mem::take(&mut self.record)
    }

    /// Completes the record with what is known now. It may be called again when more is known.
    fn finish(&mut self) {
        let record = &mut self.record;
        record.outcome = self.outcome.as_str().into();
        record.took_ms = self.clock.now().since(self.arrived).millis();
        record.kind = self.evidence.kind.map(|kind: CredentialKind| kind.as_str().into());
        record.source = self.evidence.source.as_ref().map(ToString::to_string);
        record.key = self.evidence.key.as_ref().map(|thumbprint| KeyRecord {
            id: self.evidence.key_id.as_ref().map(ToString::to_string),
            thumbprint: thumbprint.to_string(),
            algorithm: self.evidence.algorithm.map_or("", |algorithm| algorithm.name()).into(),
        });
        if let Some(authority) = &self.evidence.authority {
            record.key = Some(KeyRecord { thumbprint: authority.clone(), ..KeyRecord::default() });
        }
        record.resource.clone_from(&self.policy.resource);
        record.rules.clone_from(&self.policy.rules);
        record.observed.clone_from(&self.policy.observed);
        // Once verified, the identity says it all; until then what was shown is all there is.
        if record.id.is_none() {
            record.shown = shown(&self.evidence);
        }
    }

    /// Counts the decision. What was recorded is recorded, and gives its labels away.
    fn count(&mut self) {
        let record = &mut self.record;
        let reason = match (&record.reason, self.outcome) {
            (Some(reason), _) => reason.clone(),
            (None, Outcome::Allow | Outcome::Answered) => "none".into(),
            (None, _) => "dropped".into(),
        };
        let labels = DecisionLabels {
            outcome: self.outcome.as_str(),
            reason,
            transport: record.transport.clone(),
            grant: record.grant_type.clone().unwrap_or("none".into()),
            source: record.source.take().unwrap_or_default(),
            resource: record.resource.take().unwrap_or_default(),
        };
        let now = self.clock.now();
        if let Some(spans) = &self.spans {
            spans.send(ExchangeSpan {
                began: self.arrived,
                ended: now,
                reference: record.r#ref.clone(),
                labels: labels.clone(),
                generation: record.generation.clone(),
            });
        }
        self.metrics.decided(labels, &record.r#ref, now, now.since(self.arrived));
    }
}

/// What a token said of itself, quoted.
fn shown(evidence: &Evidence) -> Option<ShownRecord> {
    let text = |text: &Option<String>| text.as_deref().map(quoted);
    evidence.fingerprint.as_ref().map(|fingerprint| ShownRecord {
        fingerprint: Some(fingerprint.clone()),
        iss: text(&evidence.shown_issuer),
        sub: text(&evidence.shown_subject),
        kid: text(&evidence.shown_key_id),
    })
}

impl Drop for Decision {
    fn drop(&mut self) {
        if self.recorded {
            return;
        }
        self.finish();
        self.recorder.record(&self.record);
        self.count();
    }
}
