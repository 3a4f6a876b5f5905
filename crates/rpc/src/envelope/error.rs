//! Why a body is not a request.

use rolegate_model::ErrorCode;
use serde_json::value::RawValue;

/// Why a body, or one element of a batch, is not a request.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON, or not UTF-8.
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// Nested deeper than the bound.
    #[error("the body is nested deeper than {0} levels")]
    TooDeep(usize),
    /// JSON, but not a request; the text says what is wrong.
    #[error("not a JSON-RPC request: {0}")]
    NotRequest(&'static str),
    /// More elements than the bound.
    #[error("the batch has more than {0} elements")]
    BatchTooLarge(usize),
    /// `rpc.*` is reserved by the specification.
    #[error("method names that start with `rpc.` are reserved")]
    ReservedMethod,
}

impl EnvelopeError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotJson(_) => ErrorCode::ParseError,
            Self::TooDeep(_) | Self::NotRequest(_) => ErrorCode::InvalidRequest,
            Self::BatchTooLarge(_) => ErrorCode::BatchTooLarge,
            Self::ReservedMethod => ErrorCode::FunctionNotFound,
        }
    }
}

/// An element that is not a request, with its id as far as it could be read: the answer carries
/// it, or `null`.
#[derive(Debug, thiserror::Error)]
#[error("this is not a request")]
pub struct Rejected<'a> {
    /// The id, if there is one of an allowed type.
    pub id: Option<&'a RawValue>,
    /// What is wrong.
    #[source]
    pub error: EnvelopeError,
}

impl From<EnvelopeError> for Rejected<'_> {
    fn from(error: EnvelopeError) -> Self {
        Self { id: None, error }
    }
}
