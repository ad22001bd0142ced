//! Extending the keys of a source, and ending that early.
//!
//! Durable before it counts, and before it is answered. Who may ask is the operator socket's to say.

use std::sync::Arc;

use super::source::{CLOCK_DIFFERENCE, SourceKeys, TrustedSource};
use super::{Extension, MOST_EXTENSIONS, NotExtended, Trust, extension};
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
    let own = match own_deadline(source, now) {
        Ok(own) => own,
        Err(why) => return senseless(why),
    };
    let until = Extension::end(own, by_time, now)?;
    Ok(Some(Extension { ordered: now, until, by, reason }))
}

/// The deadline of what still serves, keys or X.509 authorities: of both, the one that comes first and can still be moved.
///
/// # Errors
/// Why neither can serve longer, as a sentence for the operator.
fn own_deadline(source: &TrustedSource, now: Timestamp) -> Result<Timestamp, String> {
    let (name, keys) = (&source.settings.name, &source.keys);
    let held = keys.held();
    let of_keys = held.as_ref().map(|held| {
        let present = held.at(now);
        (present.set.keys().is_empty(), held.ends, present.confirmed_at)
    });
    let of_authorities =
        keys.authorities.at(now).map(|(set, confirmed)| (set.all().is_empty(), keys.authorities.ends(), confirmed));
    let given = [of_keys, of_authorities].into_iter().flatten().collect::<Vec<_>>();
    if given.is_empty() {
        return Err(format!("{name} has never given any keys, so there is nothing that could serve longer"));
    }
    let ended = given.iter().find_map(|(_, ends, _)| *ends);
    let serving = given.iter().filter(|(is_empty, ends, _)| !is_empty && ends.is_none());
    let confirmed: Vec<Timestamp> = serving.map(|(_, _, confirmed_at)| *confirmed_at).collect();
    if confirmed.is_empty() {
        return Err(match ended {
            Some(ends) => {
                format!(
                    "the agent said PERMISSION_DENIED: what {name} gave ends at {ends:?}, and no order changes that"
                )
            }
            None => format!("{name} has withdrawn its keys, and no order brings them back"),
        });
    }
    let known = confirmed.into_iter().filter(|confirmed_at| *confirmed_at <= now.plus(CLOCK_DIFFERENCE));
    let own: Vec<Timestamp> = known.map(|confirmed_at| confirmed_at.plus(source.settings.max_stale)).collect();
    let movable = own.iter().filter(|own| own.plus(MOST_EXTENSIONS) > now).min();
    movable.or(own.iter().max()).copied().ok_or_else(|| {
        format!("the clock was set back since the keys of {name} were confirmed: nobody knows how old they are")
    })
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
