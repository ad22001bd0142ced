//! The product through its gRPC door, by a stock client.

mod call;
mod memory;
mod owned;
mod unary;
mod watch;

pub use call::{Call, Client, Told};
