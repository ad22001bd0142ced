//! The question of every request: may this caller have that resource with these scopes?
//!
//! Authentication comes first (`client_id`), then the target, then rules, then scopes. What is refused names no rule and nobody else.

use std::sync::Arc;

use super::behalf;
use super::callers::Difference;
use super::rule::{Resource, Rule};
use super::settings::{Mode, Require};
use super::{Ask, Grant, Policy};
use crate::identity::{Audience, Scope, ScopeSet, WorkloadIdentity};
use crate::reason::{Denied, Malformed, Refusal, Unaccepted, any_of, quoted};
use crate::trust::Reuse;
use crate::verify::{Parties, Subject};

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
    /// `client_id_mismatch`, `target_…`, `not_granted`, `scope_denied`, `delegation_denied`, `binding_required`.
    pub fn evaluate(&self, parties: &Parties, ask: &Ask, trace: &mut PolicyTrace) -> Result<Grant, Refusal> {
        let grant = self.decide_for(parties.client.identity(), parties.subject.as_ref(), ask, trace)?;
        bind(grant, parties)
    }

    /// The same for one who acts for itself and is bound to nothing, as tests of a configuration ask it.
    pub(super) fn decide(
        &self,
        caller: &WorkloadIdentity,
        ask: &Ask,
        trace: &mut PolicyTrace,
    ) -> Result<Grant, Refusal> {
        self.decide_for(caller, None, ask, trace)
    }

    fn decide_for(
        &self,
        caller: &WorkloadIdentity,
        subject: Option<&Subject>,
        ask: &Ask,
        trace: &mut PolicyTrace,
    ) -> Result<Grant, Refusal> {
        let of_source = || self.by_source.get(&caller.source).into_iter().flatten();
        let own: Vec<&Arc<Rule>> = of_source().filter(|rule| rule.covers(caller)).collect();
        check_client_id(caller, ask, own.iter().filter(enforces).filter_map(|rule| rule.alias.as_deref()))?;
        let other = behalf::other(caller, subject);
        let covering: Vec<&Arc<Rule>> = own.iter().copied().filter(|rule| is_for(rule, other)).collect();
        let enforced = || covering.iter().copied().filter(|rule| rule.mode == Mode::Enforce);
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
            return Err(match other {
                None => self.not_granted(caller, &resource),
                Some(other) => not_delegated(caller, other, &resource, &own),
            });
        }
        let scopes = granted_scopes(&granting, subject, ask, &resource)?;
        let lifetimes = granting.iter().filter_map(|rule| rule.lifetime);
        let impersonates = granting.iter().all(|rule| rule.on_behalf_of.as_ref().is_some_and(|by| by.impersonate));
        Ok(Grant {
            binding: None,
            subject: other.map(|other| other.who.clone()),
            actors: other.filter(|_| !impersonates).map_or_else(Vec::new, |other| behalf::actors(caller, other)),
            subject_ends: subject.map(|subject| subject.ends),
            require: granting.iter().map(|rule| rule.require).fold(resource.settings.require, std::cmp::Ord::max),
            client: caller.clone(),
            client_id: client_id(caller, ask, &granting),
            lifetime: lifetimes.fold(resource.settings.lifetime, std::cmp::Ord::min),
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
        let plain = of_resource.filter(|rule| rule.on_behalf_of.is_none());
        let counted = plain.map(|rule| (rule, rule.from.unmet(caller).count()));
        let nearest = counted.filter(|(_, unmet)| *unmet > 0).min_by_key(|(_, unmet)| *unmet);
        let Some((rule, _)) = nearest else {
            return Refusal::denied(Denied::NotGranted, sentence, format!("no rule grants {}", settings.name))
                .mended_by(format!("a rule that grants {} to {}", settings.name, caller.id));
        };
        let differences = rule.from.differences(caller);
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

fn enforces(rule: &&&Arc<Rule>) -> bool {
    rule.mode == Mode::Enforce
}

/// Whether a rule is for those who act for themselves, or for those who act for `other`.
fn is_for(rule: &Rule, other: Option<&Subject>) -> bool {
    match (&rule.on_behalf_of, other) {
        (None, None) => true,
        (Some(behalf), Some(other)) => behalf.speaks_of(other) && behalf.has_room_for(other),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// No rule lets the caller act for that subject: none speaks of it, or the chain of actors would be too long (TX-16).
fn not_delegated(caller: &WorkloadIdentity, other: &Subject, resource: &Arc<Resource>, own: &[&Arc<Rule>]) -> Refusal {
    let name = &resource.settings.name;
    let of_resource = own.iter().filter(enforces).filter(|rule| Arc::ptr_eq(&rule.resource, resource));
    let mut speaking = of_resource.filter_map(|rule| Some((rule, rule.on_behalf_of.as_ref()?)));
    let close = speaking.find(|(_, behalf)| behalf.speaks_of(other));
    let source = other.who.source();
    let Some((rule, behalf)) = close else {
        let sentence = format!(
            "Verified as {}, but nothing is granted to it for {name} on behalf of subjects of {source}.",
            caller.id
        );
        return Refusal::denied(Denied::NotGranted, sentence, "rules without on_behalf_of count only for oneself")
            .mended_by(format!(
                "a rule that grants {name} to {} with on_behalf_of: {{ subjects: {source} }}",
                caller.id
            ));
    };
    let (actors, depth) = (other.acted_by.len() + 1, behalf.depth);
    let note = format!("{actors} actors with the caller; rule {:?} has depth {depth}", rule.name);
    let sentence = if behalf.impersonate {
        "Somebody acts for this subject already, and this caller may only impersonate: the actors would be lost."
            .to_owned()
    } else {
        format!("The chain of those who act for this subject would have {actors} links; that is too deep here.")
    };
    Refusal::denied(Denied::DelegationDenied, sentence, note)
        .comparing(actors.to_string(), format!("at most {depth}"))
        .mended_by("fewer hops, or a greater depth in the rule")
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

/// All that the rules grant together, as far as the subject's token has it (TX-19), or what was asked of it; nothing is dropped
/// silently (TOK-17).
fn granted_scopes(
    granting: &[&Arc<Rule>],
    subject: Option<&Subject>,
    ask: &Ask,
    resource: &Resource,
) -> Result<ScopeSet, Refusal> {
    let mut granted = ScopeSet::default();
    for rule in granting {
        granted.extend(rule.on_behalf_of.as_ref().map_or(&rule.scopes, |behalf| &behalf.scopes));
    }
    if let Some(bound) = subject.and_then(|subject| subject.scopes.as_ref()) {
        let shared: ScopeSet = granted.iter().filter(|scope| bound.contains(scope)).cloned().collect();
        if shared.is_empty() && !granted.is_empty() {
            let sentence = format!("The subject's token has none of the scopes of {}.", resource.settings.name);
            return Err(Refusal::denied(Denied::ScopeDenied, sentence, format!("rules grant: {granted}"))
                .comparing(bound.to_string(), granted.to_string())
                .mended_by("a subject's token with one of these scopes"));
        }
        granted = shared;
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
