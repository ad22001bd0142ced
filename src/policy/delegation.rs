//! Acting for somebody else: who may, for whom, and what is left of what the subject could do (RFC 8693).
//!
//! Looks at the caller, the subject and the newest actor; an older actor never decides anything (TX-15).

use std::collections::BTreeSet;

use super::compile::PolicyInput;
use super::rule::{Delegation, Resource};
use super::settings::OnBehalfOf;
use crate::identity::{ScopeSet, WorkloadIdentity};
use crate::jose::{Object, Value};
use crate::problem::{Place, Problem};
use crate::reason::{Denied, Refusal};
use crate::verify::{Binding, LONGEST_CHAIN, Subject, rests_on};

impl Delegation {
    /// Compiles what is configured, and says everything that is wrong with it.
    pub(super) fn compile(
        settings: &OnBehalfOf,
        place: &Place,
        input: &PolicyInput<'_>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut subjects = BTreeSet::new();
        for name in &settings.subjects {
            let before = subjects.len();
            let known = input.sources.iter().chain(input.subjects);
            let named = known.filter(|source| {
                source.name.as_str() == name || source.groups.iter().any(|group| group.as_str() == name)
            });
            subjects.extend(named.map(|source| source.name.clone()));
            if subjects.len() == before && !subjects.iter().any(|known| known.as_str() == name) {
                problems.push(Problem::new(
                    place.key("subjects"),
                    format!("there is no source, group or issuer of people {name:?}"),
                    "name one of subjects, or a source or group of trust",
                ));
            }
        }
        if !(1..=LONGEST_CHAIN).contains(&settings.depth) {
            problems.push(Problem::new(
                place.key("depth"),
                format!("a chain has 1 to {LONGEST_CHAIN} actors, the caller included"),
                "1 lets the caller act, and nobody for the caller",
            ));
        }
        let (depth, scopes) = (settings.depth, settings.scopes.clone());
        Self { subjects, depth, scopes, impersonate: settings.impersonate }
    }
}

/// Ties the subject's token to the caller (TX-12): it is addressed to us, to the caller, or to what the caller serves; whoever it
/// says may act is the caller (TX-17); and a bound one is shown with a proof of its key (TX-24).
///
/// # Errors
/// `delegation_denied`, `binding_required`.
pub(super) fn tie<'a>(
    subject: &Subject,
    caller: &WorkloadIdentity,
    client_id: Option<&str>,
    issuer: &str,
    binding: Option<&Binding>,
    mut resources: impl Iterator<Item = &'a Resource>,
) -> Result<(), Refusal> {
    if let Some(audience) = &subject.addressed_to
        && audience != caller.id.as_str()
        && !resources.any(|resource| resource.is_served_by(audience, caller))
    {
        let sentence = format!("The subject token is for {audience}, which is neither {} nor served by it.", caller.id);
        let note =
            "a token is exchanged onward by whoever it was made for: served_by of its resource names that workload";
        return Err(denied(sentence, note));
    }
    if let Some(may_act) = &subject.may_act
        && !is_named(may_act, caller, client_id, issuer)
    {
        let sentence = format!("The subject token says who may act for its subject, and {} is not named.", caller.id);
        return Err(denied(sentence, "may_act of the subject token"));
    }
    let proven = binding.map(|binding| &binding.confirmation);
    if subject.confirmation.is_some() && subject.confirmation.as_ref() != proven {
        let sentence = "The subject token is bound to a key: prove on this request that you hold it.";
        return Err(Refusal::denied(Denied::BindingRequired, sentence, "cnf of the subject token"));
    }
    Ok(())
}

impl Resource {
    /// Whether the audience is this resource's, and the caller is the workload that serves it.
    pub(super) fn is_served_by(&self, audience: &str, caller: &WorkloadIdentity) -> bool {
        self.settings.audience.as_str() == audience && self.served_by.as_ref().is_some_and(|by| by.covers(caller))
    }
}

/// Every member of `may_act` must name the caller; one that we do not know cannot be said to be met (RFC 8693 §4.4).
fn is_named(may_act: &Object, caller: &WorkloadIdentity, client_id: Option<&str>, issuer: &str) -> bool {
    let is = |name: &str, value: &str| match name {
        "sub" => value == caller.id.as_str(),
        "client_id" => value == client_id.unwrap_or(caller.id.as_str()),
        "iss" => value == issuer,
        _ => false,
    };
    let met = |name: &str| matches!(may_act.get(name), Some(Value::String(value)) if is(name, value));
    may_act.names().any(|name| name != "iss") && may_act.names().all(met)
}

/// What is left of granted scopes for a subject whose token had some of its own (TX-19). Compared as text, whatever the resource.
pub(super) fn narrowed(granted: ScopeSet, subject: Option<&Subject>) -> ScopeSet {
    match subject.and_then(|subject| subject.scopes.as_ref()) {
        Some(bound) => granted.intersection(bound),
        None => granted,
    }
}

/// The chain of actors would be longer than a rule lets it be (TX-16).
pub(super) fn too_deep(subject: &Subject) -> Refusal {
    let actors = subject.acted_by.len() + 1;
    let sentence =
        format!("{actors} workloads would act for one subject, one after the other, and no rule allows so many.");
    denied(sentence, "depth of on_behalf_of")
}

/// The token would rest on more pods and accounts than are ever asked about. It need not name as many actors: who impersonates, or
/// hands on a token of its own account, is not named.
pub(super) fn rests_on_too_much() -> Refusal {
    let sentence = format!(
        "More than {} pods and accounts would stand behind this token, one after the other. Begin with a platform's token.",
        rests_on::MOST
    );
    denied(sentence, "rests_on of the subject token")
}

fn denied(sentence: impl Into<String>, note: &str) -> Refusal {
    Refusal::denied(Denied::DelegationDenied, sentence, note)
}
