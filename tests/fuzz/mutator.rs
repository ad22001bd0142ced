//! Changes bytes at random, the same way for the same seed.

/// A source of changed inputs.
pub struct Mutator {
    state: u64,
    words: &'static [&'static str],
    longest: usize,
}

impl Mutator {
    pub const fn new(seed: u64, words: &'static [&'static str], longest: usize) -> Self {
        Self { state: seed, words, longest }
    }

    /// One to eight changes of one input of the pool.
    pub fn next(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = pool[self.below(pool.len())].clone();
        for _ in 0..=self.below(8) {
            self.change(&mut input, pool);
        }
        input.truncate(self.longest);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(16)).min(input.len());
        match self.below(10) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.byte(),
            2 => input.insert(at, self.byte()),
            3 if at < end => drop(input.drain(at..end)),
            4 if at < end => {
                let piece = input[at..end].to_vec();
                let times = 1 + self.below(4);
                splice(input, end, &piece.repeat(times));
            }
            5 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len())];
                splice(input, at, word.as_bytes());
            }
            6 if !self.words.is_empty() => {
                // In the place of something of its length: separators around it stay.
                let word = self.words[self.below(self.words.len())];
                let end = (at + word.len()).min(input.len());
                input.splice(at.min(end)..end, word.bytes());
            }
            7 => {
                // The end of another input.
                let other = &pool[self.below(pool.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            8 => input.truncate(at),
            _ if at < input.len() => input[at] = input[at].wrapping_add(1),
            _ => input.push(self.byte()),
        }
    }

    /// Mostly printable: other bytes are refused early.
    fn byte(&mut self) -> u8 {
        let any = self.random() as u8;
        if self.below(4) == 0 { any } else { 0x20 + any % 0x5f }
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.random() % limit.max(1) as u64) as usize
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn splice(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

#[test]
fn one_seed_gives_one_row_of_inputs() {
    let row = |seed| {
        let mut mutator = Mutator::new(seed, &["word"], 64);
        let pool = vec![b"some text".to_vec(), b"another".to_vec()];
        (0..200).map(|_| mutator.next(&pool)).collect::<Vec<_>>()
    };
    assert_eq!(row(7), row(7));
    assert_ne!(row(7), row(8));
    assert!(row(7).iter().all(|input| input.len() <= 64));
}
