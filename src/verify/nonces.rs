//! Nonces for proofs of possession (RFC 9449 §8): what a proof must repeat to show that it was made lately, by our clock.
//!
//! Nothing is kept: a nonce is the HMAC of its slot of time under a key of this process, so that nobody can guess the next one
//! and none outlives the process. Whether nonces are asked for at all is the configuration's.

use std::fmt;

use aws_lc_rs::hmac;
use base64ct::{Base64UrlUnpadded, Encoding};

use crate::clock::{Lifetime, Timestamp};
use crate::entropy::{Entropy, NoEntropy};

/// How long one nonce is given out. It is taken for as long again, so that a client with one has at least this time to use it.
const SLOT: Lifetime = Lifetime::from_minutes(5);

/// Makes and knows nonces.
pub struct Nonces(hmac::Key);

/// How a nonce stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceAge {
    /// It is the one that is given out now.
    Current,
    /// It is the one before, and taken for the last time.
    Last,
}

impl Nonces {
    /// With a fresh key.
    ///
    /// # Errors
    /// [`NoEntropy`].
    pub fn new(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        let mut key = [0; 32];
        entropy.fill(&mut key)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// The nonce that is given out at `at`.
    pub fn at(&self, at: Timestamp) -> String {
        Base64UrlUnpadded::encode_string(hmac::sign(&self.0, &slot(at).to_be_bytes()).as_ref())
    }

    /// Whether a nonce is ours and may be used at `at`. Compared in constant time.
    pub fn judge(&self, nonce: &str, at: Timestamp) -> Option<NonceAge> {
        let tag = Base64UrlUnpadded::decode_vec(nonce).ok()?;
        let is_of = |slot: i64| hmac::verify(&self.0, &slot.to_be_bytes(), &tag).is_ok();
        let now = slot(at);
        [(now, NonceAge::Current), (now - 1, NonceAge::Last)]
            .into_iter()
            .find_map(|(slot, age)| is_of(slot).then_some(age))
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[nonces]")
    }
}

const fn slot(at: Timestamp) -> i64 {
    at.seconds().div_euclid(SLOT.seconds())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn dpo_08_a_nonce_is_taken_in_its_slot_and_the_next() {
        let nonces = Nonces::new(&SystemEntropy).unwrap();
        let begin = Timestamp::from_seconds(1_000 * SLOT.seconds());
        let nonce = nonces.at(begin);
        assert_eq!(nonce, nonces.at(begin.plus(Lifetime::from_seconds(299))));
        let age = |after: u32| nonces.judge(&nonce, begin.plus(Lifetime::from_seconds(after)));
        assert_eq!([age(0), age(299)], [Some(NonceAge::Current); 2]);
        assert_eq!([age(300), age(599)], [Some(NonceAge::Last); 2]);
        assert_eq!(age(600), None);
        assert_eq!(nonces.judge(&nonce, Timestamp::from_seconds(begin.seconds() - 1)), None, "it is of the future");
    }

    #[test]
    fn dpo_08_nobody_else_makes_one() {
        let (ours, others) = (Nonces::new(&SystemEntropy).unwrap(), Nonces::new(&SystemEntropy).unwrap());
        let now = Timestamp::from_seconds(1_000_000);
        let nonce = ours.at(now);
        for other in [others.at(now), String::new(), "AA".to_owned(), format!("{nonce}="), nonce[1..].to_owned()] {
            assert_eq!(ours.judge(&other, now), None, "{other}");
        }
    }
}
