//! Fuzz targets: what outsiders write is changed at random and read, and what comes of it must hold together.
//!
//! Part of the suite for three seconds a target; `tests/run fuzz` takes longer. A target is a name, samples, words and a check: a new one is
//! a file here and a test of its own. A check says more than that nothing panics: what is read is written back, what verifies was signed.

mod compact_jws;
mod configuration;
mod dpop_proof;
mod mutator;
mod spiffe_id;
mod token_form;
mod x509_chain;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mutator::Mutator;

/// Inputs that are kept because something new came of them.
const LARGEST_POOL: usize = 2000;

/// What is read.
pub struct Target {
    /// The name of its test.
    pub name: &'static str,
    /// Good inputs, to begin with.
    pub samples: Vec<Vec<u8>>,
    /// Pieces that mean something to the reader.
    pub words: &'static [&'static str],
    /// No input gets longer.
    pub longest: usize,
}

/// Changes samples and checks them until the time is over. A check gives back what came of the input, in a word or two: an input that
/// brings something new is changed further.
///
/// `COUNTERSIGN_FUZZ_SECONDS` is the time, `COUNTERSIGN_FUZZ_SEED` where chance begins: with the seed of a failure the same inputs come
/// in the same order.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "real time bounds it, two variables steer it, and how much was tried is worth a line"
)]
pub fn fuzz(target: Target, check: impl Fn(&[u8]) -> String) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seconds = number("COUNTERSIGN_FUZZ_SECONDS").unwrap_or(3);
    let seed = number("COUNTERSIGN_FUZZ_SEED").unwrap_or(1);
    let mut mutator = Mutator::new(seed, target.words, target.longest);
    let mut pool = target.samples;
    let mut outcomes = HashSet::new();
    for sample in &pool {
        outcomes.insert(checked(target.name, seed, 0, sample, &check));
    }
    let (ends, mut count) = (Instant::now() + Duration::from_secs(seconds), 0_u64);
    while Instant::now() < ends {
        count += 1;
        let input = mutator.next(&pool);
        let outcome = checked(target.name, seed, count, &input, &check);
        if outcomes.insert(outcome) && pool.len() < LARGEST_POOL {
            pool.push(input);
        }
    }
    println!("{}: {count} inputs, {} outcomes, seed {seed}", target.name, outcomes.len());
    assert!(count > 20, "{}: {count} inputs in {seconds} s are no test", target.name);
}

/// Runs the check, and says which input it was that failed.
fn checked(name: &str, seed: u64, count: u64, input: &[u8], check: impl Fn(&[u8]) -> String) -> String {
    catch_unwind(AssertUnwindSafe(|| check(input))).unwrap_or_else(|cause| {
        let why = cause.downcast_ref::<String>().cloned();
        let why = why.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        panic!("{name}, seed {seed}, input {count}: {why}\n{}", input.escape_ascii())
    })
}
