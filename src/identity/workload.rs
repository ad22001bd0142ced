//! The one normal form of a caller (design §3).
//!
//! A `WorkloadIdentity` is a value; that it was verified is said by the type around it, which only `verify` makes.

use std::collections::BTreeMap;
use std::fmt;

use super::{AttributeName, KeyId, SourceName, SpiffeId};
use crate::clock::Timestamp;

/// What kind of credential was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// A JWT-SVID.
    JwtSvid,
    /// An X.509-SVID, shown in the handshake of the connection.
    X509Svid,
    /// A Kubernetes service-account token.
    Kubernetes,
    /// A token of another OIDC issuer: a CI system, a cloud.
    Oidc,
}

impl CredentialKind {
    /// The word in tokens, records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JwtSvid => "jwt_svid",
            Self::X509Svid => "x509_svid",
            Self::Kubernetes => "kubernetes",
            Self::Oidc => "oidc",
        }
    }

    /// The kind with that word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::JwtSvid, Self::X509Svid, Self::Kubernetes, Self::Oidc].into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How strongly the caller was proven on this request. It never rises on the way (NOR-06).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assurance {
    /// Whoever holds the credential is the caller.
    Bearer,
    /// The caller proved on this request to hold that key.
    Bound(Confirmation),
}

/// A key that somebody proved to hold: the member of `cnf` in a token that is bound to it (RFC 7800 §3.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Confirmation {
    /// `x5t#S256`: SHA-256 of the DER certificate in base64url without padding (RFC 8705 §3.1).
    Certificate(String),
    /// `jkt`: RFC 7638 SHA-256 thumbprint of the public key of a DPoP proof (RFC 9449 §6.1).
    Key(String),
}

impl Confirmation {
    /// The name of its member in `cnf`.
    pub const fn member(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "x5t#S256",
            Self::Key(_) => "jkt",
        }
    }

    /// `token_type` of a token that is bound to no key, or to a certificate (RFC 8705 §3).
    pub const UNBOUND: &'static str = "Bearer";

    /// `token_type` of a token that is bound to it.
    pub const fn token_type(&self) -> &'static str {
        match self {
            Self::Certificate(_) => Self::UNBOUND,
            Self::Key(_) => "DPoP",
        }
    }

    /// The value of that member.
    pub fn value(&self) -> &str {
        match self {
            Self::Certificate(value) | Self::Key(value) => value,
        }
    }
}

/// Facts about the caller from verified claims: few, short, and only those that the kind of source can have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<AttributeName, String>);

impl Attributes {
    /// Adds one. The text has passed the checks of its kind.
    pub fn insert(&mut self, name: AttributeName, value: impl Into<String>) {
        self.0.insert(name, value.into());
    }

    /// The value of an attribute, if the caller has it.
    pub fn get(&self, name: &AttributeName) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of an attribute by its text.
    pub fn named(&self, name: &str) -> Option<&str> {
        self.iter().find(|(found, _)| found.as_str() == name).map(|(_, value)| value)
    }

    /// All, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&AttributeName, &str)> {
        self.0.iter().map(|(name, value)| (name, value.as_str()))
    }
}

/// What is known of the credential itself, for records and for caps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFacts {
    /// Its `jti`, or the SHA-256 of its signing input in hexadecimal.
    pub id: String,
    /// The key that verified it; `None` when the key has no id.
    pub key_id: Option<KeyId>,
    /// `iat`, if it has one.
    pub issued_at: Option<Timestamp>,
    /// When it ends: `exp`, or `warnafter` of a stretched Kubernetes token.
    pub expires_at: Timestamp,
}

/// A caller, whatever it showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadIdentity {
    /// The SPIFFE ID, canonical; the `sub` of its tokens.
    pub id: SpiffeId,
    /// Our name of the source whose key verified it. The authority is this, never text from the token (NOR-01).
    pub source: SourceName,
    /// What it showed.
    pub kind: CredentialKind,
    /// What is known about it.
    pub attributes: Attributes,
    /// The credential.
    pub credential: CredentialFacts,
    /// How strongly it was proven.
    pub assurance: Assurance,
}

/// Somebody for whom a workload acts. A person can be this, and never a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifiedSubject {
    /// A workload.
    Workload(WorkloadIdentity),
    /// A person, by the source that vouches and its `sub` there.
    Person {
        /// The name of the subjects' source.
        source: SourceName,
        /// `sub` as that source gave it.
        sub: String,
    },
}

/// The word for people in `kind`.
pub const PERSON: &str = "person";

impl VerifiedSubject {
    /// The source whose word it is.
    pub const fn source(&self) -> &SourceName {
        match self {
            Self::Workload(workload) => &workload.source,
            Self::Person { source, .. } => source,
        }
    }

    /// The `sub` of tokens: a SPIFFE ID, or the source's name, a bar and the person's `sub` there. No name of a source has a bar.
    pub fn name(&self) -> String {
        match self {
            Self::Workload(workload) => workload.id.to_string(),
            Self::Person { source, sub } => format!("{source}|{sub}"),
        }
    }

    /// The word for what it is, in `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Workload(workload) => workload.kind.as_str(),
            Self::Person { .. } => PERSON,
        }
    }

    /// The workload, if it is one.
    pub const fn workload(&self) -> Option<&WorkloadIdentity> {
        match self {
            Self::Workload(workload) => Some(workload),
            Self::Person { .. } => None,
        }
    }
}
