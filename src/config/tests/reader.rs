//! The reader alone, over a form of its own.

use serde::Deserialize;

use super::super::field::{Field, Named, OneOrMany};
use super::super::ledger::Ledger;
use super::super::place::Place;
use super::super::read::read;
use super::super::report::{Report, Source};
use super::super::tree;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shop {
    name: Field<String>,
    open: Field<bool>,
    mode: Field<Mode>,
    goods: Field<OneOrMany<String>>,
    shelves: Field<Vec<Field<Shelf>>>,
    prices: Field<Named<serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shelf {
    wood: Field<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Enforce,
    Observe,
}

fn read_shop(text: &str) -> (Field<Shop>, Report) {
    let tree = tree::parse(text).unwrap();
    let ledger = Ledger::default();
    let at = ledger.place(Place::file(0));
    let shop = read(&tree, at, &ledger);
    (shop, Report::new(ledger.into_said(), vec![Source { name: "shop.yaml".into(), text: text.to_owned() }]))
}

#[test]
fn a_good_file_is_read_whole() {
    let (shop, report) = read_shop(
        "name: x\nopen: true\nmode: observe\ngoods: tea\nshelves: [{ wood: oak }]\nprices: { tea: 3, cake: [1, null] }\n",
    );
    assert_eq!(report.to_string(), "");
    let (shop, _) = shop.given().unwrap();
    assert_eq!(shop.name.given().unwrap().0, "x");
    assert!(matches!(shop.mode.given().unwrap().0, Mode::Observe));
    assert!(shop.open.given().unwrap().0);
    assert_eq!(shop.goods.given().unwrap().0.0.len(), 1);
    assert_eq!(shop.shelves.given().unwrap().0[0].given().unwrap().0.wood.given().unwrap().0, "oak");
    let prices = &shop.prices.given().unwrap().0.0;
    assert_eq!(prices[1].1.given().unwrap().0, &serde_json::json!([1, null]));
}

#[test]
fn faults_of_every_kind_come_out_together() {
    let text = "nam: x\nopen: no\nmode: obsrve\nmode: enforce\ngoods: [tea, 7, { a: b }]\nshelves: [{ wood: [oak], would: 1 }, pine]\nprices: 3\n<<: { a: b }\nname:\n";
    let (shop, report) = read_shop(text);
    let said: Vec<String> = report
        .findings()
        .iter()
        .map(|f| {
            format!(
                "{}:{} {}: {}{}",
                f.line,
                f.column,
                f.path,
                f.message,
                f.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            "1:1 nam: unknown key \"nam\" (did you mean `name`?)",
            "2:7 open: `true` or `false` is needed here, not text (only `true` and `false` are booleans, without quotes)",
            "3:7 mode: \"obsrve\" is not one of `enforce`, `observe` (did you mean `observe`?)",
            "4:1 mode: the key \"mode\" is given twice (it is on line 3 already)",
            "5:14 goods[1]: text is needed here, not the number 7 (put it in quotes if it is meant as text)",
            "5:17 goods[2]: text is needed here, not a map",
            "6:13 shelves[0].wood: text is needed here, not a list",
            "6:26 shelves[0].would: unknown key \"would\" (did you mean `wood`?)",
            "6:38 shelves[1]: a map with `wood` is needed here, not text",
            "7:9 prices: a map is needed here, not the number 3",
            "8:1 \"<<\": merge keys are not taken (write the keys out at each place)",
            "9:1 name: text is needed here, not nothing (give it a value, or leave the key out)",
        ]
    );
    // The good rest is there, and what is bad does not look absent.
    let (shop, _) = shop.given().unwrap();
    assert!(shop.name.is_written() && shop.name.given().is_none());
    assert_eq!(shop.goods.given().unwrap().0.0[0].given().unwrap().0, "tea");
}

#[test]
fn findings_are_drawn_under_their_line() {
    let (_, report) = read_shop("name: x\nopen: no # ä\n");
    assert_eq!(
        report.to_string(),
        "problem: open: `true` or `false` is needed here, not text\n --> shop.yaml:2:7\n  |\n2 | open: no # ä\n  |       ^^\n  |\n  = hint: only `true` and `false` are booleans, without quotes"
    );
    assert!(report.render(true).contains('\u{1b}'));
    assert_eq!(
        report.to_json(),
        serde_json::json!([{
            "severity": "problem", "path": "open", "file": "shop.yaml", "line": 2, "column": 7,
            "message": "`true` or `false` is needed here, not text",
            "hint": "only `true` and `false` are booleans, without quotes",
        }])
    );
}
