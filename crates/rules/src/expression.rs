//! One expression.

use std::fmt;

use crate::evaluate::Evaluation;
use crate::fault::{Budget, Fault};
use crate::lex::Wrong;
use crate::node::Node;
use crate::parse::parse;
use crate::value::Value;

/// Bytes of an expression.
pub const MAX_TEXT: usize = 4096;

/// An expression that was read.
#[derive(Debug)]
pub struct Expression {
    text: String,
    root: Node,
}

/// What is wrong with a text that is no expression, and where: both counted from one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct CompileError {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

impl Expression {
    /// Reads one.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        let wrong = |wrong: Wrong| {
            let (line, column) = place(text, wrong.at);
            let what = wrong.what;
            CompileError { line, column, what }
        };
        if text.len() > MAX_TEXT {
            let what = format!("the expression is longer than {MAX_TEXT} bytes");
            return Err(wrong(Wrong::new(0, what)));
        }
        Ok(Self {
            root: parse(text).map_err(wrong)?,
            text: text.to_owned(),
        })
    }

    /// What it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte.
    pub(crate) fn place(&self, at: usize) -> (usize, usize) {
        place(&self.text, at)
    }

    pub(crate) fn evaluate(&self, payload: &Value, budget: &mut Budget) -> Result<Value, Fault> {
        Evaluation::new(payload, budget).value(&self.root)
    }

    pub(crate) fn holds(&self, payload: &Value, budget: &mut Budget) -> Result<bool, Fault> {
        Evaluation::new(payload, budget).boolean(&self.root)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    (line, last.chars().count() + 1)
}
