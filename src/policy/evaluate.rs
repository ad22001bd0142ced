//! The question of every request: may this caller have that resource with these scopes?
//!
//! Authentication comes first (`client_id`), then the target, then rules, then scopes. What is refused names no rule and nobody else.

use std::sync::Arc;

use super::rule::{Difference, Resource, Rule};
use super::settings::{Mode, Require};
use super::{Ask, Grant, Policy};
use crate::identity::{Audience, Scope, ScopeSet, WorkloadIdentity};
use crate::reason::{Denied, Malformed, Refusal, Unaccepted, any_of, quoted};
use crate::trust::Reuse;
use crate::verify::Parties;

/// What the policy looked at, for the decision record.
#[derive(Clone, Debug, Default)]
pub struct PolicyTrace {
    /// The resource that was meant, once it was found.
    pub resource: Option<String>,
    /// Rules that matched and grant.
    pub rules: Vec<String>,
    /// Rules in `mode: observe` that matched.
    pub observed: Vec<String>,
}

impl Policy {
    /// Decides. Pure: the same parties, ask and policy give the same answer.
    ///
    /// # Errors
    /// `client_id_mismatch`, `target_…`, `not_granted`, `scope_denied`.
    pub fn evaluate(&self, parties: &Parties, ask: &Ask, trace: &mut PolicyTrace) -> Result<Grant, Refusal> {
        if parties.actor.is_some() || parties.subject.is_some() {
            return Err(Refusal::denied(Denied::DelegationDenied, "Acting for somebody else is not served here.", ""));
        }
        let grant = self.decide(parties.client.identity(), ask, trace)?;
        bind(grant, parties)
    }

    pub(super) fn decide(
        &self,
        caller: &WorkloadIdentity,
        ask: &Ask,
        trace: &mut PolicyTrace,
    ) -> Result<Grant, Refusal> {
        check_same(caller, ask)?;
        let covering: Vec<&Arc<Rule>> =
            self.by_source.get(&caller.source).into_iter().flatten().filter(|rule| rule.covers(caller)).collect();
        let enforced = || covering.iter().copied().filter(|rule| rule.mode == Mode::Enforce);
        check_client_id(caller, ask, enforced().filter_map(|rule| rule.alias.as_deref()))?;
        let resource = match named_target(ask)? {
            Some(target) => self.find(target)?,
            None => default_target(enforced())?,
        };
        trace.resource = Some(resource.settings.name.to_string());
        let names = |mode: Mode| {
            let of_mode = covering.iter().filter(|rule| Arc::ptr_eq(&rule.resource, &resource) && rule.mode == mode);
            of_mode.map(|rule| rule.name.to_string()).collect::<Vec<_>>()
        };
        trace.rules = names(Mode::Enforce);
        trace.observed = names(Mode::Observe);
        let granting: Vec<&Arc<Rule>> = enforced().filter(|rule| Arc::ptr_eq(&rule.resource, &resource)).collect();
        if granting.is_empty() {
            return Err(self.not_granted(caller, &resource));
        }
        let scopes = granted_scopes(&granting, ask, &resource)?;
        let lifetimes = granting.iter().filter_map(|rule| rule.lifetime);
        Ok(Grant {
            binding: None,
            require: granting.iter().map(|rule| rule.require).fold(resource.settings.require, std::cmp::Ord::max),
            client: caller.clone(),
            client_id: client_id(caller, ask, &granting),
            lifetime: lifetimes.chain(ask.max_lifetime).fold(resource.settings.lifetime, std::cmp::Ord::min),
            scopes,
            rules: granting.iter().map(|rule| Arc::clone(&rule.name)).collect(),
            resource,
        })
    }

    fn find(&self, target: Target<'_>) -> Result<Arc<Resource>, Refusal> {
        let found = self.resources.iter().find(|resource| target.names(resource));
        found.cloned().ok_or_else(|| {
            let asked = quoted(target.text());
            let sentence = format!("{asked} is not a target here; values are compared exactly.");
            let note = format!("no resource has the name or audience {asked}");
            let known = any_of(self.resources().map(|resource| resource.audience.as_str()));
            let refusal = Refusal::denied(Denied::TargetDenied, sentence, note);
            match self.nearest_resource(target.text()) {
                Some(near) => refusal
                    .comparing(asked, quoted(near.settings.audience.as_str()))
                    .mended_by(format!("ask for {}", near.settings.name)),
                None => refusal.comparing(asked, known).mended_by("ask for one of these, or add a resource"),
            }
        })
    }

    fn nearest_resource(&self, asked: &str) -> Option<&Resource> {
        let fold = |text: &str| text.to_lowercase().trim_end_matches('/').to_owned();
        let asked = fold(asked);
        let near = |resource: &&Arc<Resource>| {
            let settings = &resource.settings;
            let audience = fold(settings.audience.as_str());
            audience == asked || is_close(&audience, &asked) || is_close(settings.name.as_str(), &asked)
        };
        self.resources.iter().find(near).map(Arc::as_ref)
    }

    /// Says who to ask, and to the operator which rule came nearest.
    fn not_granted(&self, caller: &WorkloadIdentity, resource: &Arc<Resource>) -> Refusal {
        let settings = &resource.settings;
        let owner = settings.owner.as_ref().map_or_else(String::new, |owner| format!(" Ask its owner, {owner}."));
        let sentence = format!("Verified as {}, but nothing is granted to it for {}.{owner}", caller.id, settings.name);
        let of_resource = self.rules.iter().filter(|rule| Arc::ptr_eq(&rule.resource, resource));
        let counted = of_resource.map(|rule| (rule, rule.unmet(caller).count()));
        let nearest = counted.filter(|(_, unmet)| *unmet > 0).min_by_key(|(_, unmet)| *unmet);
        let Some((rule, _)) = nearest else {
            return Refusal::denied(Denied::NotGranted, sentence, format!("no rule grants {}", settings.name))
                .mended_by(format!("a rule that grants {} to {}", settings.name, caller.id));
        };
        let differences = rule.differences(caller);
        let told = |one: &Difference| format!("{} is {}, the rule says {}", one.field, one.found, one.wanted);
        let told: Vec<String> = differences.iter().map(told).collect();
        let side = |pick: fn(&Difference) -> &String| {
            differences.iter().map(|one| format!("{}: {}", one.field, pick(one))).collect::<Vec<_>>().join(", ")
        };
        let note = format!("nearest rule {:?}: {}", rule.name, told.join("; "));
        Refusal::denied(Denied::NotGranted, sentence, note)
            .comparing(side(|one| &one.found), side(|one| &one.wanted))
            .mended_by(format!("let the rule {:?} also name {}", rule.name, side(|one| &one.found)))
    }
}

/// Whether two names differ by a letter, or have the same letters: enough for a hint.
fn is_close(one: &str, two: &str) -> bool {
    let (one, two): (Vec<char>, Vec<char>) = (one.chars().collect(), two.chars().collect());
    let differing = one.iter().zip(&two).filter(|(a, b)| a != b).count();
    one.len().abs_diff(two.len()) <= 1 && (differing <= 1 || one.iter().all(|c| two.contains(c)))
}

/// A target as it was asked for.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// `resource`: an audience value.
    Resource(&'a str),
    /// `audience`: an audience value or a name.
    Audience(&'a str),
    /// Both, which must mean one.
    Both(&'a str, &'a str),
}

impl Target<'_> {
    const fn text(&self) -> &str {
        match self {
            Self::Resource(text) | Self::Audience(text) | Self::Both(text, _) => text,
        }
    }

    fn names(&self, resource: &Resource) -> bool {
        let settings = &resource.settings;
        let is_audience = |text: &str| settings.audience.as_str() == text;
        let is_either = |text: &str| is_audience(text) || settings.name.as_str() == text;
        match self {
            Self::Resource(text) => is_audience(text),
            Self::Audience(text) => is_either(text),
            Self::Both(text, other) => is_audience(text) && is_either(other),
        }
    }
}

fn named_target(ask: &Ask) -> Result<Option<Target<'_>>, Refusal> {
    if let Some(resource) = &ask.resource
        && let Err(why) = Audience::parse(resource)
    {
        let sentence = format!("resource {} is not a target: {why} (RFC 8707).", quoted(resource));
        return Err(Refusal::denied(Denied::TargetDenied, sentence, ""));
    }
    Ok(match (&ask.resource, &ask.audience) {
        (None, None) => None,
        (Some(resource), None) => Some(Target::Resource(resource)),
        (None, Some(audience)) => Some(Target::Audience(audience)),
        (Some(resource), Some(audience)) if resource == audience => Some(Target::Resource(resource)),
        (Some(resource), Some(audience)) => Some(Target::Both(resource, audience)),
    })
}

fn default_target<'a>(rules: impl Iterator<Item = &'a Arc<Rule>>) -> Result<Arc<Resource>, Refusal> {
    let mut found: Vec<&Arc<Resource>> = Vec::new();
    for rule in rules.filter(|rule| rule.default) {
        if !found.iter().any(|resource| Arc::ptr_eq(resource, &rule.resource)) {
            found.push(&rule.resource);
        }
    }
    match found.as_slice() {
        [only] => Ok(Arc::clone(only)),
        [] => Err(Refusal::malformed(
            Malformed::TargetMissing,
            "Name the resource that the token is for, as resource or audience.",
        )),
        _ => Err(Refusal::malformed(
            Malformed::TargetAmbiguous,
            "More than one resource is a default for this caller; name one.",
        )),
    }
}

/// A stream belongs to the identity that it began with.
fn check_same(caller: &WorkloadIdentity, ask: &Ask) -> Result<(), Refusal> {
    match &ask.same_as {
        Some(began) if *began != caller.id => {
            let sentence = "The fresh credential belongs to another identity than the one that began.";
            Err(Refusal::unaccepted(Unaccepted::ClientIdMismatch, sentence, "")
                .comparing(quoted(caller.id.as_str()), quoted(began.as_str())))
        }
        _ => Ok(()),
    }
}

/// An alias names the identities of its `from` and belongs to no other `from`: it is theirs whichever resource they ask for (design §4, CA-04).
fn check_client_id<'a>(
    caller: &WorkloadIdentity,
    ask: &Ask,
    mut aliases: impl Iterator<Item = &'a str>,
) -> Result<(), Refusal> {
    let Some(sent) = ask.client_id.as_deref() else { return Ok(()) };
    if sent == caller.id.as_str() || aliases.any(|alias| alias == sent) {
        return Ok(());
    }
    let sentence = format!("client_id does not belong to this credential. Leave it out, or send {}.", caller.id);
    let note = format!(
        "client_id={} derived={}; an alias of a rule would make it right",
        quoted(sent),
        quoted(caller.id.as_str())
    );
    Err(Refusal::unaccepted(Unaccepted::ClientIdMismatch, sentence, note)
        .comparing(quoted(sent), quoted(caller.id.as_str()))
        .mended_by("leave client_id out, or give the rule that alias"))
}

/// Binds the token where the caller asked for it, or where resource, rule or source want it (DPO-12). A certificate that merely
/// is there binds nothing.
fn bind(grant: Grant, parties: &Parties) -> Result<Grant, Refusal> {
    let wanted = grant.require == Require::Bound || parties.client.reuse() == Reuse::Bound;
    let binding = parties.binding.clone().filter(|binding| wanted || binding.is_asked_for());
    if wanted && binding.is_none() {
        let sentence = format!(
            "Tokens for {} are bound to a key of yours: send a DPoP proof, or connect with your X.509-SVID.",
            grant.resource()
        );
        return Err(Refusal::denied(Denied::BindingRequired, sentence, ""));
    }
    Ok(Grant { binding, ..grant })
}

/// All that the rules grant together, or what was asked of it; nothing is dropped silently (TOK-17).
fn granted_scopes(granting: &[&Arc<Rule>], ask: &Ask, resource: &Resource) -> Result<ScopeSet, Refusal> {
    let mut granted = ScopeSet::default();
    for rule in granting {
        granted.extend(&rule.scopes);
    }
    let Some(asked) = &ask.scopes else { return Ok(granted) };
    let missing: Vec<&str> = asked.missing_from(&granted).map(Scope::as_str).collect();
    if missing.is_empty() {
        return Ok(asked.clone());
    }
    let sentence = format!("These scopes of {} are not granted: {}.", resource.settings.name, missing.join(" "));
    Err(Refusal::denied(Denied::ScopeDenied, sentence, format!("granted: {granted}"))
        .comparing(asked.to_string(), granted.to_string())
        .mended_by(format!("ask for less, or add {} to the scopes of a rule", missing.join(" "))))
}

/// The one sent, else the alias if the granting rules give exactly one, else the SPIFFE ID (design §4).
fn client_id(caller: &WorkloadIdentity, ask: &Ask, granting: &[&Arc<Rule>]) -> String {
    if let Some(sent) = &ask.client_id {
        return sent.clone();
    }
    let mut aliases: Vec<&str> = granting.iter().filter_map(|rule| rule.alias.as_deref()).collect();
    aliases.sort_unstable();
    aliases.dedup();
    match aliases.as_slice() {
        [only] => (*only).to_owned(),
        _ => caller.id.to_string(),
    }
}
