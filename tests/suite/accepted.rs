//! The other table: what strict products refuse wrongly and we must grant.
//!
//! Each row is right in every respect and unusual in one. The runner reads the whole answer: the token by our published keys,
//! claim by claim, and the decision record member by member.

mod house;
mod pods;
mod requests;
mod row;
mod svids;
mod whole;

use std::collections::BTreeSet;

use self::house::House;
use self::row::Row;

fn table() -> impl Iterator<Item = &'static Row> {
    svids::ROWS.iter().chain(svids::SHAPES).chain(pods::ROWS).chain(requests::ROWS)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_right_is_granted() {
    let house = House::start().await;
    let mut wrong = Vec::new();
    let mut ids = BTreeSet::new();
    for row in table() {
        if let Err(why) = whole::check(&house, row, &mut ids).await {
            wrong.push(format!("{}\n    {why}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{} rows are not granted as they should be:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_row_names_its_requirements_once() {
    let names: BTreeSet<&str> = table().map(|row| row.name).collect();
    assert_eq!(names.len(), table().count(), "two rows have one name");
    assert!(names.len() >= 60, "{} rows", names.len());
    for name in names {
        let ids: Vec<&str> = name.split(' ').take_while(|word| is_requirement(word)).collect();
        assert!(!ids.is_empty() && ids.join(" ").len() < name.len(), "{name:?} is requirements, then a sentence");
    }
}

/// `JSV-02`, `K8S-11`: letters and digits, a hyphen, two digits.
fn is_requirement(word: &str) -> bool {
    word.split_once('-').is_some_and(|(part, number)| {
        (2..=4).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            && number.len() == 2
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}
