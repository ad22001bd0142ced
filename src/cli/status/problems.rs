//! What is wrong, in sentences that end with what to do; and how long is left before callers notice.
//!
//! Decides nothing: the service has measured all of it.

use super::span;
use crate::wire::operator::{SourceReport, Status as Report};

/// From when on an extension is worth thinking of.
const SOON: i64 = 6 * 3600;

pub(in crate::cli) fn problems(report: &Report) -> Vec<String> {
    let mut problems = Vec::new();
    if !report.ready {
        problems.push(format!("not ready: waits for {}", report.waiting_for.join(", ")));
    }
    for source in &report.sources {
        if let Some(error) = &source.last_error {
            problems.push(format!("{}: {error}\n  {}", source.name, consequence(source)));
        } else if source.keys == 0 {
            problems.push(format!("{}: it has no usable key: everything by it is refused", source.name));
        }
        if let (Some(error), 1..) = (&source.authorities_error, source.authorities) {
            problems.push(format!("{}: its X.509 authorities: {error}", source.name));
        }
        if !source.copies_of.is_empty() {
            problems.push(format!(
                "{}: it shows keys of {}; those copies are not used",
                source.name,
                source.copies_of.join(", ")
            ));
        }
    }
    problems.extend(clocks(&report.sources));
    for wait in report.own_keys_that_wait.iter().filter(|wait| wait.canary == "failed") {
        problems.push(format!(
            "{}\n  who verifies our tokens does not get the new key through {}; it signs at {} at the latest, known or not",
            wait.sentence, report.issuer, wait.at_the_latest
        ));
    }
    if !report.signing.iter().any(|key| key.signs) {
        problems.push("no signing key is active: no token can be issued".to_owned());
    }
    if !report.store_works {
        problems
            .push("the store fails: nothing can be revoked, and credentials that are used once are refused".to_owned());
    }
    problems
}

/// What its outage means for callers, and what buys time.
fn consequence(source: &SourceReport) -> String {
    let SourceReport { name, budget_seconds: seconds, budget_until: until, .. } = source;
    let more = if source.extension.is_some() { "" } else { "; more time: " };
    let order = if more.is_empty() { String::new() } else { format!("countersign keys extend {name} 4h") };
    match (source.budget_ends.as_str(), *seconds) {
        ("no_keys", _) if source.age_seconds.is_none() => {
            "it has never given any keys: its callers are refused until it does, and nothing can be extended".to_owned()
        }
        ("no_keys", _) => "it has withdrawn its keys: its callers are refused".to_owned(),
        ("agent_denied", left @ 1..) => {
            format!("its last keys serve {} more, then they count as withdrawn; no extension changes that", span(left))
        }
        ("x509_authority", left @ 1..) => {
            format!("its last X.509 authority ends in {} ({until}); no extension changes that", span(left))
        }
        (_, ..=0) => format!("its callers are refused now: its keys are too old{more}{order}"),
        (_, left @ ..=SOON) => format!("its last keys serve {} more, until {until}{more}{order}", span(left)),
        (_, left) => format!("its last keys serve {} more, until {until}", span(left)),
    }
}

/// What stands and is nobody's fault.
pub(in crate::cli) fn notes(report: &Report) -> Vec<String> {
    let extended =
        report.sources.iter().filter_map(|source| source.extension.as_ref().map(|order| (&source.name, order)));
    let told = extended.map(|(name, order)| {
        let reason = if order.reason.is_empty() { String::new() } else { format!(" ({})", order.reason) };
        format!(
            "{name}: its last keys may serve until {}, by order of {} at {}{reason}; to end it: countersign keys extend {name} 0s",
            order.until, order.by, order.ordered
        )
    });
    let waits = report.own_keys_that_wait.iter().filter(|wait| wait.canary != "failed");
    told.chain(waits.map(|wait| wait.sentence.clone())).collect()
}

/// The outage budget: whose callers are refused already, and who is next.
pub(in crate::cli) fn left(sources: &[SourceReport]) -> Vec<String> {
    let names = |sources: Vec<&SourceReport>| -> String {
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        names.join(", ")
    };
    let (refused, serving): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.budget_seconds <= 0);
    let mut lines = Vec::new();
    if !refused.is_empty() {
        lines.push(format!("callers are refused now: {}", names(refused)));
    }
    let (away, here): (Vec<_>, Vec<_>) = serving.into_iter().partition(|source| source.last_error.is_some());
    let earliest = |sources: Vec<&SourceReport>| {
        let seconds = sources.iter().map(|source| source.budget_seconds).min()?;
        let first = sources.into_iter().filter(|source| source.budget_seconds == seconds).collect();
        Some((span(seconds), names(first)))
    };
    match (earliest(away), earliest(here)) {
        (Some((span, names)), _) => lines.push(format!("first failure in {span}: {names}, if it stays away")),
        (None, Some((span, names))) => {
            lines.push(format!("if sources went away now: first failure in {span}: {names}"))
        }
        (None, None) => {}
    }
    lines
}

/// Whose clock differs by more than the leeway, and which side looks wrong.
fn clocks(sources: &[SourceReport]) -> Vec<String> {
    let measured: Vec<(&SourceReport, i64)> =
        sources.iter().filter_map(|source| source.skew_seconds.map(|skew| (source, skew))).collect();
    let is_over = |(source, skew): &(&SourceReport, i64)| skew.abs() > source.leeway_seconds;
    let (over, within): (Vec<_>, Vec<_>) = measured.into_iter().partition(is_over);
    let all_ahead = over.iter().all(|(_, skew)| *skew > 0);
    let all_behind = over.iter().all(|(_, skew)| *skew < 0);
    if over.len() > 1 && within.is_empty() && (all_ahead || all_behind) {
        let seen: Vec<String> = over.iter().map(|(source, skew)| format!("{} {skew:+} s", source.name)).collect();
        let side = if all_ahead { "behind" } else { "ahead" };
        return vec![format!(
            "this machine's clock looks {side}: every source that can be asked differs alike ({})",
            seen.join(", ")
        )];
    }
    let agreed = within.first().map(|(source, _)| source.name.as_str());
    over.into_iter()
        .map(|(SourceReport { name, leeway_seconds: leeway, .. }, skew)| {
            let (side, effect) = match skew > 0 {
                true => ("ahead of", "its fresh tokens may be refused as not yet valid"),
                false => ("behind", "its tokens may be refused as ended or too old"),
            };
            let wrong = agreed.map_or_else(
                || "one of the two is wrong".to_owned(),
                |other| format!("{other}'s clock agrees with ours, so {name}'s looks wrong"),
            );
            format!(
                "{name}: its clock is {} s {side} ours, and the leeway is {leeway} s: {effect}; {wrong}",
                skew.abs()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, budget_seconds: i64) -> SourceReport {
        SourceReport { name: name.to_owned(), budget_seconds, leeway_seconds: 30, ..SourceReport::default() }
    }

    fn away(name: &str, budget_seconds: i64) -> SourceReport {
        SourceReport { last_error: Some("gone".to_owned()), ..source(name, budget_seconds) }
    }

    fn skewed(name: &str, skew: i64) -> SourceReport {
        SourceReport { skew_seconds: Some(skew), ..source(name, 1) }
    }

    #[test]
    fn who_is_refused_and_who_is_next() {
        let told = |sources: &[SourceReport]| left(sources).join(" | ");
        assert_eq!(told(&[]), "");
        let day = 86_400;
        assert_eq!(
            told(&[source("a", day), source("b", day - 60)]),
            "if sources went away now: first failure in 23 h 59 min: b"
        );
        assert_eq!(
            told(&[source("a", 30), away("eu1", 83_520)]),
            "first failure in 23 h 12 min: eu1, if it stays away"
        );
        assert_eq!(
            told(&[away("x", 0), away("y", 0), away("z", 600), source("a", day)]),
            "callers are refused now: x, y | first failure in 10 min: z, if it stays away"
        );
    }

    #[test]
    fn the_sentence_says_which_clock_looks_wrong() {
        let told = |sources: &[SourceReport]| clocks(sources).join(" | ");
        assert_eq!(told(&[skewed("a", 30), skewed("b", -30), source("c", 1)]), "", "the leeway itself is allowed");
        let one = told(&[skewed("a", 31), skewed("b", 1)]);
        assert!(one.starts_with("a: its clock is 31 s ahead of ours") && one.ends_with("so a's looks wrong"), "{one}");
        let alone = told(&[skewed("a", -46)]);
        assert!(alone.contains("46 s behind ours") && alone.ends_with("one of the two is wrong"), "{alone}");
        let ours = told(&[skewed("a", 46), skewed("b", 47), source("c", 1)]);
        assert_eq!(
            ours,
            "this machine's clock looks behind: every source that can be asked differs alike (a +46 s, b +47 s)"
        );
        let torn = told(&[skewed("a", 46), skewed("b", -47)]);
        assert_eq!(torn.matches("one of the two is wrong").count(), 2, "{torn}");
    }

    #[test]
    fn an_outage_ends_with_what_buys_time() {
        let told = |ends: &str, seconds| {
            consequence(&SourceReport { budget_ends: ends.to_owned(), age_seconds: Some(1), ..away("eu1", seconds) })
        };
        assert!(told("max_stale", 0).ends_with("more time: countersign keys extend eu1 4h"));
        assert!(told("max_stale", SOON).ends_with("more time: countersign keys extend eu1 4h"));
        assert!(!told("max_stale", SOON + 1).contains("extend"), "no hurry");
        for (ends, seconds) in [("no_keys", 0), ("agent_denied", 40), ("x509_authority", 40)] {
            assert!(
                !told(ends, seconds).contains("keys extend"),
                "{ends}: an order would be refused or change nothing"
            );
        }
    }
}
