//! From a grant to an access token: keys, caps, signature.
//!
//! Never signs what the grant does not say, and never past the end of the credential or of the key.

mod settings;

pub use settings::SigningSettings;
