//! Values that must never be printed.
//!
//! A `Secret` says its kind in `Debug`, never its content, and is overwritten when dropped.

use std::fmt;

use zeroize::Zeroize;

/// Text or bytes that must not reach a log, an error or a record. No `Display`, no `Clone`.
pub struct Secret<T: Zeroize> {
    kind: &'static str,
    value: T,
}

impl<T: Zeroize> Secret<T> {
    /// Wraps `value`; `kind` is what `Debug` will say, for example `"access token"`.
    pub const fn new(kind: &'static str, value: T) -> Self {
        Self { kind, value }
    }

    /// The content. Each caller is a place where it may leave: one search finds them all.
    pub const fn expose(&self) -> &T {
        &self.value
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.kind)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_says_the_kind_alone() {
        let secret = Secret::new("access token", String::from("eyJhbGciOi"));
        assert_eq!(format!("{secret:?}"), "[access token]");
    }
}
