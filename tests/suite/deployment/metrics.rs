//! Alerts and dashboard: they ask for what `/metrics` shows, and for reasons that exist. `tests/real/prometheus` has promtool.

use std::collections::{BTreeMap, BTreeSet};

use countersign::reason::Reason;
use serde_json::Value;

use super::{documents, text};

/// Labels that Prometheus itself adds.
const ADDED: [&str; 2] = ["instance", "job"];

type Shown = BTreeMap<String, BTreeSet<String>>;

/// Every metric of a running product that has granted and refused, with its labels.
async fn shown() -> Shown {
    let stage = crate::liveness::stage().await;
    assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200);
    assert_eq!(stage.exchange_pod("no.token.at-all").await.status, 400);
    let mut shown = Shown::new();
    for line in stage.admin("/metrics").await.text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let labels = line.split_once('{').map(|(_, rest)| rest.split('}').next().unwrap()).unwrap_or_default();
        shown.entry(name.to_owned()).or_default().extend(labelled(labels).into_iter().map(|(label, _)| label));
    }
    shown
}

/// Labels and values of what stands between braces. No value here has a comma or a quote in it.
fn labelled(text: &str) -> Vec<(String, String)> {
    let pairs = text.split("\",").filter_map(|pair| pair.split_once("=\"").or_else(|| pair.split_once("=~\"")));
    pairs.map(|(label, value)| (label.trim().to_owned(), value.trim_matches('"').to_owned())).collect()
}

/// Our metrics in a query, each with its matchers.
fn selectors(query: &str) -> Vec<(String, Vec<(String, String)>)> {
    query
        .match_indices("countersign_")
        .map(|(at, _)| {
            let rest = &query[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let braces = rest[end..].strip_prefix('{').map(|inside| inside.split('}').next().unwrap());
            (rest[..end].to_owned(), labelled(braces.unwrap_or_default()))
        })
        .collect()
}

/// The labels of `by`, `without`, `on` and `ignoring`.
fn grouped(query: &str) -> Vec<String> {
    let starts = ["by (", "without (", "on (", "ignoring ("];
    let lists = starts.iter().flat_map(|start| query.split(start).skip(1)).map(|rest| rest.split(')').next().unwrap());
    lists.flat_map(|list| list.split(',')).map(|label| label.trim().to_owned()).filter(|l| !l.is_empty()).collect()
}

/// Values that a label may have, where the product has a list of them.
fn value_exists(label: &str, value: &str) -> bool {
    let one_of = |values: &[&str]| value.split('|').all(|value| values.contains(&value));
    match label {
        "reason" => value.split('|').all(|code| code == "none" || Reason::from_code(code).is_some()),
        "outcome" => one_of(&["allow", "deny", "dropped", "taken", "refused", "alive", "unavailable"]),
        "result" => one_of(&["ok", "failed"]),
        "state" => one_of(&["pending", "published", "active", "retired", "gone", "revoked"]),
        "algorithm" => one_of(&["ES256", "RS256"]),
        _ => true,
    }
}

fn fits(query: &str, shown: &Shown) {
    let selectors = selectors(query);
    assert!(!selectors.is_empty(), "it asks for nothing of ours: {query}");
    let mut known: BTreeSet<&str> = ADDED.into();
    for (metric, matchers) in &selectors {
        let labels = shown.get(metric).unwrap_or_else(|| panic!("/metrics has no {metric}: {query}"));
        for (label, value) in matchers {
            assert!(labels.contains(label) || ADDED.contains(&label.as_str()), "{metric} has no {label}: {query}");
            assert!(value_exists(label, value), "{label} is never {value}: {query}");
        }
        known.extend(labels.iter().map(String::as_str));
    }
    for label in grouped(query) {
        assert!(known.contains(label.as_str()), "no metric here has {label}: {query}");
    }
}

fn alerts() -> Vec<Value> {
    let groups = documents("prometheus/alerts.yaml").remove(0)["groups"].take();
    groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Every value under that key, wherever it stands.
fn under<'a>(key: &str, value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == key {
                    found.push(member);
                }
                under(key, member, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| under(key, item, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_ask_for_what_metrics_shows() {
    let shown = shown().await;
    for alert in alerts() {
        fits(alert["expr"].as_str().unwrap(), &shown);
    }
    let dashboard: Value = serde_json::from_str(&text("grafana/countersign.json")).unwrap();
    let mut queries = Vec::new();
    under("expr", &dashboard, &mut queries);
    assert!(queries.len() > 20);
    for query in queries {
        fits(query.as_str().unwrap(), &shown);
    }
    let variable = dashboard["templating"]["list"][1]["query"]["query"].as_str().unwrap();
    assert_eq!(variable, "label_values(countersign_keys, source)");

    let tests = documents("prometheus/alerts_test.yaml").remove(0);
    let mut series = Vec::new();
    under("series", &tests, &mut series);
    for each in series {
        fits(each.as_str().unwrap(), &shown);
    }
    // Whatever is shown is looked at by somebody.
    let looked_at = format!("{}{}", text("prometheus/alerts.yaml"), text("grafana/countersign.json"));
    for metric in shown.keys() {
        assert!(looked_at.contains(metric.as_str()), "no alert and no panel has {metric}");
    }
}

#[test]
fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
    let tests = documents("prometheus/alerts_test.yaml").remove(0);
    assert_eq!(tests["rule_files"], serde_json::json!(["alerts.yaml"]));
    let mut lists = Vec::new();
    under("alert_rule_test", &tests, &mut lists);
    let cases: Vec<_> = lists.iter().flat_map(|list| list.as_array().unwrap()).collect();
    let names: Vec<_> = alerts().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
    for name in &names {
        for fires in [true, false] {
            let has = cases
                .iter()
                .any(|case| case["alertname"] == *name && case["exp_alerts"].as_array().unwrap().is_empty() != fires);
            assert!(has, "{name}: no test in which it {}", if fires { "fires" } else { "does not fire" });
        }
    }
    for case in cases {
        assert!(names.iter().any(|name| case["alertname"] == *name), "{case}");
    }
    for alert in alerts() {
        assert!(["critical", "warning"].contains(&alert["labels"]["severity"].as_str().unwrap()));
        for told in ["summary", "description"] {
            assert!(!alert["annotations"][told].as_str().unwrap().is_empty());
        }
    }
}

#[test]
fn the_dashboard_has_its_rows_and_each_panel_its_place() {
    let dashboard: Value = serde_json::from_str(&text("grafana/countersign.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<_> = panels.iter().filter(|panel| panel["type"] == "row").collect();
    let titles: Vec<_> = rows.iter().map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Am I healthy", "Who is failing and why", "Keys, theirs and ours", "Load and latency"]);
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(number("x") + number("w") <= 24, "{}", panel["title"]);
        for x in number("x")..number("x") + number("w") {
            for y in number("y")..number("y") + number("h") {
                assert!(taken.insert((x, y)), "{} lies over another", panel["title"]);
            }
        }
    }
}
