//! What open streams cost.
