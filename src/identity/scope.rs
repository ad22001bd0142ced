//! Scopes (RFC 6749 §3.3).
//!
//! A set is bounded, sorted and free of repeats; its text is one space between tokens.

use std::collections::BTreeSet;
use std::fmt;

/// Text that breaks the scope grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A token is empty, over 128 bytes, or has characters outside `%x21 %x23-5B %x5D-7E`.
    #[error("a scope has 1 to 128 printable ASCII characters without space, quote and backslash")]
    Grammar,
    /// Over 100 tokens (LIM-04).
    #[error("at most 100 scopes")]
    TooMany,
}

/// One scope token.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(String);

impl Scope {
    /// Reads one token.
    ///
    /// # Errors
    /// [`ScopeError::Grammar`].
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let fits =
            (1..=128).contains(&text.len()) && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E));
        if fits { Ok(Self(text.to_owned())) } else { Err(ScopeError::Grammar) }
    }

    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeSet(BTreeSet<Scope>);

impl ScopeSet {
    /// Most scopes of one request.
    pub const MOST: usize = 100;

    /// Reads a `scope` parameter: tokens with single spaces between (TOK-16).
    ///
    /// # Errors
    /// [`ScopeError`] for a bad token, a leading, trailing or double space, or over 100 tokens.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let mut scopes = BTreeSet::new();
        for (count, token) in text.split(' ').enumerate() {
            if count == Self::MOST {
                return Err(ScopeError::TooMany);
            }
            scopes.insert(Scope::parse(token)?);
        }
        Ok(Self(scopes))
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `scope` is in it.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// The scopes that `other` lacks.
    pub fn missing_from<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Scope> {
        self.0.difference(&other.0)
    }

    /// The scopes that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tok_16_scope_grammar() {
        assert_eq!(ScopeSet::parse("write read read").unwrap().to_string(), "read write");
        for text in ["", " a", "a ", "a  b", "a\tb", "a\"b", "a\\b", "ä"] {
            assert!(ScopeSet::parse(text).is_err(), "{text:?}");
        }
        let hundred = vec!["a"; 100].join(" ");
        assert!(ScopeSet::parse(&hundred).is_ok());
        assert_eq!(ScopeSet::parse(&format!("{hundred} a")), Err(ScopeError::TooMany));
    }
}
