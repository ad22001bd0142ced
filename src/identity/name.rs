//! Short names: of sources, groups, resources, attributes and keys.
//!
//! Each has its own type, so that one cannot stand where another is meant.

use std::fmt;

/// Text that is not a name of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct NameError {
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $fits:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Reads the name.
            ///
            /// # Errors
            /// [`NameError`] with the rule that the text breaks.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let fits: fn(&str) -> bool = $fits;
                if fits(text) { Ok(Self(text.to_owned())) } else { Err(NameError { rule: $rule }) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

name!(
    /// Our configured name of a trust source. Part of identities and of the `source` claim: a rename is a change of identity.
    SourceName,
    is_label,
    "a source name has 1 to 63 characters of a-z 0-9 -"
);
name!(
    /// A name for several sources that rules may use in place of one.
    GroupName,
    is_label,
    "a group name has 1 to 63 characters of a-z 0-9 -"
);
name!(
    /// The name of a resource, beside its audience value.
    ResourceName,
    |text| (1..=63).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')),
    "a resource name has 1 to 63 characters of a-z 0-9 - _ ."
);
name!(
    /// The name of an attribute of an identity: `namespace`, `service_account`, or one that a path template gives.
    AttributeName,
    |text| (1..=32).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')),
    "an attribute name starts with a-z and has at most 32 characters of a-z 0-9 _"
);
name!(
    /// A `kid`: data that is compared, never a path, a query or a template (JOSE-21).
    KeyId,
    |text| (1..=512).contains(&text.len()) && !text.chars().any(char::is_control),
    "a key id has 1 to 512 bytes and no control characters"
);
