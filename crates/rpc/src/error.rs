//! Why a call can't be made.

use std::fmt;

use rolegate_model::ErrorCode;
use serde::Serialize;

/// Why a call can't be made. Nothing here is an error of the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No such function, or none that may be executed: the two are not told apart.
    #[error("there is no function `{}`", shortened(method))]
    FunctionNotFound {
        /// The method as it was given.
        method: String,
    },
    /// Several overloads fit equally well.
    #[error("several functions `{}` fit these arguments", shortened(method))]
    FunctionAmbiguous {
        /// The method as it was given.
        method: String,
        /// Signatures of those that fit and may be executed.
        candidates: Vec<String>,
    },
    /// The arguments fit no overload, or a value does not fit its type.
    #[error(transparent)]
    InvalidParams(Box<InvalidParams>),
}

impl From<InvalidParams> for CallError {
    fn from(invalid: InvalidParams) -> Self {
        Self::InvalidParams(Box::new(invalid))
    }
}

impl CallError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::FunctionNotFound { .. } => ErrorCode::FunctionNotFound,
            Self::FunctionAmbiguous { .. } => ErrorCode::FunctionAmbiguous,
            Self::InvalidParams(_) => ErrorCode::InvalidParams,
        }
    }

    /// What the caller can do about it, for `data` of the answer; `None` if there is nothing.
    pub fn data(&self) -> Option<ErrorData<'_>> {
        let candidates = match self {
            Self::FunctionNotFound { .. } => return None,
            Self::FunctionAmbiguous { candidates, .. } => candidates,
            Self::InvalidParams(invalid) => &invalid.candidates,
        };
        let hint = match candidates.as_slice() {
            [] => None,
            [one] => Some(format!("the function is {one}")),
            several => Some(format!("the functions are {}", several.join("; "))),
        };
        let invalid = match self {
            Self::InvalidParams(invalid) => Some(&**invalid),
            _ => None,
        };
        Some(ErrorData {
            argument: invalid.and_then(|invalid| invalid.argument.as_deref()),
            missing: invalid.map_or(&[], |invalid| &invalid.missing),
            unknown: invalid.map_or(&[], |invalid| &invalid.unknown),
            candidates,
            hint,
        })
    }
}

/// Members of `data` in the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorData<'a> {
    /// Path of the argument that does not fit (`order.items[2].price`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argument: Option<&'a str>,
    /// Required arguments that were not given.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub missing: &'a [String],
    /// Given arguments that no function has.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub unknown: &'a [String],
    /// Signatures that could be meant.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub candidates: &'a [String],
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Arguments that don't fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InvalidParams {
    /// What does not fit, without any value of the request.
    pub message: String,
    /// Path of the argument it is about.
    pub argument: Option<String>,
    /// Required arguments that were not given.
    pub missing: Vec<String>,
    /// Given arguments that no function has, shortened.
    pub unknown: Vec<String>,
    /// Signatures of the functions that may be executed.
    pub candidates: Vec<String>,
}

impl InvalidParams {
    /// About the params as a whole.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }

    /// About one argument.
    pub(crate) fn at(argument: &str, message: impl Into<String>) -> Self {
        Self {
            argument: Some(argument.to_owned()),
            ..Self::new(message)
        }
    }
}

impl fmt::Display for InvalidParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.argument {
            Some(argument) => write!(f, "argument `{}` {}", shortened(argument), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for InvalidParams {}

/// A name of a request for a message: at most 100 characters of it, without control characters.
pub(crate) fn shortened(name: &str) -> String {
    let mut text: String = name
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(100)
        .collect();
    if name.chars().nth(100).is_some() {
        text.push('…');
    }
    text
}
