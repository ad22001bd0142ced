//! Runs the rows of a theme and reports every one that fails, by its name.

use std::collections::BTreeSet;

use super::ground::Ground;
use super::request::Request;
use countersign::exchange::Explanation;

use countersign::reason::{About, Reason};
use countersign::wire::{render, render_about};

use crate::grpc::{Call, Told};
use crate::stage::Answer;

/// `error` and status of a refusal.
pub type Wire = (&'static str, u16);

/// The request is wrong.
pub const REQUEST: Wire = ("invalid_request", 400);
/// The caller is not authenticated.
pub const CLIENT: Wire = ("invalid_client", 400);
/// The same, after an `Authorization` header.
pub const CLIENT_401: Wire = ("invalid_client", 401);
/// No such grant.
pub const GRANT: Wire = ("unsupported_grant_type", 400);
/// An assertion that grants nothing.
pub const ASSERTION: Wire = ("invalid_grant", 400);
/// No such target.
pub const TARGET: Wire = ("invalid_target", 400);
/// No such scope.
pub const SCOPE: Wire = ("invalid_scope", 400);
/// The proof of possession is not usable.
pub const PROOF: Wire = ("invalid_dpop_proof", 400);
/// Nothing is granted.
pub const UNAUTHORIZED: Wire = ("unauthorized_client", 400);

/// One way to be refused.
pub struct Row {
    name: &'static str,
    reason: &'static str,
    wire: Wire,
    make: fn(&Ground) -> Request,
}

/// A row: its name, the reason, what the caller sees, and the spoiled request.
pub const fn row(name: &'static str, reason: &'static str, wire: Wire, make: fn(&Ground) -> Request) -> Row {
    Row { name, reason, wire, make }
}

/// Reasons before the signature was verified: the caller hears one sentence for all of them (TOK-24).
const UNVERIFIED: [&str; 6] =
    ["source_unknown", "key_unknown", "key_ambiguous", "algorithm_refused", "signature_invalid", "subject_invalid"];
const GENERIC: &str = "The credential could not be verified; if it is brand new, retry once.";

/// Sends every row and says all that is wrong.
pub async fn refuse(ground: &Ground, rows: &[Row]) {
    ground.good_ones_are_granted("before").await;
    let mut wrong = Vec::new();
    let mut names = BTreeSet::new();
    let mut references = BTreeSet::new();
    for row in rows {
        if !names.insert(row.name) {
            wrong.push(format!("{}: the name stands twice", row.name));
        }
        let request = (row.make)(ground);
        let over_grpc = match (request.to_grpc(), http_only(row.name)) {
            (Ok(call), None) => check_grp_02_grp_03(ground, row.reason, row.wire, &call).await,
            (Err(why), Some(listed)) if why == listed => Vec::new(),
            (Ok(_), Some(_)) => vec!["has a form over gRPC, and is in http_only.txt".to_owned()],
            (Err(why), _) => vec![format!("http_only.txt lacks: {}: {why}", row.name)],
        };
        wrong.extend(over_grpc.into_iter().map(|fault| format!("{}: over gRPC: {fault}", row.name)));
        let answer = request.send(&ground.client, &ground.stage.issuer).await;
        let mut faults = check(ground, row.reason, row.wire, &answer).await;
        if answer.status != 200 && !references.insert(answer.body["error_ref"].to_string()) {
            faults.push("the reference was given before".to_owned());
        }
        wrong.extend(faults.into_iter().map(|fault| format!("{}: {fault}: {}", row.name, shown(&answer))));
    }
    ground.good_ones_are_granted("after").await;
    assert!(ground.nobody_was_called(), "something that a request named was dialled");
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Why a row has no form over gRPC.
fn http_only(name: &str) -> Option<&'static str> {
    HTTP_ONLY.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

const HTTP_ONLY: &str = include_str!("http_only.txt");

/// Both ways have at least 280 cases together, and the list names rows that are there.
#[test]
fn the_list_of_what_has_no_form_over_grpc_is_right() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/cases");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let sources: String = files
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    for line in HTTP_ONLY.lines() {
        let stands = HTTP_ONLY.lines().filter(|other| other == &line).count();
        let (name, _) = line.rsplit_once(": ").unwrap();
        assert!(stands == 1 && sources.contains(&format!("{name:?}")), "{line}");
    }
    let rows = sources.matches("\n    row(").count();
    let cases = 2 * rows - HTTP_ONLY.lines().count();
    assert!(cases >= 280, "{rows} rows, {cases} cases");
}

/// What is wrong with a refusal over gRPC: GRP-01, GRP-02, GRP-03.
async fn check_grp_02_grp_03(ground: &Ground, reason: &str, wire: Wire, call: &Call) -> Vec<String> {
    let status = match ground.grpc.exchange(call).await {
        Ok(_) => return vec![format!("granted instead of {reason}")],
        Err(status) => status,
    };
    let Some(told) = Told::of(&status) else { return vec![format!("no details: {status:?}")] };
    let named = Reason::from_code(reason).unwrap();
    // What is wrong with a subject token is wrong with the request (TX-03), over both doors.
    let about = if wire == REQUEST && render(named).error == CLIENT.0 { About::Subject } else { About::Caller };
    let wanted = render_about(named, about).grpc;
    let mut faults = Vec::new();
    if (status.code(), told.reason.as_str()) != (wanted, &*reason.to_uppercase()) || told.domain != "countersign" {
        faults.push(format!("{:?} {} of {} instead of {wanted:?}", status.code(), told.reason, told.domain));
    }
    if !is_reference(&told.reference) {
        faults.push(format!("reference {:?}", told.reference));
        return faults;
    }
    let record = ground.stage.record(&told.reference).await;
    if (&record["reason"], &record["outcome"], &record["transport"]) != (&reason.into(), &"deny".into(), &"grpc".into())
    {
        faults.push(format!("the record says {record}"));
    }
    if UNVERIFIED.contains(&reason) && status.message() != format!("{GENERIC} ref {}", told.reference) {
        faults.push("the caller hears more than the one sentence".to_owned());
    }
    faults
}

/// What was answered, without a token that should not have been given.
pub fn shown(answer: &Answer) -> &str {
    if answer.body.get("access_token").is_some() { "a token was granted" } else { &answer.text }
}

/// What is wrong with a refusal.
pub async fn check(ground: &Ground, reason: &str, (error, status): Wire, answer: &Answer) -> Vec<String> {
    if answer.status == 200 {
        return vec![format!("granted instead of {reason}")];
    }
    let mut faults = form(answer);
    if (answer.status, answer.error()) != (status, error) {
        faults.push(format!("{} {} instead of {status} {error}", answer.status, answer.error()));
    }
    let reference = answer.body["error_ref"].as_str().unwrap_or_default();
    if !is_reference(reference) {
        faults.push(format!("error_ref {reference:?}"));
        return faults;
    }
    let record = ground.stage.record(reference).await;
    if record["reason"] != reason || record["outcome"] != "deny" {
        faults.push(format!("the record says {} ({}) instead of {reason}", record["reason"], record["note"]));
    }
    faults.extend(explained(ground, reference, reason));
    let said = answer.body["error_description"].as_str().unwrap_or_default();
    if said.strip_suffix(&format!(" ref {reference}")).is_none() {
        faults.push("the description does not end with the reference".to_owned());
    }
    if UNVERIFIED.contains(&reason) && said != format!("{GENERIC} ref {reference}") {
        faults.push("the caller hears more than the one sentence".to_owned());
    }
    faults
}

/// What `countersign explain` says of it must agree with the first answer: the kept record has the same reason, exactly one step
/// failed, and nothing after it was reached.
fn explained(ground: &Ground, reference: &str, reason: &str) -> Option<String> {
    let kept = ground.stage.app.exchange().recorder().find(reference);
    let Ok(Some(kept)) = kept else { return Some(format!("explain finds nothing: {kept:?}")) };
    let explanation = Explanation::of(&kept);
    let text = explanation.to_string();
    let failed = text.lines().filter(|line| line.starts_with(" ✗")).count();
    let after = text.lines().skip_while(|line| !line.starts_with(" ✗")).any(|line| line.starts_with(" ✓"));
    let agrees = kept.reason.as_deref() == Some(reason) && text.contains(reason) && explanation.failed_step().is_some();
    (!agrees || failed != 1 || after).then(|| format!("explain does not agree:\n{text}"))
}

/// What every refusal has, whatever it is for: TOK-12, TOK-13, TOK-18, TOK-22, TOK-25.
pub fn form(answer: &Answer) -> Vec<String> {
    let mut faults = Vec::new();
    let header = |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().unwrap_or("?"));
    for (name, wanted) in
        [("cache-control", "no-store"), ("pragma", "no-cache"), ("content-type", "application/json"), ("location", "")]
    {
        if header(name) != wanted {
            faults.push(format!("header {name} is {:?}", header(name)));
        }
    }
    if (answer.status == 401) == header("www-authenticate").is_empty() {
        faults.push(format!("status {} with challenge {:?}", answer.status, header("www-authenticate")));
    }
    if answer.body.get("access_token").is_some() || !answer.body.is_object() {
        faults.push("the body is not a refusal".to_owned());
    }
    for member in ["error", "error_description"] {
        let text = answer.body[member].as_str().unwrap_or_default();
        if text.is_empty() || !text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
            faults.push(format!("{member} is {text:?}"));
        }
    }
    faults
}

fn is_reference(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&byte))
}
