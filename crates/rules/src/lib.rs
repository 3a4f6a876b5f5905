#![doc = include_str!("../README.md")]

mod compute;
mod evaluate;
mod expression;
mod fault;
mod function;
mod json;
mod lex;
mod node;
mod parse;
mod rules;
mod value;

pub use expression::{CompileError, Expression, MAX_TEXT};
pub use fault::{Budget, MAX_STEPS, Reason};
pub use json::MAX_PAYLOAD;
pub use rules::{CallbackRules, CompiledRules, DefaultAction, NotJudged, RulesError, Verdict};
