//! Why an expression has no value, and how much it may cost to find out.

use std::fmt;

/// Steps that the rules of a wait may take together. A step is a node that is evaluated, an element that
/// is looked at or copied, or eight bytes of text that are.
pub const MAX_STEPS: u64 = 1_000_000;

/// Why there is no value. Never says anything of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A map without the key.
    NoSuchKey,
    /// A list without the index.
    OutOfRange,
    /// An operator or a function does not take what it got.
    WrongType,
    /// A whole number beyond 64 bits.
    Overflow,
    /// A division by zero.
    DivisionByZero,
    /// A text that is no number, a number that is too large.
    NotConvertible,
    /// A map that would have a key twice.
    DuplicateKey,
    /// What was to be true or false is something else.
    NotBoolean,
    /// A value that JSON does not have.
    NotJson,
    /// A payload that is no JSON.
    Malformed,
    /// More steps than there may be.
    TooCostly,
    /// More bytes than there may be.
    TooLarge,
    /// More levels than there may be.
    TooDeep,
}

impl Reason {
    /// The word in logs and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchKey => "no_such_key",
            Self::OutOfRange => "out_of_range",
            Self::WrongType => "wrong_type",
            Self::Overflow => "overflow",
            Self::DivisionByZero => "division_by_zero",
            Self::NotConvertible => "not_convertible",
            Self::DuplicateKey => "duplicate_key",
            Self::NotBoolean => "not_boolean",
            Self::NotJson => "not_json",
            Self::Malformed => "malformed",
            Self::TooCostly => "too_costly",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
        }
    }

    /// Whether it ends everything: no `||` makes up for it.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::TooCostly | Self::TooLarge | Self::TooDeep)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reason, and the byte of the expression at which it arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    pub(crate) at: usize,
}

/// How many steps are left.
#[derive(Debug)]
pub struct Budget {
    left: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(MAX_STEPS)
    }
}

impl Budget {
    /// This many.
    pub fn of(steps: u64) -> Self {
        Self { left: steps }
    }

    /// Steps that are left.
    pub fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn charge(&mut self, steps: usize) -> Result<(), Reason> {
        let left = self.left.checked_sub(steps as u64);
        // What comes after it gets nothing, either.
        self.left = left.unwrap_or_default();
        left.map(drop).ok_or(Reason::TooCostly)
    }

    /// For text of so many bytes.
    pub(crate) fn charge_text(&mut self, bytes: usize) -> Result<(), Reason> {
        self.charge(bytes / 8)
    }
}
