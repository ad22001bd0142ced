//! SPIFFE bundle endpoints (SPIFFE Federation §5): who is believed to be one, what of its bundle counts, and when it is asked again.
//!
//! Never goes from one profile to the other (FED-13), and never adds what an older bundle has (BUN-06).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::authorities::Authorities;
use super::engine::Shared;
use super::key_file::read_bounded;
use super::origin::Origin;
use super::outbound::Outbound;
use super::reading::Reading;
use super::server_identity::{Server, ServerSvid};
use super::source::{Confirmed, KeysNow, SourceKeys, locked};
use super::{Endpoint, EndpointProfile};
use crate::clock::{Lifetime, Timestamp};
use crate::identity::SpiffeId;
use crate::jose::{KeyPurpose, KeySet, Object, Value, parse_object};
use crate::problem::{Place, Problem};

/// As for other bundles in files.
const MOST_BYTES: u64 = 1024 * 1024;
/// When the bundle says nothing (Trust Domain and Bundle §4.1.2).
const REGULAR: Lifetime = Lifetime::from_minutes(5);
/// Until the first bundle has come nobody knows its hint, and nothing by the trust domain can be verified.
const BEFORE_THE_FIRST: Lifetime = Lifetime::from_minutes(1);
/// However soon the keys are stale, an endpoint is not asked all the time.
const SHORTEST_AFTER_A_FAILURE: Lifetime = Lifetime::from_minutes(1);
/// A bundle cannot make us ask more often, in seconds.
const SHORTEST_HINT: f64 = 10.0;
/// A bundle cannot make us keep a withdrawn key for longer, in seconds.
const LONGEST_HINT: f64 = 86_400.0;

/// Where the newest bundle stands among others: the last one that was taken as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lineage {
    /// Its `spiffe_sequence`.
    pub(super) sequence: Option<u64>,
    /// The fingerprint of the first bundle's authorities when it came.
    pub(super) first: Option<String>,
    /// Its authorities, where an X.509-SVID of the same trust domain is shown by the endpoint: they vouch for that, also when
    /// an older bundle has withdrawn some of them for callers. An endpoint whose state was restored would lock itself out.
    pub(super) vouching: Option<Arc<Authorities>>,
}

impl Lineage {
    /// `spiffe_sequence` of a document; what is no number of 64 bits orders nothing.
    pub(super) fn sequence_of(document: &Object) -> Option<u64> {
        match document.get("spiffe_sequence") {
            Some(Value::Number(number)) => number.as_u64(),
            _ => None,
        }
    }
}

/// A bundle as it came.
#[derive(Debug)]
pub(super) struct Bundle {
    keys: KeySet,
    authorities: Authorities,
    sequence: Option<u64>,
    hint: Option<Lifetime>,
}

impl Bundle {
    /// # Errors
    /// A sentence, when it is no bundle. A bundle without keys is one (BUN-02).
    fn read(document: &[u8]) -> Result<Self, String> {
        let keys = KeySet::parse(document, KeyPurpose::SpiffeBundle).map_err(|fault| fault.to_string())?;
        let authorities = Authorities::of_bundle(document)?;
        let members = parse_object(document).map_err(|fault| fault.to_string())?;
        Ok(Self { keys, authorities, sequence: Lineage::sequence_of(&members), hint: hint(&members) })
    }
}

/// `spiffe_refresh_hint` within our bounds (BUN-07, BUN-08); what is no whole number says nothing.
fn hint(document: &Object) -> Option<Lifetime> {
    let Some(Value::Number(number)) = document.get("spiffe_refresh_hint") else { return None };
    let seconds = number.as_f64().filter(|seconds| seconds.fract() == 0.0)?;
    Some(Lifetime::from_seconds(seconds.clamp(SHORTEST_HINT, LONGEST_HINT) as u32))
}

/// Asks one endpoint for its bundle.
pub(super) struct BundleEndpoint {
    url: Url,
    server: Option<SpiffeServer>,
    outbound: Outbound,
    /// Of the newest bundle.
    hint: Option<Lifetime>,
}

/// Whom `https_spiffe` expects.
struct SpiffeServer {
    id: SpiffeId,
    first: PathBuf,
    /// Whether the bundles that it serves are those of its own trust domain.
    serves_its_own: bool,
    /// The fingerprint of the first bundle's authorities.
    shown: Option<String>,
    /// Whether they are others than when the bundle came that is held, and of the same trust domain.
    begins_anew: bool,
    reading: Reading<Result<Authorities, String>>,
}

impl BundleEndpoint {
    /// `None` for other sources.
    pub(super) fn of(origin: &Origin) -> Option<Self> {
        let Origin::BundleEndpoint { url, profile, trust_domain } = origin else { return None };
        let endpoint = |ca| Endpoint { url: url.clone(), ca, token: None };
        let (server, outbound) = match profile {
            EndpointProfile::Web { ca } => {
                let mut outbound = Outbound::new(endpoint(ca.clone()));
                outbound.expect(Server::NamedOnTheWeb);
                (None, outbound)
            }
            EndpointProfile::Spiffe { server_id, first } => {
                let serves_its_own = server_id.is_member_of(trust_domain);
                let (id, first) = (server_id.clone(), first.clone());
                let reading = Reading::default();
                let server = SpiffeServer { id, first, serves_its_own, shown: None, begins_anew: false, reading };
                (Some(server), Outbound::new(endpoint(None)))
            }
        };
        Some(Self { url: url.clone(), server, outbound, hint: None })
    }

    /// What the other side's clock said in the answer to the last request; once.
    pub(super) const fn take_date(&mut self) -> Option<Timestamp> {
        self.outbound.take_date()
    }

    /// # Errors
    /// A sentence for the operator.
    pub(super) async fn fetch(&mut self, keys: &SourceKeys, now: Timestamp) -> Result<Bundle, String> {
        if let Some(server) = &mut self.server {
            let authorities = server.authorities(keys).await?;
            self.outbound.expect(Server::Svid(ServerSvid { id: server.id.clone(), authorities, at: now }));
        }
        let (host, path) = (self.url.authority(), self.url.path());
        let outcome = match self.outbound.get_following(&self.url).await {
            Ok(body) => Bundle::read(&body).map_err(|why| format!("the answer of {host}{path} is no bundle: {why}")),
            Err(why) => Err(self.with_whose_word(why)),
        };
        match &outcome {
            Ok(Bundle { keys: set, sequence, .. }) => {
                let count = set.keys().len();
                tracing::info!(source = %keys.name, sequence, keys = count, "the bundle endpoint {host}{path} answered");
            }
            Err(why) => tracing::info!(source = %keys.name, "the bundle endpoint {host}{path} gave no bundle: {why}"),
        }
        outcome
    }

    /// A handshake may fail because an operator's file counts that was not meant to.
    fn with_whose_word(&self, why: String) -> String {
        match &self.server {
            Some(server) if server.begins_anew => format!(
                "{why} (the authorities in {} are others than when the newest bundle came, and alone vouch until one comes)",
                server.first.display()
            ),
            _ => why,
        }
    }

    /// The bundle that was asked for at `began` is the whole truth about its trust domain: keys and authorities alike.
    ///
    /// # Errors
    /// A sentence, when it is older than the one that is held. Then it adds nothing and confirms nothing, and what it lacks is
    /// withdrawn all the same: a key that is missing in any bundle of the endpoint may be one that leaked. Once what is held
    /// has grown stale, or an operator has given other first authorities, whatever the endpoint says is taken: its numbers may
    /// have begun anew. A bundle without a number is taken, and the number before it stays the one that later ones are compared with.
    pub(super) fn take(
        &mut self,
        bundle: Bundle,
        keys: &Arc<SourceKeys>,
        shared: &Shared,
        began: Timestamp,
    ) -> Result<(), String> {
        let Bundle { keys: set, authorities, sequence, hint } = bundle;
        let begins_anew = self.server.as_ref().is_some_and(|server| server.begins_anew);
        let current = held_within_max_stale(keys, shared.clock.now()).filter(|_held| !begins_anew);
        let earlier = locked(&keys.lineage).sequence.filter(|_sequence| current.is_some());
        if let (Some(held), Some(earlier), Some(sequence)) = (current, earlier, sequence)
            && sequence < earlier
        {
            withdraw_missing(held, &set, &authorities, keys, shared);
            return Err(format!(
                "its bundle has spiffe_sequence {sequence}, and an earlier one had {earlier}: what it lacks is withdrawn, and \
                 nothing in it is added before max_stale has passed"
            ));
        }
        self.hint = hint;
        shared.ledger.publish(keys, set, Confirmed::At(began));
        let first = self.server.as_ref().and_then(|server| server.shown.clone());
        let of_its_own = self.server.as_ref().filter(|server| server.serves_its_own);
        let vouching = of_its_own.map(|_server| Arc::new(authorities.clone()));
        keys.vouches_by(authorities, Confirmed::At(began));
        // A bundle without a number is ordered by nothing, and does not make an older one the newest.
        *locked(&keys.lineage) = Lineage { sequence: sequence.or(earlier), first, vouching };
        Ok(())
    }

    /// The time until the next attempt, before jitter: whether this one went well or not (FED-07) a third of `max_stale` at most,
    /// and after one that failed a quarter of what is left before the keys are stale. A day's hint does not make one lost
    /// connection an outage.
    pub(super) fn interval(&self, keys: &SourceKeys, well: bool, now: Timestamp) -> Lifetime {
        let Some(held) = keys.held() else { return BEFORE_THE_FIRST };
        let max_stale = *locked(&keys.max_stale);
        let regular =
            self.hint.unwrap_or(REGULAR).min(part(max_stale, 3).max(Lifetime::from_seconds(SHORTEST_HINT as u32)));
        if well {
            return regular;
        }
        let left = held.at(now).confirmed_at.plus(max_stale).since(now);
        regular.min(part(left, 4).max(SHORTEST_AFTER_A_FAILURE))
    }
}

fn part(of: Lifetime, parts: i64) -> Lifetime {
    Lifetime::from_seconds(u32::try_from((of.seconds() / parts).max(0)).unwrap_or(u32::MAX))
}

/// What is held, unless it has grown stale: then any bundle is news.
fn held_within_max_stale(keys: &SourceKeys, now: Timestamp) -> Option<KeysNow> {
    let held = keys.held()?.at(now);
    (now.since(held.confirmed_at) <= *locked(&keys.max_stale)).then_some(held)
}

/// Takes from what is held what an older bundle lacks.
fn withdraw_missing(held: KeysNow, set: &KeySet, authorities: &Authorities, keys: &Arc<SourceKeys>, shared: &Shared) {
    shared.ledger.publish(keys, held.set.common_with(set), Confirmed::At(held.confirmed_at));
    if let (Some((held, confirmed_at)), false) = (keys.authorities.at(shared.clock.now()), keys.cancel.is_cancelled()) {
        let common = held.common_with(authorities);
        keys.authorities.publish(keys.name.as_str(), common, Confirmed::At(confirmed_at));
    }
}

impl SpiffeServer {
    /// Who may vouch for the server: the newest bundle of its trust domain, however old, and before there was one the first bundle.
    /// Other authorities in the file of the first bundle are the word of an operator: they count until a bundle has come by them.
    async fn authorities(&mut self, keys: &SourceKeys) -> Result<Arc<Authorities>, String> {
        let path = self.first.clone();
        let first = self.reading.of("the first bundle", move || first_authorities(&path)).await.flatten();
        let Lineage { first: known, vouching, .. } = locked(&keys.lineage).clone();
        self.shown = first.as_ref().ok().map(Authorities::fingerprint).or_else(|| known.clone());
        self.begins_anew = self.serves_its_own && known.is_some() && known != self.shown;
        match vouching {
            Some(newest) if !self.begins_anew => Ok(newest),
            _ => first.map(Arc::new),
        }
    }
}

/// A first bundle that cannot be used now is a lint: it may come later, and a source that has had a bundle does without.
pub(super) fn check_first(origin: &Origin, place: &Place) -> Option<Problem> {
    let Origin::BundleEndpoint { profile: EndpointProfile::Spiffe { first, .. }, .. } = origin else { return None };
    let why = first_authorities(first).err()?;
    Some(Problem::lint(place.clone(), why, "without it nobody can be believed to be the endpoint at the first contact"))
}

/// The authorities in the file of a first bundle.
///
/// # Errors
/// A sentence, also when there are none.
fn first_authorities(path: &Path) -> Result<Authorities, String> {
    let bytes = read_bounded(path, MOST_BYTES)?;
    let found = Authorities::of_bundle(&bytes).map_err(|why| format!("{} is no bundle: {why}", path.display()))?;
    match found.all().is_empty() {
        true => Err(format!("{} has no X.509 authority (use x509-svid)", path.display())),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Object {
        parse_object(text.as_bytes()).unwrap()
    }

    #[test]
    fn bun_07_bun_08_hints_are_seconds_within_bounds() {
        for (said, seconds) in [
            ("300", Some(300)),
            ("300.0", Some(300)),
            ("10", Some(10)),
            ("9", Some(10)),
            ("0", Some(10)),
            ("-1", Some(10)),
            ("86400", Some(86_400)),
            ("86401", Some(86_400)),
            ("1e18", Some(86_400)),
            ("18446744073709551615", Some(86_400)),
            ("1e300", Some(86_400)),
            ("1.5", None),
            ("\"300\"", None),
            ("null", None),
            ("true", None),
            ("[300]", None),
        ] {
            let found = hint(&members(&format!(r#"{{"spiffe_refresh_hint":{said}}}"#)));
            assert_eq!(found, seconds.map(Lifetime::from_seconds), "{said}");
        }
        assert_eq!(hint(&members("{}")), None);
    }

    #[test]
    fn bun_06_sequences_are_whole_numbers_of_64_bits() {
        for (said, sequence) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("1.5", None),
            ("\"7\"", None),
            ("null", None),
        ] {
            let found = Lineage::sequence_of(&members(&format!(r#"{{"spiffe_sequence":{said}}}"#)));
            assert_eq!(found, sequence, "{said}");
        }
    }
}
