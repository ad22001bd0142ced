//! May they: rules over identities, and the grant that comes out.
//!
//! Pure: no clock, no network, no token text. Denies by default.

mod settings;

pub use settings::{
    Expectation, FromSettings, Mode, ResourceSettings, RuleSettings, TestCaller, TestSettings, TokenType,
};
