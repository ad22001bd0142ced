//! Revocations by operators: of identities, sources, keys and tokens, lifted again, listed.
//!
//! Every change is durable before it is answered, and recorded. Who may ask is the operator socket's to say.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::record::RevocationRecord;
use super::{Exchange, Generation, Transport, revocation};
use crate::clock::{Lifetime, Timestamp};
use crate::identity::{KeyId, SourceName, SpiffeId};
use crate::reason::quoted;
use crate::store::{Revocation, RevocationKind, StoreFault};

/// Characters of a reason.
const LONGEST_REASON: usize = 512;

/// Bytes of a name: people's subjects may be long.
const LONGEST_NAME: usize = 2048;

/// What an operator wants.
#[derive(Clone, Debug)]
pub struct RevocationChange {
    /// Whether it is lifted instead of made.
    pub lift: bool,
    /// What kind of thing.
    pub kind: RevocationKind,
    /// Its name: a SPIFFE ID or `<source>|<sub>`, a source, a key id or thumbprint, a `jti`.
    pub name: String,
    /// When it ends by itself; `None`: when it is lifted.
    pub lasting: Option<Lifetime>,
    /// Why, for people.
    pub reason: String,
    /// Who asks.
    pub by: String,
}

/// Why a change was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotChanged {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Senseless(String),
    /// The store did not keep it. It may or may not be revoked: ask again.
    #[error("{0}; nothing is promised, ask again")]
    Unkept(#[from] StoreFault),
}

/// One revocation, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationReport {
    /// `identity`, `source`, `key` or `token`.
    pub kind: String,
    /// What is revoked.
    pub name: String,
    /// When it began, RFC 3339.
    pub from: String,
    /// When it ends or ended, if that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ends: Option<String>,
    /// Whether it stands. Afterwards it is kept a while, and what was issued before its end stays refused.
    pub stands: bool,
    /// When it is forgotten.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kept_until: Option<String>,
    /// Who made it.
    pub by: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
    /// What the operator should know besides.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remark: Option<String>,
}

/// Who and why, as it is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Note {
    pub(super) by: String,
    pub(super) reason: String,
}

impl Exchange {
    /// Makes or lifts a revocation, durably.
    ///
    /// A revocation that stands is never shortened by another: the later end counts. Only lifting ends it early.
    ///
    /// # Errors
    /// [`NotChanged`].
    pub async fn change_revocation(&self, change: RevocationChange) -> Result<RevocationReport, NotChanged> {
        let (at, generation) = (self.now(), self.generation());
        let remark = self.makes_sense(&change, &generation, at)?;
        let (kind, life, asked) = (change.kind, longest_life(&generation), change.clone());
        let name = change.name.clone();
        let revise = move |before: Option<&Revocation>| match asked.lift {
            true => lifted(before?, &asked, life, at),
            false => Some(revoked(before, &asked, life, at)),
        };
        let after = self.store.revise(kind, &name, revise).await?;
        let Some(after) = after else {
            return Err(NotChanged::Senseless(format!("the {} {} is not revoked", kind.as_str(), quoted(&name))));
        };
        let report = RevocationReport { remark, ..report(kind, &name, &after, at) };
        tracing::warn!(lift = change.lift, ?report, "an operator changes what is revoked");
        let mut decision = self.open(Transport::Operator, IpAddr::V4(Ipv4Addr::LOCALHOST));
        decision.uses(generation.id());
        decision.of_revocation();
        let record = RevocationRecord {
            action: if change.lift { "lift".into() } else { "revoke".into() },
            kind: kind.as_str().into(),
            name,
            ends: after.ends.map(Timestamp::to_rfc3339),
            by: change.by,
            reason: change.reason,
        };
        decision.revoked(Some(record), "");
        // Open streams ask again.
        self.something_changed();
        Ok(report)
    }

    /// Everything that is revoked, the newest first; of single tokens `tokens` at most.
    pub fn revocations(&self, tokens: usize) -> Vec<RevocationReport> {
        let (snapshot, at) = (self.store.revocations(), self.now());
        let mut all: Vec<_> = snapshot.iter().filter(|(_, _, kept)| !kept.is_over(at)).collect();
        all.sort_by_key(|(kind, name, kept)| (std::cmp::Reverse(kept.from), *kind, *name));
        let mut left = tokens;
        let shown = all.into_iter().filter(|(kind, ..)| {
            let is_shown = *kind != RevocationKind::Token || left > 0;
            left = left.saturating_sub(usize::from(*kind == RevocationKind::Token));
            is_shown
        });
        shown.map(|(kind, name, kept)| report(kind, name, kept, at)).collect()
    }

    /// Whether the store works: if not, nothing can be revoked and nothing be used once.
    pub fn store_works(&self) -> bool {
        self.store.works()
    }

    /// How many there are of a kind.
    pub fn count_revocations(&self, kind: RevocationKind) -> usize {
        self.store.revocations().count(kind)
    }

    fn makes_sense(
        &self,
        change: &RevocationChange,
        generation: &Generation,
        at: Timestamp,
    ) -> Result<Option<String>, NotChanged> {
        let senseless = |why: String| Err(NotChanged::Senseless(why));
        let name = change.name.as_str();
        if change.reason.chars().count() > LONGEST_REASON || change.reason.chars().any(char::is_control) {
            return senseless(format!("a reason is one line of {LONGEST_REASON} characters at most"));
        }
        if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            return senseless(format!("a name has 1 to {LONGEST_NAME} bytes"));
        }
        if change.lasting == Some(Lifetime::ZERO) {
            return senseless("a revocation lasts longer than no time at all".to_owned());
        }
        match change.kind {
            RevocationKind::Identity => identity(name).map(|()| None),
            RevocationKind::Source => {
                let source = SourceName::parse(name).map_err(|why| NotChanged::Senseless(why.to_string()))?;
                let is_known = generation.trust().sources().any(|known| known.settings.name == source);
                Ok((!is_known).then(|| format!("no source of the present configuration is named {name}")))
            }
            RevocationKind::Key => {
                let key = KeyId::parse(name).map_err(|why| NotChanged::Senseless(why.to_string()))?;
                let signs = self.issuer.ring().states(at).into_iter().any(|own| own.key_id == key && own.signs);
                if signs && !change.lift {
                    return senseless(
                        "this key of ours signs now; countersign keys revoke puts another in its place".to_owned(),
                    );
                }
                Ok(None)
            }
            RevocationKind::Token if change.lasting.is_some() => {
                senseless("a token that is revoked stays so: leave --for out".to_owned())
            }
            RevocationKind::Token if change.lift => {
                senseless("a token that is revoked stays so; its owner can have another".to_owned())
            }
            RevocationKind::Token if name.contains('.') => senseless(
                "name a token by its jti (countersign decode shows it), and never show the token itself".to_owned(),
            ),
            RevocationKind::Token => Ok(None),
        }
    }
}

/// A SPIFFE ID, or a person as `<source>|<sub>`.
fn identity(name: &str) -> Result<(), NotChanged> {
    let is_person =
        name.split_once('|').is_some_and(|(source, sub)| SourceName::parse(source).is_ok() && !sub.is_empty());
    match SpiffeId::parse(name) {
        Ok(_) => Ok(()),
        Err(_) if is_person => Ok(()),
        Err(why) => {
            Err(NotChanged::Senseless(format!("{} is no SPIFFE ID ({why}), and no person as source|sub", quoted(name))))
        }
    }
}

/// The longest that something from before the end of a revocation may live: a day, or what a source allows.
fn longest_life(generation: &Generation) -> Lifetime {
    let lives = generation.trust().sources().map(|source| source.settings.max_life);
    lives.fold(revocation::LONGEST_LIFE, Lifetime::max)
}

/// What a revocation is after `change`.
fn revoked(before: Option<&Revocation>, change: &RevocationChange, life: Lifetime, at: Timestamp) -> Revocation {
    let before = before.filter(|before| stands(before, at));
    let from = before.map_or(at, |before| before.from);
    let asked = change.lasting.map(|lasting| at.plus(lasting));
    let ends = match before.map(|before| before.ends) {
        None => asked,
        // `None` is no end at all, later than any other.
        Some(standing) => standing.zip(asked).map(|(one, other)| one.max(other)),
    };
    // A token ends by itself.
    let last = if change.kind == RevocationKind::Token { Some(at) } else { ends };
    Revocation { from, ends, until: last.map(|last| kept_until(last, life)), note: note(change) }
}

/// What it is after it was lifted; `None` when there is nothing to lift.
fn lifted(before: &Revocation, change: &RevocationChange, life: Lifetime, at: Timestamp) -> Option<Revocation> {
    let (from, ends, until) = (before.from, Some(at), Some(kept_until(at, life)));
    stands(before, at).then(|| Revocation { from, ends, until, note: note(change) })
}

fn kept_until(end: Timestamp, life: Lifetime) -> Timestamp {
    end.plus(life).plus(revocation::MARGIN)
}

fn stands(revocation: &Revocation, at: Timestamp) -> bool {
    revocation::ended(revocation, at).is_none() && !revocation.is_over(at)
}

fn note(change: &RevocationChange) -> String {
    serde_json::to_string(&Note { by: change.by.clone(), reason: change.reason.clone() }).unwrap_or_default()
}

fn report(kind: RevocationKind, name: &str, kept: &Revocation, at: Timestamp) -> RevocationReport {
    let note: Note = serde_json::from_str(&kept.note).unwrap_or_default();
    RevocationReport {
        kind: kind.as_str().to_owned(),
        name: name.to_owned(),
        from: kept.from.to_rfc3339(),
        ends: kept.ends.map(Timestamp::to_rfc3339),
        stands: revocation::ended(kept, at).is_none(),
        kept_until: kept.until.map(Timestamp::to_rfc3339),
        by: note.by,
        reason: note.reason,
        remark: None,
    }
}
