#![doc = include_str!("../README.md")]

mod body;
mod reason;
pub mod token;
mod words;

pub use body::{check_body, check_transactions};
pub use reason::Reason;
pub use words::{is_dangerous, is_harmless_builtin, is_syntax};

/// What is known about the functions of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callee {
    /// No function of this name is known beside PostgreSQL's own.
    Unknown,
    /// Every known function of this name may run.
    Safe,
    /// One of them may not.
    Unsafe,
}
