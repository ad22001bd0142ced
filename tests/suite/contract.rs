//! What users build on, compared whole: documents, tokens, doors, records, metrics, reload, processes.

mod admin;
mod doors;
mod keys;
mod metadata;
mod processes;
mod records;
mod reload;
mod serve;
mod tls;
mod tokens;

use serde_json::Value;

use crate::stage::Answer;

/// A header of an answer, or empty.
fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

/// The value of a metric's only line that starts so.
fn metric(text: &str, start: &str) -> Option<f64> {
    let mut found =
        text.lines().filter(|line| line.strip_prefix(start).is_some_and(|rest| rest.starts_with([' ', '{'])));
    let value = found.next()?.split(" # ").next()?.rsplit(' ').next()?.parse().ok();
    assert_eq!(found.next(), None, "{start} has several lines");
    value
}

/// The names of an object's members, in order.
fn members(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}
