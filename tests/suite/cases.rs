//! THE TABLE: every way to be refused. Each row is one valid request or credential, spoiled in one respect.
//!
//! A row's name says the spoil and the requirements that it checks; its reason, `error` and status are what must come out.
//! Before and after each theme good credentials are granted, so that a broken product cannot make refusals pass.

mod accepted;
mod assertions;
mod audience;
mod delegation;
pub mod dpop;
mod exchange;
mod grants;
mod ground;
mod http;
mod introspection;
mod jose;
mod json;
pub mod keyring;
mod keys;
mod kubernetes;
mod limits;
mod matrix;
mod oidc;
mod people;
mod policy;
mod request;
mod run;
mod silence;
mod spiffe;
mod time;
