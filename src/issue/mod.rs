//! From a grant to an access token: keys, caps, signature.
//!
//! Never signs what the grant does not say, and never past the end of the credential or of the key.

mod folder;
mod key_file;
mod key_ring;
mod mint;
mod new_key;
mod plan;
mod published;
mod schedule;
mod settings;
#[cfg(test)]
mod temp_dir;
mod timeline;
mod verifiers;
mod wait;

pub use key_file::KeyFileFault;
pub use key_ring::{KeyRing, KeyRingFault, KeyStatus, Postponed, RingKey};
pub use mint::{AccessToken, Issuer, act};
pub use new_key::NewKey;
pub use plan::PlanFault;
pub use published::PublishedKeys;
pub use schedule::{JWKS_MAX_AGE, KEPT_AFTER_RETIRE, KeyState, LONGEST_TOKEN_LIFE, PUBLISHED_BEFORE_USE, Schedule};
pub use settings::{DEFAULT_ROTATION, LONGEST_ROTATION, SHORTEST_ROTATION, SigningSettings};
pub use timeline::{named, timeline};
pub use wait::{Canary, Cause, LONGEST_WAIT, Wait};
