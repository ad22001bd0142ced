//! Decides what the keys mean: raw values in, each module's own settings out.
//!
//! Must never fill in for a value that is written and bad: a default stands for an absent key alone.

mod bundle;
mod keys;
mod liveness;
mod resource;
mod rule;
mod server;
mod source;
mod subjects;
mod test;
mod words;

use std::fmt;
use std::path::PathBuf;

pub(super) use resource::resources;
pub(super) use rule::{only, rules};
pub(super) use server::{Names, Server, server};
pub(super) use source::sources;
pub(super) use subjects::subjects;
pub(super) use test::tests;

use super::field::Field;
use super::files;
use super::ledger::{Ledger, Said};
use super::place::PlaceId;
use super::raw::Duration;
use crate::clock::Lifetime;
use crate::reason::quoted;

/// What every builder needs: where to write problems, the file that relative paths start from, and the environment.
#[derive(Clone, Copy)]
pub(super) struct Desk<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) file: &'a std::path::Path,
    pub(super) environment: &'a super::Environment,
}

/// Settings with the place of the raw value that they were made of.
pub(super) type Placed<T> = (T, PlaceId);

/// The settings of a list: those that could be made, and whether that was all of them.
pub(super) struct Built<T> {
    pub(super) made: Vec<Placed<T>>,
    pub(super) whole: bool,
}

impl<T> Built<T> {
    /// The settings alone.
    pub(super) fn into_values(self) -> Vec<T> {
        self.made.into_iter().map(|(settings, _)| settings).collect()
    }

    /// A copy of the settings alone.
    pub(super) fn values(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.made.iter().map(|(settings, _)| settings.clone()).collect()
    }

    /// Adds the list of a further file.
    pub(super) fn append(&mut self, other: Self) {
        self.made.extend(other.made);
        self.whole &= other.whole;
    }

    /// Builds each element of a list.
    fn each<R>(list: &Field<Vec<Field<R>>>, build: impl Fn(&R, PlaceId) -> Option<T>) -> Self {
        let items = match list {
            Field::Absent => &[],
            Field::Bad => return Self { made: Vec::new(), whole: false },
            Field::Given { value, .. } => value.as_slice(),
        };
        let made: Vec<_> = items
            .iter()
            .filter_map(|item| {
                let (raw, at) = item.given()?;
                build(raw, at).map(|settings| (settings, at))
            })
            .collect();
        Self { whole: made.len() == items.len(), made }
    }
}

impl Desk<'_> {
    /// A path, relative to the file that names it.
    fn path(&self, text: &str) -> Result<PathBuf, Said> {
        if text.is_empty() || text.contains('\0') {
            return Err(Said::new("this is not a path"));
        }
        Ok(files::resolve(self.file, text))
    }

    /// A length of time that is not zero.
    fn lifetime(&self, field: &Field<Duration>) -> Field<Lifetime> {
        let some = |lifetime: Lifetime| match lifetime {
            Lifetime::ZERO => Err(Said::new("this must be longer than no time at all")),
            some => Ok(some),
        };
        field.try_map(self.ledger, |text| duration(text).and_then(some))
    }

    /// A list that has at least one element, where it is written.
    fn not_empty<T>(&self, list: Field<Vec<T>>, of: &str) -> Field<Vec<T>> {
        match list {
            Field::Given { value, at } if value.is_empty() => {
                self.ledger.problem(at, Said::new(format!("at least one {of} is needed here")));
                Field::Bad
            }
            other => other,
        }
    }

    /// The one key among `keys` that is written; any other number of them is a problem of `parent`.
    fn exactly_one<'k>(&self, parent: PlaceId, keys: &[(&'k str, bool)]) -> Option<&'k str> {
        let written: Vec<&str> = keys.iter().filter(|(_, written)| *written).map(|(key, _)| *key).collect();
        if let [one] = written.as_slice() {
            return Some(one);
        }
        let all: Vec<String> = keys.iter().map(|(key, _)| format!("`{key}`")).collect();
        let given = match written.len() {
            0 => "none is given".to_owned(),
            _ => format!("{} are given: {}", written.len(), written.join(", ")),
        };
        self.ledger.problem(parent, Said::new(format!("exactly one of {} is needed, {given}", all.join(", "))));
        None
    }
}

/// Reads a name or another value with a grammar of its own; the grammar is the hint.
fn parsed<T, E: fmt::Display>(
    kind: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> impl Fn(&String) -> Result<T, Said> {
    move |text| {
        parse(text).map_err(|error| Said::new(format!("{} is not {kind}", quoted(text))).hint(error.to_string()))
    }
}

/// `30s`, `5m`, `12h`, `7d`.
fn duration(text: &Duration) -> Result<Lifetime, Said> {
    Lifetime::parse(&text.0).ok_or_else(|| {
        Said::new(format!("{} is not a length of time", quoted(&text.0)))
            .hint("a whole number and one of s, m, h, d: 30s, 5m, 12h, 7d; ten years at most")
    })
}
