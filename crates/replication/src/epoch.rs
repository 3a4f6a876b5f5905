//! Which history positions are positions in.

use std::fmt;
use std::sync::Arc;

/// A span of the stream without a gap. What was known under one epoch says nothing under another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// As the database calls it.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// 16 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
