//! The published schema names the keys that are read, and no others.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::field::Field;
use super::super::ledger::Ledger;
use super::super::place::Place;
use super::super::raw::{Included, Main};
use super::super::{read, schema, tree};

/// Follows `$ref` and `anyOf` to the object schemas behind `schema`.
fn objects<'s>(root: &'s Value, schema: &'s Value, found: &mut Vec<&'s Value>) {
    if let Some(name) = schema["$ref"].as_str() {
        return objects(root, root.pointer(name.trim_start_matches('#')).unwrap(), found);
    }
    for form in schema["anyOf"].as_array().into_iter().flatten() {
        objects(root, form, found);
    }
    if schema["items"].is_object() {
        objects(root, &schema["items"], found);
    }
    if schema["properties"].is_object() {
        found.push(schema);
    }
}

/// Each closed object of the schema, as the way to it.
fn walk(root: &Value, schema: &Value, way: &[&str], all: &mut Vec<(Vec<String>, BTreeSet<String>)>) {
    let mut found = Vec::new();
    objects(root, schema, &mut found);
    for object in found {
        let properties = object["properties"].as_object().unwrap();
        if object["additionalProperties"] == Value::Bool(false) {
            all.push((way.iter().map(|key| (*key).to_owned()).collect(), properties.keys().cloned().collect()));
        }
        for (key, below) in properties {
            walk(root, below, &[way, &[key.as_str()]].concat(), all);
        }
    }
}

/// What the reader says is known at the end of `way`.
fn known_to_the_reader(way: &[String]) -> BTreeSet<String> {
    let lists = ["trust", "subjects", "resources", "rules", "tests"];
    let mut text = String::from("{ ? : 0 }").replace("? ", "zzzzzzzzz");
    for key in way.iter().rev() {
        text = match lists.contains(&key.as_str()) {
            true => format!("{{ {key}: [{text}] }}"),
            false => format!("{{ {key}: {text} }}"),
        };
    }
    let tree = tree::parse(&text).unwrap();
    let ledger = Ledger::default();
    let at = ledger.place(Place::file(0));
    let _: Field<Main> = read::read(&tree, at, &ledger);
    let (said, _) = ledger.into_said();
    let hint = said[0].2.hint.clone().unwrap();
    hint.strip_prefix("known here: ").unwrap_or_else(|| panic!("{hint}")).split(", ").map(str::to_owned).collect()
}

#[test]
fn schema_and_reader_know_the_same_keys() {
    let schema = schema();
    let mut all = Vec::new();
    walk(&schema, &schema, &[], &mut all);
    assert!(all.len() >= 17, "{all:#?}");
    for (way, keys) in all {
        assert_eq!(known_to_the_reader(&way), keys, "{way:?}");
    }
    assert_eq!(schema["required"], serde_json::json!(["issuer", "trust", "resources"]));
    assert_eq!(schema["$defs"]["Keys"]["oneOf"].as_array().unwrap().len(), 5);
    assert_eq!(schema["$defs"]["Bundle"]["oneOf"].as_array().unwrap().len(), 2);
    assert_eq!(schema["$defs"]["Source"]["properties"]["max_age"]["pattern"], "^[0-9]{1,10}[smhd]$");
}

#[test]
fn an_included_file_has_fewer_keys() {
    let tree = tree::parse("issuer: x").unwrap();
    let ledger = Ledger::default();
    let at = ledger.place(Place::file(0));
    let _: Field<Included> = read::read(&tree, at, &ledger);
    assert_eq!(ledger.into_said().0[0].2.hint.as_deref(), Some("known here: only, rules, tests"));
}
