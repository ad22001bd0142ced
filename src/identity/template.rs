//! Templates between paths and attributes: `/ns/{namespace}/sa/{service_account}`.
//!
//! A placeholder is always one whole path segment. Nothing is escaped or joined: what does not fit is refused.

use std::fmt;

use super::spiffe_id::is_segment;
use super::{AttributeName, Attributes, SpiffeId, SpiffeIdError, TrustDomain};

/// Why text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A path template starts with one slash and has neither empty segments nor other characters than paths may have.
    #[error(
        "a template is a path such as /ns/{{namespace}}/sa/{{service_account}}; each placeholder is one whole segment"
    )]
    Form,
    /// The same placeholder twice.
    #[error("placeholder {{{0}}} stands twice")]
    Repeated(AttributeName),
    /// An identity template does not start with `spiffe://` and a trust domain.
    #[error("an identity template is spiffe://<domain>/… with a lower-case domain of its own")]
    Domain,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Placeholder(AttributeName),
}

fn parse_segments(path: &str) -> Result<Vec<Segment>, TemplateError> {
    let rest = path.strip_prefix('/').ok_or(TemplateError::Form)?;
    let mut segments: Vec<Segment> = Vec::new();
    for text in rest.split('/') {
        let placeholder = text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
        segments.push(match placeholder {
            Some(name) => {
                let name = AttributeName::parse(name).map_err(|_not_a_name| TemplateError::Form)?;
                if segments.contains(&Segment::Placeholder(name.clone())) {
                    return Err(TemplateError::Repeated(name));
                }
                Segment::Placeholder(name)
            }
            None if is_segment(text) => Segment::Literal(text.to_owned()),
            None => return Err(TemplateError::Form),
        });
    }
    Ok(segments)
}

fn write_segments(segments: &[Segment], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    segments.iter().try_for_each(|segment| match segment {
        Segment::Literal(text) => write!(f, "/{text}"),
        Segment::Placeholder(name) => write!(f, "/{{{name}}}"),
    })
}

fn placeholders(segments: &[Segment]) -> impl Iterator<Item = &AttributeName> {
    segments.iter().filter_map(|segment| match segment {
        Segment::Placeholder(name) => Some(name),
        Segment::Literal(_) => None,
    })
}

/// Reads attributes out of the path of a SPIFFE ID.
#[derive(Clone, PartialEq, Eq)]
pub struct PathTemplate(Vec<Segment>);

impl PathTemplate {
    /// Reads `/ns/{namespace}/sa/{service_account}`.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        parse_segments(text).map(Self)
    }

    /// The attributes that the whole path gives, or `None` when it is not of this form.
    pub fn read<'a>(&'a self, id: &'a SpiffeId) -> Option<Vec<(&'a AttributeName, &'a str)>> {
        let found: Vec<&str> = id.segments().collect();
        if found.len() != self.0.len() {
            return None;
        }
        let mut attributes = Vec::new();
        for (segment, text) in self.0.iter().zip(found) {
            match segment {
                Segment::Literal(literal) if literal == text => {}
                Segment::Literal(_) => return None,
                Segment::Placeholder(name) => attributes.push((name, text)),
            }
        }
        Some(attributes)
    }

    /// The attributes that it can give.
    pub fn names(&self) -> impl Iterator<Item = &AttributeName> {
        placeholders(&self.0)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_segments(&self.0, f)
    }
}

impl fmt::Debug for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes a SPIFFE ID out of attributes: `spiffe://id.example/k8s/eu1/ns/{namespace}/sa/{service_account}`.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityTemplate {
    domain: TrustDomain,
    segments: Vec<Segment>,
}

impl IdentityTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let rest = text.strip_prefix("spiffe://").ok_or(TemplateError::Domain)?;
        let slash = rest.find('/').ok_or(TemplateError::Form)?;
        let (domain, path) = rest.split_at(slash);
        let domain = TrustDomain::parse(domain).map_err(|_not_a_domain| TemplateError::Domain)?;
        Ok(Self { domain, segments: parse_segments(path)? })
    }

    /// The trust domain of every ID that it makes.
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The attributes that it needs.
    pub fn names(&self) -> impl Iterator<Item = &AttributeName> {
        placeholders(&self.segments)
    }

    /// Makes the ID.
    ///
    /// # Errors
    /// [`SpiffeIdError`] when an attribute is missing or does not fit into a path segment (NOR-04).
    pub fn render(&self, attributes: &Attributes) -> Result<SpiffeId, SpiffeIdError> {
        let mut segments = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            segments.push(match segment {
                Segment::Literal(text) => text.as_str(),
                Segment::Placeholder(name) => attributes.get(name).ok_or(SpiffeIdError::Path)?,
            });
        }
        SpiffeId::from_segments(&self.domain, segments)
    }

    /// Whether some ID can be made by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.domain == other.domain
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Segment::Literal(one), Segment::Literal(two)) => one == two,
                _ => true,
            })
    }
}

impl fmt::Display for IdentityTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}", self.domain)?;
        write_segments(&self.segments, f)
    }
}

impl fmt::Debug for IdentityTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_give_attributes_by_whole_segments() {
        let template = PathTemplate::parse("/ns/{namespace}/sa/{service_account}").unwrap();
        let read = |text: &str| {
            let id = SpiffeId::parse(text).unwrap();
            template.read(&id).map(|found| found.iter().map(|(_, value)| (*value).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(read("spiffe://td/ns/shop/sa/api"), Some(vec!["shop".to_owned(), "api".to_owned()]));
        for text in ["spiffe://td/ns/shop/sa/api/x", "spiffe://td/ns/shop/sa", "spiffe://td/NS/shop/sa/api"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn templates_outside_the_form_are_refused() {
        for text in ["", "ns/{a}", "/", "/a//b", "/a{b}", "/{b}c", "/{a}/{a}", "/{A}", "/{}", "/../a", "/a/"] {
            assert!(PathTemplate::parse(text).is_err(), "{text}");
        }
        for text in ["spiffe://td", "https://td/a", "spiffe://TD/a", "spiffe:///a", "spiffe://{a}/b"] {
            assert!(IdentityTemplate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nor_02_overlap_is_seen() {
        let parse = |text: &str| IdentityTemplate::parse(text).unwrap();
        let eu1 = parse("spiffe://id.example/k8s/eu1/ns/{namespace}/sa/{service_account}");
        assert!(!eu1.overlaps(&parse("spiffe://id.example/k8s/eu2/ns/{namespace}/sa/{service_account}")));
        assert!(eu1.overlaps(&parse("spiffe://id.example/k8s/{pod}/ns/shop/sa/api")));
        assert!(!eu1.overlaps(&parse("spiffe://other.example/k8s/eu1/ns/{namespace}/sa/{service_account}")));
        assert!(!eu1.overlaps(&parse("spiffe://id.example/k8s/eu1/ns/{namespace}")));
    }
}
