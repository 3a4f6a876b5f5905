//! What a request asks of a session.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rolegate_model::RoleIdentity;
use rolegate_model::claims::Binding;
use tokio::time::Instant;

use super::reply::Rows;
use crate::statement::Statement;

/// One request: who, with which settings, what.
pub struct Request {
    /// The role the statements run as.
    pub role: RoleIdentity,
    /// Claims as JSON text, an object.
    pub claims: Arc<str>,
    /// Id of the token, part of the signed claims.
    pub token_id: Arc<str>,
    /// Whether the transaction may write.
    pub access: Access,
    /// How the transaction starts and ends.
    pub transaction: Transaction,
    /// `search_path`, with every name quoted already.
    pub search_path: Arc<str>,
    /// Further settings, local to the transaction: the role's own, timeouts, `request.*`.
    pub settings: Vec<(Cow<'static, str>, Bytes)>,
    /// The caller's statements, in order.
    pub statements: Vec<Statement>,
    /// Rows of the caller's statements that are given back to the server.
    pub rereads: Vec<Reread>,
    /// A statement of ours that needs the results of the caller's.
    pub finish: Option<Finish>,
    /// Bounds.
    pub limits: Limits,
    /// Where rows go as they arrive; without it they are collected into the reply.
    pub stream: Option<crate::spool::Writer>,
}

/// The row of a caller's statement becomes the parameters of a statement of ours, in the same
/// transaction, and the row of that one is its result: `call` can't be part of a query that would
/// make JSON of what it gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reread {
    /// Index of the caller's statement.
    pub statement: usize,
    /// Our statement.
    pub sql: Arc<str>,
    /// Types of its parameters, one for each column of the row.
    pub types: Vec<u32>,
}

/// Makes the last statement of a transaction from the results before it.
pub type Finish = Box<dyn FnOnce(&[Rows]) -> Statement + Send>;

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Claims and parameters are data of callers; they are in no log.
        f.debug_struct("Request")
            .field("role", &self.role.name)
            .field("access", &self.access)
            .field("transaction", &self.transaction)
            .field("statements", &self.statements.len())
            .finish_non_exhaustive()
    }
}

/// Whether the transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `transaction_read_only` is on, and nothing that was written anyway is committed: before
    /// PostgreSQL 16 SQL can reset the mode.
    ReadOnly,
    /// May write.
    ReadWrite,
}

/// How the transaction starts and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    /// The segment itself: it commits at `Sync`. For `select` of functions, which can't end it, in
    /// a database where nothing is deferred: `set constraints` outside of `begin` would write a
    /// warning to the server's log.
    Implicit,
    /// `begin`, `set constraints all immediate` before the check, and `commit` or `rollback`: for
    /// procedures, which could commit on their own otherwise, for dry runs, where something may
    /// be deferred, and wherever a deferred trigger could leave the role.
    Explicit(End),
    /// The same, with one snapshot for all statements: what a query reads, and which transactions it has seen.
    Snapshot,
}

/// How an explicit transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `commit`.
    Commit,
    /// `rollback`: a dry run.
    Rollback,
}

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// When it has to be over. The server has the same bound as `statement_timeout`; this one
    /// also covers waiting for a connection.
    pub deadline: Instant,
    /// Rows over all statements.
    pub max_rows: u64,
    /// Bytes over all statements.
    pub max_bytes: u64,
}

/// Signs claims for one backend. Only this process can.
pub trait ClaimsSigner: Send + Sync + fmt::Debug + 'static {
    /// The text for `rolegate_model::claims::SETTING`; `None` if there is no key yet.
    fn sign(&self, binding: Binding, role_oid: u32, token_id: &str, claims: &str)
    -> Option<String>;
}
