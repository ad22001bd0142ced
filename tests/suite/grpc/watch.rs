//! Streams of tokens.
