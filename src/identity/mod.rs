//! Who: the one normal form of a verified caller, and the values it is made of.
//!
//! Values only. Nothing here verifies, decides or reads anything from outside.

mod audience;
mod instance;
mod name;
mod scope;
mod spiffe_id;
mod template;
mod workload;

pub use audience::{Audience, AudienceError, IssuerUrl};
pub use instance::{Instance, Object};
pub use name::{AttributeName, GroupName, KeyId, NameError, ResourceName, SourceName};
pub use scope::{Scope, ScopeError, ScopeSet};
pub use spiffe_id::{SpiffeId, SpiffeIdError, TrustDomain};
pub use template::{IdentityTemplate, PathTemplate, TemplateError};
pub use workload::{
    Assurance, Attributes, Confirmation, CredentialFacts, CredentialKind, PERSON, VerifiedSubject, WorkloadIdentity,
};
