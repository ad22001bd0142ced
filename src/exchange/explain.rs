//! A decision, step by step: what held, what did not, and what would help.
//!
//! Reads a record and nothing else, so that it says later what was true then. For operators: it may name rules and values.

use std::fmt;

use super::record::{Record, SubjectRecord};
use crate::reason::{Denied, Malformed, Reason, Unaccepted, Unavailable, Unverified};

/// A step on the path of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Parsed,
    Admitted,
    Source,
    Key,
    Signature,
    Claims,
    Audience,
    Time,
    Rate,
    Subject,
    Client,
    Target,
    Rule,
    Scopes,
    Token,
    Recorded,
}

impl Step {
    const ALL: [Self; 16] = [
        Self::Parsed,
        Self::Admitted,
        Self::Source,
        Self::Key,
        Self::Signature,
        Self::Claims,
        Self::Audience,
        Self::Time,
        Self::Rate,
        Self::Subject,
        Self::Client,
        Self::Target,
        Self::Rule,
        Self::Scopes,
        Self::Token,
        Self::Recorded,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Parsed => "parsed",
            Self::Admitted => "admitted",
            Self::Source => "source",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Audience => "audience",
            Self::Time => "time",
            Self::Rate => "rate",
            Self::Subject => "subject",
            Self::Client => "client_id",
            Self::Target => "target",
            Self::Rule => "rule",
            Self::Scopes => "scopes",
            Self::Token => "token",
            Self::Recorded => "recorded",
        }
    }

    /// Where a request ends that is refused for this reason. `verified` says whether a key had verified it by then.
    #[expect(clippy::match_same_arms, reason = "in the order of the table of reasons")]
    const fn of(reason: Reason, verified: bool) -> Self {
        match reason {
            Reason::Malformed(Malformed::TargetMissing | Malformed::TargetAmbiguous) if verified => Self::Target,
            Reason::Malformed(_) | Reason::Misshapen(_) => Self::Parsed,
            Reason::Unverified(Unverified::SourceUnknown) => Self::Source,
            Reason::Unverified(Unverified::SubjectInvalid) if verified => Self::Claims,
            Reason::Unverified(Unverified::SubjectInvalid) => Self::Source,
            Reason::Unverified(Unverified::KeyUnknown | Unverified::KeyAmbiguous | Unverified::AlgorithmRefused) => {
                Self::Key
            }
            Reason::Unverified(Unverified::SignatureInvalid) => Self::Signature,
            Reason::Unaccepted(Unaccepted::AudienceMismatch | Unaccepted::AudienceNearMiss) => Self::Audience,
            Reason::Unaccepted(
                Unaccepted::TokenExpired
                | Unaccepted::TokenNotYetValid
                | Unaccepted::TokenTooOld
                | Unaccepted::TokenLifetime,
            ) => Self::Time,
            Reason::Unaccepted(Unaccepted::TokenLegacy | Unaccepted::ClaimsInvalid) => Self::Claims,
            Reason::Unaccepted(Unaccepted::ClientIdMismatch) => Self::Client,
            Reason::Unaccepted(Unaccepted::AlreadyUsed | Unaccepted::NotAlive | Unaccepted::Revoked) => Self::Time,
            Reason::Denied(Denied::TargetDenied) => Self::Target,
            Reason::Denied(Denied::ScopeDenied) if verified => Self::Scopes,
            Reason::Denied(Denied::ScopeDenied) => Self::Parsed,
            Reason::Denied(_) => Self::Rule,
            Reason::Unavailable(Unavailable::RateLimited) => Self::Rate,
            Reason::Unavailable(Unavailable::Overloaded) if !verified => Self::Admitted,
            Reason::Unavailable(
                Unavailable::KeysUnreachable | Unavailable::KeysStale | Unavailable::KeysRefreshing,
            ) => Self::Key,
            Reason::Unavailable(Unavailable::LivenessUnavailable | Unavailable::StoreUnavailable) => Self::Time,
            Reason::Unavailable(Unavailable::AuditUnavailable) => Self::Recorded,
            Reason::Unavailable(Unavailable::Overloaded) | Reason::Internal => Self::Token,
        }
    }
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Held,
    Failed,
    NotReached,
}

/// A decision, step by step. `Display` is the text for people.
#[derive(Clone, Debug)]
pub struct Explanation {
    headline: String,
    steps: Vec<(Mark, &'static str, Vec<String>)>,
    said: String,
    remedy: String,
}

impl Explanation {
    /// Explains a record.
    pub fn of(record: &Record) -> Self {
        let reason = record.reason.as_deref().and_then(Reason::from_code);
        let failed = reason.map(|reason| match record.about {
            Some(_) => Step::Subject,
            None => Step::of(reason, record.key.is_some()),
        });
        let decided = record.outcome == "would_allow" || record.outcome == "would_deny";
        let mut steps = Vec::new();
        for step in Step::ALL {
            let mark = match failed {
                Some(failed) if step == failed => Mark::Failed,
                Some(failed) if step > failed => Mark::NotReached,
                _ if decided && step >= Step::Token => Mark::NotReached,
                // A question about a token asks for nothing.
                _ if record.active.is_some() && (Step::Client..Step::Recorded).contains(&step) => continue,
                _ if record.outcome == "dropped" && !reached(record, step) => Mark::NotReached,
                _ => Mark::Held,
            };
            // Limits are worth a word only to whom they stopped.
            if mark != Mark::Failed && matches!(step, Step::Admitted | Step::Rate) {
                continue;
            }
            let lines = match mark {
                Mark::Held => vec![held(record, step)],
                Mark::Failed => failure(record),
                Mark::NotReached => Vec::new(),
            };
            if mark != Mark::Held || !lines.iter().all(String::is_empty) {
                steps.push((mark, step.name(), lines));
            }
        }
        let peer = if decided {
            "nothing was issued".to_owned()
        } else {
            format!("{} from {}", record.transport, record.peer)
        };
        let reason = record.reason.as_deref().map_or(String::new(), |reason| format!("  {reason}"));
        let generation = record.generation.as_deref().map_or(String::new(), |id| format!("  configuration {id}"));
        Self {
            headline: format!("{}  {}{reason}  {peer}{generation}", record.time, record.outcome.to_uppercase()),
            steps,
            said: record.said.clone(),
            remedy: record.remedy.clone().unwrap_or_default(),
        }
    }

    /// The name of the step that did not hold.
    pub fn failed_step(&self) -> Option<&'static str> {
        self.steps.iter().find(|(mark, ..)| *mark == Mark::Failed).map(|(_, name, _)| *name)
    }
}

fn reached(record: &Record, step: Step) -> bool {
    match step {
        Step::Parsed | Step::Admitted => record.asked.is_some(),
        Step::Source | Step::Key | Step::Signature => record.key.is_some(),
        Step::Claims | Step::Audience | Step::Time | Step::Rate => record.id.is_some(),
        Step::Subject | Step::Client | Step::Target => record.resource.is_some(),
        Step::Rule | Step::Scopes | Step::Token => record.token.is_some(),
        Step::Recorded => true,
    }
}

/// What a step that held is worth telling. Empty when there is nothing.
fn held(record: &Record, step: Step) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    match step {
        Step::Parsed => record.kind.as_deref().map_or_else(
            || "the request".to_owned(),
            |kind| match kind {
                "x509_svid" => "the certificate of the connection".to_owned(),
                kind => format!("a signed JWT, declared as {kind}"),
            },
        ),
        Step::Source => text(&record.source),
        Step::Key => record.key.as_ref().map_or_else(String::new, |key| {
            if record.kind.as_deref() == Some("x509_svid") {
                return format!("X.509 authority with SHA-256 {}", key.thumbprint);
            }
            format!("{} (thumbprint {})", key.id.as_deref().unwrap_or("without id"), key.thumbprint)
        }),
        Step::Signature => record.key.as_ref().map_or_else(String::new, |key| key.algorithm.to_string()),
        Step::Claims => text(&record.id),
        Step::Audience if record.kind.as_deref() == Some("x509_svid") => String::new(),
        Step::Audience => "made for us alone".to_owned(),
        Step::Time => record.credential.as_ref().map_or_else(String::new, |credential| {
            let issued = credential.issued.as_deref().map_or(String::new(), |issued| format!("issued {issued}, "));
            format!("{issued}ends {}", credential.expires)
        }),
        Step::Subject => record.subject.as_ref().map_or_else(String::new, |subject| of_subject(record, subject)),
        Step::Client => record.asked.as_ref().and_then(|asked| asked.client_id.clone()).unwrap_or_default(),
        Step::Target => text(&record.resource),
        Step::Rule => record.rules.iter().map(|rule| format!("{rule:?}")).collect::<Vec<_>>().join(", "),
        Step::Scopes => record.token.as_ref().map_or_else(String::new, |token| token.scope.clone()),
        Step::Token => record
            .token
            .as_ref()
            .map_or_else(String::new, |token| format!("jti {} for {}, ends {}", token.jti, token.aud, token.expires)),
        Step::Admitted | Step::Rate | Step::Recorded => String::new(),
    }
}

/// The subject, its token and who acted for it; for a question about a token, the answer too.
fn of_subject(record: &Record, subject: &SubjectRecord) -> String {
    let answer = match record.active {
        None => "",
        Some(true) => "active: ",
        Some(false) => "inactive: ",
    };
    let Some(sub) = &subject.sub else { return format!("{answer}{}", record.note) };
    let chain: Vec<String> = subject.acted_by.iter().map(|actor| format!(" after {actor}")).collect();
    let token = subject.token.as_deref().unwrap_or_default();
    let ends = subject.expires.as_deref().unwrap_or_default();
    format!("{answer}{sub} by token {token}, ends {ends}{}", chain.concat())
}

fn failure(record: &Record) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(got), Some(want)) = (&record.got, &record.want) {
        lines.push(format!("got   {got}"));
        lines.push(format!("want  {want}"));
    }
    if !record.note.is_empty() {
        lines.push(record.note.clone());
    }
    let of_subject = || record.subject.as_ref().and_then(|subject| subject.shown.as_ref());
    if let Some(shown) = record.shown.as_ref().or_else(of_subject) {
        let parts = [("iss", &shown.iss), ("sub", &shown.sub), ("kid", &shown.kid)];
        let told: Vec<String> =
            parts.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}"))).collect();
        if !told.is_empty() {
            lines.push(format!("it says of itself, unverified: {}", told.join(", ")));
        }
    }
    if lines.is_empty() {
        lines.push(record.said.clone());
    }
    lines
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline)?;
        for (mark, name, lines) in &self.steps {
            let mark = match mark {
                Mark::Held => "✓",
                Mark::Failed => "✗",
                Mark::NotReached => "-",
            };
            let mut lines = lines.iter();
            let first = lines.next().map_or("(not reached)", String::as_str);
            writeln!(f, " {mark} {name:<11} {first}")?;
            for line in lines {
                writeln!(f, "   {:<11} {line}", "")?;
            }
        }
        if !self.said.is_empty() {
            writeln!(f, " the caller heard    {}", self.said)?;
        }
        if !self.remedy.is_empty() {
            writeln!(f, " would pass with     {}", self.remedy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_step() {
        for reason in Reason::ALL {
            let record = Record { outcome: "deny".into(), reason: Some(reason.code().into()), ..Record::default() };
            let explanation = Explanation::of(&record);
            assert!(explanation.failed_step().is_some(), "{reason}");
            assert!(explanation.to_string().contains(reason.code()));
        }
    }

    #[test]
    fn what_differs_stands_side_by_side() {
        let record = Record {
            outcome: "deny".into(),
            reason: Some("audience_near_miss".into()),
            key: Some(super::super::KeyRecord::default()),
            got: Some(r#""https://id.example\n""#.to_owned()),
            want: Some(r#""https://id.example""#.to_owned()),
            remedy: Some("a token with the audience https://id.example".to_owned()),
            ..Record::default()
        };
        let text = Explanation::of(&record).to_string();
        assert!(text.contains("✗ audience    got   \"https://id.example\\n\"\n"), "{text}");
        assert!(text.contains("want  \"https://id.example\"\n"), "{text}");
        assert!(text.contains("- rule        (not reached)"), "{text}");
        assert!(text.contains("would pass with     a token with the audience"), "{text}");
    }
}
