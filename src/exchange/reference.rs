//! Names of decisions: short enough to read out, unique enough to find (design §6).

use std::fmt;
use std::sync::Arc;

use crate::entropy::Entropy;

/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Twelve characters; the first two name the process.
#[derive(Clone, PartialEq, Eq)]
pub struct ErrorRef(String);

impl ErrorRef {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ErrorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Gives references out.
#[derive(Clone, Debug)]
pub struct References {
    replica: String,
    entropy: Arc<dyn Entropy>,
}

impl References {
    /// References of this process; its two characters are drawn at start.
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        let replica = letters::<2>(entropy.as_ref());
        Self { replica, entropy }
    }

    /// The two characters that name this process.
    pub fn replica(&self) -> &str {
        &self.replica
    }

    /// A fresh reference. It is a name and no secret: without random bytes it is made of zeros rather than refused.
    pub fn next(&self) -> ErrorRef {
        ErrorRef(format!("{}{}", self.replica, letters::<10>(self.entropy.as_ref())))
    }
}

fn letters<const N: usize>(entropy: &dyn Entropy) -> String {
    let mut bytes = [0_u8; N];
    let _ = entropy.fill(&mut bytes);
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or(b'0');
    bytes.iter().map(|byte| char::from(letter(byte))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_twelve_letters_and_name_their_process() {
        let references = References::new(Arc::new(crate::entropy::SystemEntropy));
        let (one, two) = (references.next(), references.next());
        assert_ne!(one, two);
        for reference in [one, two] {
            assert_eq!(reference.as_str().len(), 12);
            assert!(reference.as_str().starts_with(references.replica()));
            assert!(reference.as_str().bytes().all(|byte| ALPHABET.contains(&byte)));
        }
    }
}
