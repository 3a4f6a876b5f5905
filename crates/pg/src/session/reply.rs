//! What comes back from a session.

use bytes::Bytes;

use crate::wire::{ConnectError, DbError};

/// Rows of one statement, each a list of columns in text format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Columns of all rows, one after another; `None` is NULL.
    pub values: Vec<Option<Bytes>>,
    /// Columns in each row.
    pub columns: usize,
    /// Number of rows.
    pub rows: usize,
    /// Names and types of the columns, where the statement asked for them.
    pub fields: Vec<Field>,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// OID of its type; the base type of a domain.
    pub type_oid: u32,
}

impl Rows {
    /// The rows.
    pub fn iter(&self) -> impl Iterator<Item = &[Option<Bytes>]> {
        self.values.chunks(self.columns.max(1))
    }

    /// The only value of the first row.
    pub fn scalar(&self) -> Option<&Bytes> {
        self.values.first().and_then(Option::as_ref)
    }
}

/// A committed request (or a finished dry run).
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Results of the caller's statements, in order; empty rows where they were streamed.
    pub results: Vec<Rows>,
    /// `response.status`, if the function set it.
    pub response_status: Option<String>,
    /// `response.headers`, if the function set it.
    pub response_headers: Option<String>,
    /// The transaction's id with all its digits, if it has written.
    pub transaction: Option<String>,
}

impl Reply {
    /// The result of one statement, as if it had been the only one.
    #[must_use]
    pub fn only(&self, statement: usize) -> Self {
        Self {
            results: self.results.get(statement).cloned().into_iter().collect(),
            response_status: None,
            response_headers: None,
            transaction: None,
        }
    }
}

/// Why a request did not end well. Nothing of it was committed unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The session could not become the caller: the role can't be switched to, a setting of the
    /// role is not valid.
    #[error("the session could not be set up for the caller")]
    Setup {
        /// The error.
        #[source]
        error: Box<DbError>,
    },
    /// The database reported an error.
    #[error("the database reported an error in statement {statement:?}")]
    Database {
        /// Index of the caller's statement; `None` at the end: deferred
        /// triggers, commit.
        statement: Option<usize>,
        /// It arose while the arguments were read, before anything of the statement ran: the
        /// text speaks of the caller's own values.
        reading_arguments: bool,
        /// The error.
        #[source]
        error: Box<DbError>,
    },
    /// Role, user or claims were not the same at the end.
    #[error("the identity had changed at the end of the request")]
    IdentityChanged,
    /// Over its deadline, and cancelled: nothing of it was committed. A request that could not be
    /// cancelled in time is [`Self::Lost`].
    #[error("the request ran over its deadline")]
    Deadline,
    /// Nobody waits for the answer any more.
    #[error("the caller went away")]
    Abandoned,
    /// Over the bound of rows or bytes. It was cancelled, but one that had ended before the cancel
    /// arrived has been committed; only its result is gone.
    #[error("the result is larger than allowed")]
    TooLarge,
    /// No connection became free in time, or the queue is full.
    #[error("no connection became free")]
    Overloaded,
    /// The role's connections were closed because its rights changed; nothing of the request was
    /// committed.
    #[error("the role's rights changed while the request ran")]
    Revoked,
    /// There is no connection to the database.
    #[error("there is no connection to the database")]
    Unavailable(#[source] std::sync::Arc<ConnectError>),
    /// The server ended the session while the request ran, and said so before anything of it could
    /// have been committed: nothing was.
    #[error("the server ended the session while the request ran")]
    Ended {
        /// The error with which it ended.
        #[source]
        error: Box<DbError>,
    },
    /// The connection broke. Unless `nothing_ran`, the request may have been committed.
    #[error("the connection broke while the request ran")]
    Lost {
        /// The server certainly ran nothing of the request.
        nothing_ran: bool,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// The process is stopping.
    #[error("the pool is closed")]
    Closed,
}
