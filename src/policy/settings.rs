//! What is configured of resources and rules.
//!
//! Values only; [`super::Policy::compile`] checks them against the sources and each other.

use std::collections::BTreeMap;

use crate::clock::Lifetime;
use crate::identity::{AttributeName, Audience, GroupName, ResourceName, ScopeSet, SourceName, SpiffeId};
use crate::jose::Algorithm;
use crate::reason::Reason;

/// Something that tokens are for.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceSettings {
    /// Its name, which callers may use as `audience`.
    pub name: ResourceName,
    /// The value of `aud` in its tokens.
    pub audience: Audience,
    /// Every scope that it knows.
    pub scopes: ScopeSet,
    /// Longest life of its tokens.
    pub lifetime: Lifetime,
    /// Who answers for it; shown to callers that are refused.
    pub owner: Option<String>,
    /// The algorithm that signs its tokens: ES256 or RS256.
    pub algorithm: Algorithm,
    /// The header `typ` of its tokens.
    pub typ: TokenType,
    /// Further claims of its tokens. Registered names are refused at load.
    pub claims: BTreeMap<String, serde_json::Value>,
    /// What its tokens must be bound to.
    pub require: Require,
    /// The workload that serves it: who may introspect its tokens, and exchange them onward.
    pub served_by: Option<FromSettings>,
}

/// What tokens must be bound to. Of several the greatest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Require {
    /// Nothing: whoever holds the token may use it.
    #[default]
    Nothing,
    /// A key that the caller proved to hold: a DPoP proof or the connection's certificate.
    Bound,
}

/// For whom a rule lets its callers act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnBehalfOf {
    /// Names of sources, of groups of sources and of issuers of people, whose subjects these are.
    pub subjects: Vec<String>,
    /// The longest chain of actors in a token, the caller included.
    pub depth: usize,
    /// A narrower bound for the scopes than the rule's own.
    pub scopes: Option<ScopeSet>,
    /// The token names the subject alone: no `act` says who acts (TX-18).
    pub impersonate: bool,
}

/// The header `typ` of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068 §2.1).
    AccessToken,
    /// `JWT`, for verifiers that refuse `at+jwt`.
    Jwt,
}

impl TokenType {
    /// The text in the header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::Jwt => "JWT",
        }
    }
}

/// A sentence: these identities may have a token for that resource with these scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// The sentence. Names are unique.
    pub name: String,
    /// Which identities.
    pub from: FromSettings,
    /// Which resource.
    pub resource: String,
    /// Which scopes of it.
    pub scopes: ScopeSet,
    /// Whether it grants, or only records what it would.
    pub mode: Mode,
    /// A `client_id` that these identities may use besides their SPIFFE ID.
    pub alias: Option<String>,
    /// Whether its resource is the target when a caller names none.
    pub default: bool,
    /// A shorter life than the resource's.
    pub lifetime: Option<Lifetime>,
    /// What tokens of this rule must be bound to.
    pub require: Require,
    /// Whom its callers may act for. A rule with it grants nothing to those who act for themselves, and one without it nothing to others.
    pub on_behalf_of: Option<OnBehalfOf>,
}

/// Whether a rule grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It grants.
    Enforce,
    /// It is evaluated and recorded, and grants nothing.
    Observe,
}

/// Which identities a rule speaks of. Each list is "one of"; all that are there must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromSettings {
    /// Names of sources.
    pub sources: Vec<SourceName>,
    /// Names of groups of sources.
    pub groups: Vec<GroupName>,
    /// Patterns for the path of the SPIFFE ID: exact, `*` as one whole segment, `/*` at the end for everything below.
    pub paths: Vec<String>,
    /// Attributes and their exact values.
    pub attributes: BTreeMap<AttributeName, Vec<String>>,
    /// Every identity of the sources; excludes paths and attributes.
    pub everyone: bool,
}

/// A question with the answer that the policy must give, asked at every load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSettings {
    /// Who asks.
    pub caller: TestCaller,
    /// The source, where an ID alone does not say which.
    pub via: Option<SourceName>,
    /// The resource's name or audience.
    pub resource: String,
    /// The scopes asked for; none means all that are granted.
    pub scopes: Option<ScopeSet>,
    /// What must come out.
    pub expect: Expectation,
}

/// Who asks in a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestCaller {
    /// A SPIFFE ID, from the source that makes it.
    Id(SpiffeId),
    /// A source and what is known of the caller.
    Attributes {
        /// The source.
        source: SourceName,
        /// The path of a SPIFFE ID, for SPIFFE sources.
        path: Option<String>,
        /// Attributes.
        attributes: BTreeMap<AttributeName, String>,
    },
}

/// What a test expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// A grant.
    Allow,
    /// A refusal for exactly this reason.
    Refuse(Reason),
}
