//! `--rounds` and `--exchanges`; what else cargo passes is ignored.

/// How much is measured.
pub struct Arguments {
    pub rounds: usize,
    pub exchanges: usize,
}

impl Arguments {
    pub fn read(arguments: &[String]) -> Self {
        let number = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            let value = arguments.get(at + 1).unwrap_or_else(|| panic!("{name} needs a number"));
            Some(value.parse::<usize>().unwrap_or_else(|_| panic!("{name} needs a number, not {value}")).max(1))
        };
        Self { rounds: number("--rounds").unwrap_or(9), exchanges: number("--exchanges").unwrap_or(10_000) }
    }
}
