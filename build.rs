//! Generates code from `proto/`; nothing yet.

fn main() {}
