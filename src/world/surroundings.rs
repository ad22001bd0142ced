//! What the pretend world takes from outside: time and randomness.
//!
//! Never reads either by itself.

use std::fmt;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::entropy::{Entropy, NoEntropy, SystemEntropy};
use crate::secret::Secret;

/// The clock and the source of randomness that everything in a world shares.
#[derive(Debug, Clone)]
pub struct Surroundings {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Surroundings {
    /// Given time and randomness.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// The machine's time and randomness.
    pub fn system() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// Given time, the machine's randomness.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::new(clock, Arc::new(SystemEntropy))
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A random bearer token of 256 bits.
    pub(super) fn bearer_token(&self) -> Result<Secret<String>, NoEntropy> {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes)?;
        Ok(Secret::new("admin token", Base64UrlUnpadded::encode_string(&bytes)))
    }

    /// A random UUID, version 4.
    pub(super) fn uuid(&self) -> Result<String, NoEntropy> {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes)?;
        Ok(Uuid(bytes).to_string())
    }
}

/// Sixteen bytes in the text form of a version 4 UUID (RFC 9562 §5.4).
pub(super) struct Uuid(pub(super) [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = u128::from_be_bytes(self.0);
        let number = number & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{number:032x}");
        for (index, digit) in hex.chars().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                f.write_str("-")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_version_and_variant() {
        assert_eq!(Uuid([0xff; 16]).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(Uuid([0; 16]).to_string(), "00000000-0000-4000-8000-000000000000");
    }
}
