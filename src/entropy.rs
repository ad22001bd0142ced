//! Where unpredictable bytes come from: token ids, references, jitter.
//!
//! Randomness is an argument; nothing else in the crate asks the system for it, except key generation inside `jose`.

use std::fmt;

/// A source of unpredictable bytes. Shared as `Arc<dyn Entropy>`.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `bytes`, or says that the system gave none.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The system gave no random bytes. Nothing may be minted without them.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoEntropy;

/// The operating system's generator, through aws-lc.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        aws_lc_rs::rand::fill(bytes).map_err(|_unspecified| NoEntropy)
    }
}
