//! The rules of one wait.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::expression::{CompileError, Expression};
use crate::fault::{Budget, Fault, Reason};
use crate::json;
use crate::value::Value;

/// What the answer to a callback means, told by its payload. Expressions are texts in CEL; the only variable is
/// `payload`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackRules {
    /// Whether the answer is meant for this wait. One that is not is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Whether it means that the attempt failed. Asked before `on_complete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_fail: Option<String>,
    /// Whether it counts as it was called: the job is completed, or goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_complete: Option<String>,
    /// What is kept of the payload of one that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
    /// What happens if neither `on_fail` nor `on_complete` holds; unless it is said, an answer counts if
    /// there is no `on_complete`, and is ignored if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultAction>,
    /// Whether a failure is final: there are no more attempts then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
}

/// What becomes of an answer that no expression decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultAction {
    /// It counts as it was called.
    Complete,
    /// The attempt failed.
    Fail,
    /// Nothing happens; the job waits for another one.
    Ignore,
}

impl CallbackRules {
    /// None yet: every answer counts.
    pub fn new() -> Self {
        Self::default()
    }

    /// With [`Self::filter`].
    #[must_use]
    pub fn filter(mut self, expression: impl Into<String>) -> Self {
        self.filter = Some(expression.into());
        self
    }

    /// With [`Self::on_fail`].
    #[must_use]
    pub fn on_fail(mut self, expression: impl Into<String>) -> Self {
        self.on_fail = Some(expression.into());
        self
    }

    /// With [`Self::on_complete`].
    #[must_use]
    pub fn on_complete(mut self, expression: impl Into<String>) -> Self {
        self.on_complete = Some(expression.into());
        self
    }

    /// With [`Self::transform`].
    #[must_use]
    pub fn transform(mut self, expression: impl Into<String>) -> Self {
        self.transform = Some(expression.into());
        self
    }

    /// With [`Self::default`].
    #[must_use]
    pub fn otherwise(mut self, action: DefaultAction) -> Self {
        self.default = Some(action);
        self
    }

    /// A failure is final.
    #[must_use]
    pub fn terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    /// A value as a part of an expression, whatever text is in it.
    pub fn literal(value: &serde_json::Value) -> String {
        // JSON is one: CEL has its escapes.
        value.to_string()
    }

    /// Reads the expressions.
    pub fn compile(&self) -> Result<CompiledRules, RulesError> {
        let read = |rule: &'static str, text: &Option<String>| {
            let compiled = text.as_deref().map(Expression::compile).transpose();
            compiled.map_err(|error| RulesError { rule, error })
        };
        let on_complete = read("on_complete", &self.on_complete)?;
        let unsaid = match on_complete {
            Some(_) => DefaultAction::Ignore,
            None => DefaultAction::Complete,
        };
        Ok(CompiledRules {
            filter: read("filter", &self.filter)?,
            on_fail: read("on_fail", &self.on_fail)?,
            on_complete,
            transform: read("transform", &self.transform)?,
            default: self.default.unwrap_or(unsaid),
        })
    }
}

/// A rule that is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}`, {error}")]
pub struct RulesError {
    /// Its name.
    pub rule: &'static str,
    /// What is wrong with it.
    pub error: CompileError,
}

/// Rules that were read.
#[derive(Debug)]
pub struct CompiledRules {
    filter: Option<Expression>,
    on_fail: Option<Expression>,
    on_complete: Option<Expression>,
    transform: Option<Expression>,
    default: DefaultAction,
}

/// What rules make of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It counts as it was called.
    Accepted {
        /// What it brings, as JSON.
        payload: Option<String>,
    },
    /// The attempt failed.
    Failed {
        /// The rule that says so.
        rule: &'static str,
    },
    /// It is not for this wait, or says nothing yet.
    Ignored,
}

/// Rules that have nothing to say, because one of them has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct NotJudged {
    /// Its name; `payload` if that could not be read.
    pub rule: &'static str,
    /// Why.
    pub reason: Reason,
    /// Where in the expression: line and column.
    pub place: Option<(usize, usize)>,
}

impl fmt::Display for NotJudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.rule)?;
        if let Some((line, column)) = self.place {
            write!(f, ", line {line}, column {column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl CompiledRules {
    /// What they make of this payload; no payload is null. Takes a while, and memory: the payload is at most
    /// [`crate::MAX_PAYLOAD`] bytes, the work at most [`crate::MAX_STEPS`] steps.
    pub fn judge(&self, payload: Option<&str>) -> Result<Verdict, NotJudged> {
        let value = match payload.map(json::read).transpose() {
            Ok(value) => value.unwrap_or(Value::Null),
            Err(reason) => {
                return Err(NotJudged {
                    rule: "payload",
                    reason,
                    place: None,
                });
            }
        };
        let budget = &mut Budget::default();
        let mut holds = |rule, expression: &Option<Expression>| {
            let Some(expression) = expression else {
                return Ok(None);
            };
            let held = expression.holds(&value, budget);
            held.map(Some)
                .map_err(|fault| not_judged(rule, expression, fault))
        };
        if holds("filter", &self.filter)? == Some(false) {
            return Ok(Verdict::Ignored);
        }
        if holds("on_fail", &self.on_fail)? == Some(true) {
            return Ok(Verdict::Failed { rule: "on_fail" });
        }
        let action = match holds("on_complete", &self.on_complete)? {
            Some(true) => DefaultAction::Complete,
            _ => self.default,
        };
        match action {
            DefaultAction::Ignore => Ok(Verdict::Ignored),
            DefaultAction::Fail => Ok(Verdict::Failed { rule: "default" }),
            DefaultAction::Complete => {
                let Some(transform) = &self.transform else {
                    let payload = payload.map(str::to_owned);
                    return Ok(Verdict::Accepted { payload });
                };
                let made = transform.evaluate(&value, budget).and_then(|value| {
                    json::write(&value, budget).map_err(|reason| Fault { reason, at: 0 })
                });
                let payload = made.map_err(|fault| not_judged("transform", transform, fault))?;
                Ok(Verdict::Accepted {
                    payload: Some(payload),
                })
            }
        }
    }
}

fn not_judged(rule: &'static str, expression: &Expression, fault: Fault) -> NotJudged {
    NotJudged {
        rule,
        reason: fault.reason,
        place: Some(expression.place(fault.at)),
    }
}
