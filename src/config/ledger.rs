//! Decides nothing: it keeps every problem and lint until the whole configuration is read.
//!
//! Must never lose the number of problems, even where it no longer keeps their words.

use std::cell::{Cell, RefCell};

use super::place::{Place, PlaceId};
use super::tree::Span;
use crate::problem::{Severity, Step};

/// Problems that are kept; those after it are counted. A file with more is not a file that somebody wrote.
const MAX_SAID: usize = 1000;

/// What is wrong, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// The line may hold a password: it is not shown.
    pub(super) hides_line: bool,
}

impl Said {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, hides_line: false }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn hiding_the_line(self) -> Self {
        Self { hides_line: true, ..self }
    }

    pub(super) fn maybe_hint<T: Into<String>>(self, hint: Option<T>) -> Self {
        Self { hint: hint.map(Into::into), ..self }
    }
}

/// Places and what was said of them, while one configuration is read.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    places: RefCell<Vec<Place>>,
    said: RefCell<Vec<(Severity, Place, Said)>>,
    problems: Cell<usize>,
    dropped: Cell<usize>,
}

impl Ledger {
    /// Makes a place known.
    pub(super) fn place(&self, place: Place) -> PlaceId {
        let mut places = self.places.borrow_mut();
        places.push(place);
        PlaceId(places.len() - 1)
    }

    /// The place one step below `parent`.
    pub(super) fn below(&self, parent: PlaceId, step: Step, span: Span) -> PlaceId {
        let place = self.get(parent).below(step, span);
        self.place(place)
    }

    /// What `id` stands for.
    pub(super) fn get(&self, id: PlaceId) -> Place {
        self.places.borrow().get(id.0).cloned().unwrap_or_else(|| Place::file(0))
    }

    /// Writes a problem down.
    pub(super) fn problem(&self, at: PlaceId, said: Said) {
        self.say(Severity::Problem, self.get(at), said);
    }

    /// Writes a lint down.
    pub(super) fn lint(&self, at: PlaceId, said: Said) {
        self.say(Severity::Lint, self.get(at), said);
    }

    /// Writes down what was found elsewhere.
    pub(super) fn say(&self, severity: Severity, place: Place, said: Said) {
        if severity == Severity::Problem {
            self.problems.set(self.problems.get() + 1);
        }
        let mut all = self.said.borrow_mut();
        if all.len() < MAX_SAID {
            all.push((severity, place, said));
        } else {
            self.dropped.set(self.dropped.get() + 1);
        }
    }

    /// How many problems there are so far.
    pub(super) const fn problems(&self) -> usize {
        self.problems.get()
    }

    /// Everything that was said and kept, and how much was not kept.
    pub(super) fn into_said(self) -> (Vec<(Severity, Place, Said)>, usize) {
        (self.said.into_inner(), self.dropped.get())
    }
}
