//! The question of every request: may this caller have that resource with these scopes?
//!
//! Authentication comes first (`client_id`), then the target, then rules, then scopes. What is refused names no rule and nobody else.

use std::sync::Arc;

use super::callers::Difference;
use super::delegation::{narrowed, rests_on_too_much, tie, too_deep};
use super::grant::Behalf;
use super::rule::{Resource, Rule, Speaks};
use super::settings::{Mode, Require};
use super::{Ask, Grant, Policy};
use crate::identity::{Audience, CredentialKind, Scope, ScopeSet, WorkloadIdentity};
use crate::reason::{Denied, Malformed, Refusal, Unaccepted, any_of, quoted};
use crate::trust::Reuse;
use crate::verify::{Binding, Parties, Subject, rests_on};

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
    /// `client_id_mismatch`, `target_…`, `delegation_denied`, `not_granted`, `scope_denied`, `binding_required`.
    pub fn evaluate(&self, parties: &Parties, ask: &Ask, trace: &mut PolicyTrace) -> Result<Grant, Refusal> {
        let caller = parties.client.identity();
        let grant = self.decide_for(caller, parties.subject.as_ref(), parties.binding.as_ref(), ask, trace)?;
        bind(grant, parties)
    }

    /// Decides for a caller that acts for itself and proves no key.
    pub(super) fn decide(
        &self,
        caller: &WorkloadIdentity,
        ask: &Ask,
        trace: &mut PolicyTrace,
    ) -> Result<Grant, Refusal> {
        self.decide_for(caller, None, None, ask, trace)
    }

    pub(super) fn decide_for(
        &self,
        caller: &WorkloadIdentity,
        shown: Option<&Subject>,
        binding: Option<&Binding>,
        ask: &Ask,
        trace: &mut PolicyTrace,
    ) -> Result<Grant, Refusal> {
        check_same(caller, ask)?;
        let covering: Vec<&Arc<Rule>> = self
            .by_source
            .get(&caller.source)
            .into_iter()
            .flatten()
            .filter(|rule| rule.callers.covers(caller))
            .collect();
        let enforced = |rule: &&&Arc<Rule>| rule.mode == Mode::Enforce;
        check_client_id(caller, ask, covering.iter().filter(enforced).filter_map(|rule| rule.alias.as_deref()))?;
        if let Some(subject) = shown {
            let resources = self.resources.iter().map(Arc::as_ref);
            tie(subject, caller, ask.client_id.as_deref(), self.issuer.as_str(), binding, resources)?;
        }
        // Who shows a token of its own acts for nobody else; what that token could do bounds it all the same.
        let other = shown.filter(|subject| !subject.is(caller));
        let speaking: Vec<&Arc<Rule>> =
            covering.iter().copied().filter(|rule| rule.speaks_of(other) == Speaks::Yes).collect();
        let resource = match named_target(ask) {
            Some(target) => self.find(target)?,
            None => default_target(speaking.iter().copied().filter(|rule| rule.mode == Mode::Enforce))?,
        };
        trace.resource = Some(resource.settings.name.to_string());
        let of_mode = |mode: Mode| {
            let of_resource = |rule: &&&Arc<Rule>| Arc::ptr_eq(&rule.resource, &resource) && rule.mode == mode;
            speaking.iter().filter(of_resource).copied().collect::<Vec<&Arc<Rule>>>()
        };
        let names = |rules: &[&Arc<Rule>]| rules.iter().map(|rule| rule.name.to_string()).collect();
        let granting = of_mode(Mode::Enforce);
        trace.rules = names(&granting);
        trace.observed = names(&of_mode(Mode::Observe));
        if granting.is_empty() {
            return Err(self.refuse(caller, other, &covering, &resource));
        }
        let scopes = granted_scopes(&granting, shown, ask, &resource)?;
        let lifetimes = granting.iter().filter_map(|rule| rule.lifetime);
        Ok(Grant {
            binding: None,
            rests_on: Vec::new(),
            require: granting.iter().map(|rule| rule.require).fold(resource.settings.require, std::cmp::Ord::max),
            client: caller.clone(),
            client_id: client_id(caller, ask, &granting),
            lifetime: lifetimes.chain(ask.max_lifetime).fold(resource.settings.lifetime, std::cmp::Ord::min),
            scopes,
            rules: granting.iter().map(|rule| Arc::clone(&rule.name)).collect(),
            behalf: shown.map(|subject| Behalf::of(subject, caller, &granting)),
            resource,
        })
    }

    /// Nothing is granted: because the chain of actors is too long, or because no rule says so.
    fn refuse(
        &self,
        caller: &WorkloadIdentity,
        other: Option<&Subject>,
        covering: &[&Arc<Rule>],
        resource: &Arc<Resource>,
    ) -> Refusal {
        let Some(subject) = other else { return self.not_granted(caller, resource) };
        let mut of_resource = covering.iter().filter(|rule| Arc::ptr_eq(&rule.resource, resource));
        if of_resource.any(|rule| rule.speaks_of(other) == Speaks::TooDeep) {
            return too_deep(subject);
        }
        let (source, name) = (subject.who.source(), &resource.settings.name);
        let sentence = format!(
            "Verified as {}, but nothing is granted to it for {name} on behalf of subjects of {source}.",
            caller.id
        );
        Refusal::denied(
            Denied::NotGranted,
            sentence,
            format!("no rule with on_behalf_of: {{ subjects: {source} }} covers it"),
        )
        .mended_by(format!("a rule that grants {name} to {}, with on_behalf_of: {{ subjects: {source} }}", caller.id))
    }

    fn find(&self, target: Target<'_>) -> Result<Arc<Resource>, Refusal> {
        let found = self.resources.iter().find(|resource| target.names(resource));
        found.cloned().ok_or_else(|| {
            // What is an audience here was judged when it was configured, and is compared byte for byte.
            if let Some(why) = target.fault() {
                return why;
            }
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
        let of_resource =
            self.rules.iter().filter(|rule| Arc::ptr_eq(&rule.resource, resource) && rule.on_behalf_of.is_none());
        let counted = of_resource.map(|rule| (rule, rule.callers.unmet(caller).count()));
        let nearest = counted.filter(|(_, unmet)| *unmet > 0).min_by_key(|(_, unmet)| *unmet);
        let Some((rule, _)) = nearest else {
            return Refusal::denied(Denied::NotGranted, sentence, format!("no rule grants {}", settings.name))
                .mended_by(format!("a rule that grants {} to {}", settings.name, caller.id));
        };
        let differences = rule.callers.differences(caller);
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

    /// What makes a `resource` no target anywhere (RFC 8707 §2).
    fn fault(&self) -> Option<Refusal> {
        let (Self::Resource(resource) | Self::Both(resource, _)) = self else { return None };
        let why = Audience::parse(resource).err()?;
        let sentence = format!("resource {} is not a target: {why} (RFC 8707).", quoted(resource));
        Some(Refusal::denied(Denied::TargetDenied, sentence, ""))
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

fn named_target(ask: &Ask) -> Option<Target<'_>> {
    match (&ask.resource, &ask.audience) {
        (None, None) => None,
        (Some(resource), None) => Some(Target::Resource(resource)),
        (None, Some(audience)) => Some(Target::Audience(audience)),
        (Some(resource), Some(audience)) if resource == audience => Some(Target::Resource(resource)),
        (Some(resource), Some(audience)) => Some(Target::Both(resource, audience)),
    }
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
    // With an X.509-SVID it is the SPIFFE ID and nothing else (SCA-08, MTL-02).
    let takes_aliases = caller.kind != CredentialKind::X509Svid;
    if sent == caller.id.as_str() || (takes_aliases && aliases.any(|alias| alias == sent)) {
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
    let rests_on = parties.rests_on();
    if rests_on.len() > rests_on::MOST {
        return Err(rests_on_too_much());
    }
    Ok(Grant { binding, rests_on, ..grant })
}

/// All that the rules grant together, or what was asked of it; nothing is dropped silently (TOK-17).
fn granted_scopes(
    granting: &[&Arc<Rule>],
    subject: Option<&Subject>,
    ask: &Ask,
    resource: &Resource,
) -> Result<ScopeSet, Refusal> {
    let mut granted = ScopeSet::default();
    for rule in granting {
        granted.extend(&rule.granted());
    }
    let by_rules = granted.is_empty();
    let granted = narrowed(granted, subject);
    if granted.is_empty() && !by_rules {
        let sentence = format!("The subject token has no scope that is granted for {}.", resource.settings.name);
        return Err(Refusal::denied(Denied::ScopeDenied, sentence, "scopes only shrink from token to token"));
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
