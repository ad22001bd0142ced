//! Patterns over the path of a SPIFFE ID (design §7, SCA-17..20).
//!
//! Whole segments only: exact, `*` for one, `/*` at the end for everything below. No prefix of a segment, no regular expression.

use std::fmt;

use crate::identity::SpiffeId;

/// Why text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not a path of whole segments.
    #[error(
        "a pattern is a path such as /ns/shop/sa/api; * stands for one whole segment, /* at the end for everything below"
    )]
    Form,
    /// `/*` alone.
    #[error("/* is every workload of the source")]
    Everyone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Exact(String),
    Any,
}

/// A pattern.
#[derive(Clone, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    below: bool,
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::Form)?;
        if rest == "*" {
            return Err(PatternError::Everyone);
        }
        let (rest, below) = match rest.strip_suffix("/*") {
            Some(shorter) => (shorter, true),
            None => (rest, false),
        };
        let mut segments = Vec::new();
        for segment in rest.split('/') {
            segments.push(if segment == "*" { Segment::Any } else { Segment::Exact(parse_segment(segment)?) });
        }
        if below && segments.iter().all(|segment| *segment == Segment::Any) {
            return Err(PatternError::Everyone);
        }
        Ok(Self { segments, below })
    }

    /// Whether the whole path of the ID is of this form.
    pub fn matches(&self, id: &SpiffeId) -> bool {
        let mut found = id.segments();
        let fits = self.segments.iter().all(|segment| match (segment, found.next()) {
            (_, None) => false,
            (Segment::Any, Some(_)) => true,
            (Segment::Exact(text), Some(other)) => text == other,
        });
        fits && found.next().is_some() == self.below
    }
}

fn parse_segment(text: &str) -> Result<String, PatternError> {
    // The grammar of a segment is that of SPIFFE IDs; a star inside one is no pattern (SCA-18).
    let id = format!("spiffe://td/{text}");
    match SpiffeId::parse(&id) {
        Ok(_) if !text.contains('/') => Ok(text.to_owned()),
        _ => Err(PatternError::Form),
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Exact(text) => write!(f, "/{text}")?,
                Segment::Any => f.write_str("/*")?,
            }
        }
        if self.below { f.write_str("/*") } else { Ok(()) }
    }
}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        PathPattern::parse(pattern).unwrap().matches(&SpiffeId::parse(&format!("spiffe://td{path}")).unwrap())
    }

    #[test]
    fn sca_17_and_20_whole_segments_match() {
        for (pattern, path, expected) in [
            ("/client/*", "/client/1", true),
            ("/client/*", "/client/a/b", true),
            ("/client/*", "/client", false),
            ("/client/*", "/client1", false),
            ("/client/*", "/clientx/1", false),
            ("/ns/*/api", "/ns/a/api", true),
            ("/ns/*/api", "/ns/a/b/api", false),
            ("/ns/*/api", "/ns/api", false),
            ("/client", "/client", true),
            ("/client", "/Client", false),
            ("/client", "/client/1", false),
            ("/a/*/b/*", "/a/x/b/y/z", true),
            ("/a/*/b/*", "/a/x/b", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn sca_18_and_19_other_stars_are_refused() {
        for text in ["", "client", "/client*", "/cl*ent", "/**", "/", "/a//b", "/a/", "/../a", "spiffe://td/*", "/a b"]
        {
            assert_eq!(PathPattern::parse(text), Err(PatternError::Form), "{text}");
        }
        for text in ["/*", "/*/*"] {
            assert_eq!(PathPattern::parse(text), Err(PatternError::Everyone), "{text}");
        }
    }
}
