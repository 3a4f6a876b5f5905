//! An error the server reported.

use std::fmt;

use postgres_protocol::message::backend::ErrorFields;

use postgres_protocol as protocol;
use protocol::message::backend::{ErrorField, ErrorResponseBody};

/// Fields of an `ErrorResponse`. Only the code is safe to show to anybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DbError {
    /// SQLSTATE, five characters.
    pub code: String,
    /// `ERROR`, `FATAL` or `PANIC`, not localized.
    pub severity: String,
    /// Primary message.
    pub message: String,
    /// Detail; may carry values of rows.
    pub detail: Option<String>,
    /// Hint.
    pub hint: Option<String>,
    /// Call stack inside the database; present if the error arose inside a function.
    pub context: Option<String>,
    /// Position in our statement; present if the statement itself was wrong.
    pub position: Option<String>,
    /// Violated constraint.
    pub constraint: Option<String>,
    /// Table of the violated constraint or the missing privilege.
    pub table: Option<String>,
    /// Schema of `table`.
    pub schema: Option<String>,
    /// Column.
    pub column: Option<String>,
}

impl DbError {
    /// From what the server sent.
    pub fn from_body(body: &ErrorResponseBody) -> Self {
        let mut error = Self::default();
        let mut fields: ErrorFields<'_> = body.fields();
        let mut assign = |field: &ErrorField<'_>| {
            let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => error.code = text,
                b'V' => error.severity = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'W' => error.context = Some(text),
                b'P' => error.position = Some(text),
                b'n' => error.constraint = Some(text),
                b't' => error.table = Some(text),
                b's' => error.schema = Some(text),
                b'c' => error.column = Some(text),
                _ => {}
            }
        };
        while let Ok(Some(field)) = fallible_next(&mut fields) {
            assign(&field);
        }
        error
    }

    /// The connection ends after this error.
    pub fn is_fatal(&self) -> bool {
        self.severity == "FATAL" || self.severity == "PANIC"
    }
}

fn fallible_next<'a>(fields: &mut ErrorFields<'a>) -> std::io::Result<Option<ErrorField<'a>>> {
    fallible_iterator::FallibleIterator::next(fields)
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity, self.code, self.message)
    }
}

impl std::error::Error for DbError {}
