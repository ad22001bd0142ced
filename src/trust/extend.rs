//! Extending the keys of a source, and ending that early.
//!
//! Durable before it counts, and before it is answered. Who may ask is the operator socket's to say.

use std::sync::Arc;

use super::source::{SourceKeys, TrustedSource};
use super::{Extension, NotExtended, Trust, extension};
use crate::clock::{Lifetime, Timestamp};
use crate::identity::SourceName;

/// Characters of a reason.
const LONGEST_REASON: usize = 512;

/// What an operator wants.
#[derive(Clone, Debug)]
pub struct ExtensionOrder {
    /// For which source.
    pub source: SourceName,
    /// How much longer; no time at all ends what was ordered before.
    pub by_time: Lifetime,
    /// Who asks.
    pub by: String,
    /// Why, for people.
    pub reason: String,
}

impl Trust {
    /// Lets the last keys of a source serve longer, or ends that. The newest order stands, also when it is the shorter one.
    ///
    /// # Errors
    /// [`NotExtended`]: no such source, no keys that could serve longer, an agent that said no, or too long.
    pub async fn extend(&self, order: ExtensionOrder) -> Result<Option<Extension>, NotExtended> {
        let _writing = self.shared.writing.lock().await;
        let now = self.shared.clock.now();
        let current = self.current.load_full();
        let Some(source) = current.iter().find(|known| known.settings.name == order.source) else {
            return Err(NotExtended::Senseless(format!(
                "no source of the present configuration is named {}",
                order.source
            )));
        };
        let extension = ordered(source, order, now)?.map(Arc::new);
        let (shared, keys, kept) = (Arc::clone(&self.shared), Arc::clone(&source.keys), extension.clone());
        let write = move || extension::write(&shared.directory, &keys.name, &keys.digest, kept.as_deref());
        let written = tokio::task::spawn_blocking(write)
            .await
            .map_err(|_interrupted| NotExtended::Unkept("interrupted".to_owned()))?;
        written.map_err(|error| NotExtended::Unkept(error.to_string()))?;
        source.keys.extension.store(extension.clone());
        Ok(extension.as_deref().cloned())
    }
}

fn ordered(source: &TrustedSource, order: ExtensionOrder, now: Timestamp) -> Result<Option<Extension>, NotExtended> {
    let ExtensionOrder { source: name, by_time, by, reason } = order;
    let senseless = |why: String| Err(NotExtended::Senseless(why));
    if reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control) {
        return senseless(format!("a reason is one line of {LONGEST_REASON} characters at most"));
    }
    if by_time == Lifetime::ZERO {
        return match source.keys.extension.load().is_some() {
            true => Ok(None),
            false => senseless(format!("nothing was extended for {name}")),
        };
    }
    let Some(held) = source.keys.held() else {
        return senseless(format!("{name} has never given any keys, so there is nothing that could serve longer"));
    };
    if let Some(ends) = held.ends {
        return senseless(format!(
            "the agent said PERMISSION_DENIED: what {name} gave ends at {ends:?}, and no order changes that"
        ));
    }
    let present = held.at(now);
    if present.set.keys().is_empty() {
        return senseless(format!("{name} has withdrawn its keys, and no order brings them back"));
    }
    if present.is_from_ahead(now) {
        return senseless(format!(
            "the clock was set back since the keys of {name} were confirmed: nobody knows how old they are"
        ));
    }
    let own = present.confirmed_at.plus(source.settings.max_stale);
    let until = Extension::end(own, by_time, now)?;
    Ok(Some(Extension { ordered: now, until, by, reason }))
}

impl SourceKeys {
    /// Takes over the order of an earlier run. One that stands is said aloud, whatever became of its record.
    pub(super) fn remember(&self, extension: Option<Extension>, now: Timestamp) {
        if let Some(Extension { until, by, reason, .. }) = extension.as_ref().filter(|extension| extension.stands(now))
        {
            let until = until.to_rfc3339();
            tracing::warn!(source = %self.name, "the keys of {} serve until {until} by an order of {by}: {reason}", self.name);
        }
        self.extension.store(extension.map(Arc::new));
    }

    /// The order that stands at `at`.
    pub(super) fn extension_at(&self, at: Timestamp) -> Option<Extension> {
        self.extension.load().as_deref().filter(|extension| extension.stands(at)).cloned()
    }
}
