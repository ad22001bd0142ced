//! A fault in the configuration: where it is, what it is, what to do.
//!
//! Modules name the place as a path of steps; only `config` knows lines and columns. A lint is a remark and never refuses.

use std::fmt;

/// One step towards a place in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A member of a mapping.
    Key(String),
    /// An element of a list, from 0.
    Index(usize),
}

/// A place in the configuration, for example `rules[2].from.namespace`. Rules and tests count across all included files.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(Vec<Step>);

impl Place {
    /// The whole document.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// A member of the list `section`, for example `Place::element("rules", 2)`.
    pub fn element(section: &str, index: usize) -> Self {
        Self(vec![Step::Key(section.to_owned()), Step::Index(index)])
    }

    /// The member `key` of this place.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }

    /// The element `index` of this place.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }

    /// The steps from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// How much a problem weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Problem,
    /// A remark; the configuration is taken.
    Lint,
}

/// One fault or remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// Refused, or remarked.
    pub severity: Severity,
}

impl Problem {
    /// A fault that refuses the configuration.
    pub fn new(place: Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { place, message: message.into(), hint: hint.into(), severity: Severity::Problem }
    }

    /// A remark.
    pub fn lint(place: Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { place, message: message.into(), hint: hint.into(), severity: Severity::Lint }
    }
}
