//! One call: from a method and its arguments to a result, as the caller's role.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use rolegate_model::{CredentialKind, ErrorCode};
use rolegate_pg::catalog::{Function, FunctionKind};
use rolegate_pg::session::{
    Access, End, Finish, Limits, Reply, Request, Reread, SessionError, Transaction,
};
use rolegate_pg::{Statement, spool};
use rolegate_rpc::envelope::EnvelopeError;
use rolegate_rpc::{Call, CallError, Params, Shape, result};
use tokio::time::Instant;

use crate::budget::{Budget, Permit};
use crate::config::Mode;
use crate::database::Database;
use crate::identity::Caller;
use crate::metrics::CALLS;
use crate::problem::Problem;
use crate::request::RequestContext;

/// The header with the id of the transaction that a call has written in, for who reads what he wrote.
const TRANSACTION: HeaderName = HeaderName::from_static("rolegate-txid");

/// A caller at a database, with everything that stays the same for all calls of a request.
#[derive(Debug, Clone)]
pub struct Session {
    /// The database.
    pub database: Arc<Database>,
    /// Who calls.
    pub caller: Caller,
    /// The request.
    pub context: RequestContext,
    /// Ends every transaction with a rollback.
    pub dry_run: bool,
    /// Runs for everybody who watches, at a rate of its own: nobody's requests take its place.
    pub for_everybody: bool,
}

/// A result, and what the function said about the answer.
#[derive(Debug, Clone, Default)]
pub struct CallResult {
    /// JSON text.
    pub json: Bytes,
    /// `response.status`.
    pub status: Option<StatusCode>,
    /// `response.headers`.
    pub headers: HeaderMap,
}

impl CallResult {
    /// A plain result.
    pub fn of_json(json: Bytes) -> Self {
        Self {
            json,
            ..Self::default()
        }
    }
}

impl Session {
    /// Finds the function of `method` that fits `params`.
    pub async fn prepare(&self, method: &str, params: &Params<'_>) -> Result<Call, Problem> {
        let snapshot = self.database.catalog.snapshot();
        let role = &self.caller.principal.role;
        let executable = self.database.catalog.executable(role.oid).await.map_err(|error| {
            tracing::warn!(request_id = %self.context.id, %error, cause = ?error, "catalog_failed");
            Problem::new(ErrorCode::DatabaseUnavailable)
        })?;
        let call = rolegate_rpc::prepare(&snapshot, method, params, |function| {
            executable.contains(&function.oid)
        })?;
        self.check_scopes(&call.function)?;
        if self.caller.mode == Mode::Assume {
            let verdicts = self.database.verdicts(&snapshot);
            if let Some(reason) = verdicts.refusal(&call.function) {
                let problem = Problem::new(ErrorCode::FunctionNeedsLoginMode);
                return Err(problem.hint(reason.to_string()));
            }
        }
        Ok(call)
    }

    /// Whether the token's scopes have the function.
    fn check_scopes(&self, function: &Function) -> Result<(), Problem> {
        match &self.caller.principal.scopes {
            Some(scopes)
                if !scopes.allows_surface("calls")
                    || !scopes.allows_function(&function.method()) =>
            {
                Err(Problem::new(ErrorCode::ScopeDenied))
            }
            _ => Ok(()),
        }
    }

    /// Runs one call.
    pub async fn run(&self, call: Call) -> Result<CallResult, Problem> {
        let shape = call.shape.clone();
        let reply = self
            .run_all(vec![call], None)
            .await
            .map_err(Problem::from)?;
        let mut result = one_result(&shape, &reply);
        if self.dry_run {
            // Taken back: nobody will ever see it.
            result.headers.remove(TRANSACTION);
        }
        Ok(result)
    }

    /// Runs calls one after another in one transaction, and `finish` with their results.
    pub async fn run_all(
        &self,
        calls: Vec<Call>,
        finish: Option<Finish>,
    ) -> Result<Reply, RunError> {
        let permit = self.admit()?;
        let request = self.request(calls, finish, None, permit.budget());
        let outcome = self.send(request).await;
        drop(permit);
        outcome
    }

    /// Runs a call whose rows go to `writer` as they arrive.
    pub async fn run_streaming(&self, call: Call, writer: spool::Writer) -> Result<(), Problem> {
        let permit = self.admit()?;
        let request = self.request(vec![call], None, Some(writer), permit.budget());
        self.send(request).await.map(|_| ()).map_err(Problem::from)
    }

    /// Runs one statement of ours as the caller.
    pub async fn run_statement(&self, statement: Statement) -> Result<Reply, Problem> {
        let permit = self.admit()?;
        let mut request = self.request(Vec::new(), None, None, permit.budget());
        request.access = Access::ReadOnly;
        request.statements.push(statement);
        self.send(request).await.map_err(Problem::from)
    }

    /// Runs one statement of ours on the engine's schema as the caller. Nothing the application
    /// or the role has defined is looked up for it, and times are in UTC.
    pub async fn run_own(&self, statement: Statement, access: Access) -> Result<Reply, Problem> {
        self.run_own_all(vec![statement], access).await
    }

    /// The same for several of them, one after the other in one transaction.
    pub async fn run_own_all(
        &self,
        statements: Vec<Statement>,
        access: Access,
    ) -> Result<Reply, Problem> {
        const SEARCH_PATH: &str = "pg_catalog, pg_temp";
        let permit = self.admit()?;
        let mut request = self.request(Vec::new(), None, None, permit.budget());
        request.access = access;
        request.search_path = SEARCH_PATH.into();
        let utc = (Cow::Borrowed("TimeZone"), Bytes::from_static(b"UTC"));
        request.settings.push(utc);
        request.statements = statements;
        self.send(request).await.map_err(Problem::from)
    }

    /// Runs statements of a query as the caller, read-only, within his bounds. They count for `payer`, who asks.
    pub(crate) async fn run_query(
        &self,
        payer: &Self,
        statements: Vec<Statement>,
    ) -> Result<Reply, RunError> {
        let transaction = Transaction::Explicit(End::Commit);
        self.read(payer, statements, transaction, Vec::new()).await
    }

    /// The same, all of them in one snapshot.
    pub(crate) async fn run_snapshot(
        &self,
        payer: &Self,
        statements: Vec<Statement>,
    ) -> Result<Reply, RunError> {
        let mut settings = Vec::new();
        if self.caller.principal.kind == CredentialKind::Anonymous {
            // For everybody, and so nothing with row-level security. Should a table have got it meanwhile, then
            // this is an error, and not an answer without its rows.
            let name = Cow::Borrowed("row_security");
            settings.push((name, Bytes::from_static(b"off")));
        }
        self.read(payer, statements, Transaction::Snapshot, settings)
            .await
    }

    async fn read(
        &self,
        payer: &Self,
        statements: Vec<Statement>,
        transaction: Transaction,
        settings: Vec<(Cow<'static, str>, Bytes)>,
    ) -> Result<Reply, RunError> {
        let _permit = payer.admit()?;
        let bounds = self.database.budget(&self.caller.facts);
        let mut request = self.request(Vec::new(), None, None, &bounds);
        request.access = Access::ReadOnly;
        request.transaction = transaction;
        // The text was read under this rule.
        let rule = Cow::Borrowed("standard_conforming_strings");
        request.settings.push((rule, Bytes::from_static(b"on")));
        request.settings.extend(settings);
        request.statements = statements;
        let outcome = self.exchange(request).await;
        outcome.map_err(|error| RunError::Session(Box::new(error)))
    }

    pub(crate) fn admit(&self) -> Result<Permit, RunError> {
        let budget = self.database.budget(&self.caller.facts);
        if self.for_everybody {
            return Ok(budget.admit_unasked());
        }
        budget.admit().map_err(|exceeded| {
            RunError::Refused(Box::new(
                Problem::new(ErrorCode::BudgetExceeded).retry_after(exceeded.retry_after),
            ))
        })
    }

    async fn exchange(&self, request: Request) -> Result<Reply, SessionError> {
        let login = self
            .database
            .config
            .login_of(&self.caller.principal.role.name);
        let outcome = self.database.pools.run(&login, request).await;
        if let Err(error) = &outcome {
            log_failure(&self.context, error);
        }
        outcome
    }

    async fn send(&self, request: Request) -> Result<Reply, RunError> {
        let outcome = self.exchange(request).await;
        let code = outcome.as_ref().map_or("failed", |_| "ok");
        metrics::counter!(CALLS, "outcome" => code).increment(1);
        outcome.map_err(|error| RunError::Session(Box::new(error)))
    }

    fn request(
        &self,
        calls: Vec<Call>,
        finish: Option<Finish>,
        stream: Option<spool::Writer>,
        budget: &Budget,
    ) -> Request {
        let principal = &self.caller.principal;
        let timeout = budget.statement_timeout;
        let mut settings: Vec<(Cow<'static, str>, Bytes)> = Vec::with_capacity(8);
        if self.caller.mode == Mode::Assume {
            // A connection logged in as the role has them already.
            for (name, value) in &self.caller.facts.settings {
                settings.push((Cow::Owned(name.clone()), value.clone().into()));
            }
        }
        let milliseconds = timeout.as_millis().to_string();
        settings.push((Cow::Borrowed("statement_timeout"), milliseconds.into()));
        settings.extend(self.context.settings());
        let procedures = calls
            .iter()
            .any(|call| call.function.kind == FunctionKind::Procedure);
        let transaction = if self.dry_run {
            Transaction::Explicit(End::Rollback)
        } else if procedures
            || self.caller.mode == Mode::Assume
            || self.database.catalog.snapshot().has_deferrable()
        {
            Transaction::Explicit(End::Commit)
        } else {
            Transaction::Implicit
        };
        let read_only = finish.is_none()
            && !calls.is_empty()
            && calls.iter().all(|call| call.access == Access::ReadOnly);
        let rereads = calls.iter().enumerate().filter_map(|(statement, call)| {
            let reread = call.reread.as_ref()?;
            Some(Reread {
                statement,
                sql: Arc::clone(&reread.sql),
                types: reread.types.clone(),
            })
        });
        let rereads = rereads.collect();
        Request {
            role: principal.role.clone(),
            claims: Arc::clone(&principal.claims),
            token_id: Arc::clone(&principal.token_id),
            access: if read_only {
                Access::ReadOnly
            } else {
                Access::ReadWrite
            },
            transaction,
            search_path: Arc::clone(&self.database.search_path),
            settings,
            statements: calls.into_iter().map(|call| call.statement).collect(),
            rereads,
            finish,
            limits: Limits {
                deadline: Instant::now() + timeout + self.database.config.pools.wait_timeout,
                max_rows: budget.max_rows,
                max_bytes: budget.max_bytes,
            },
            stream,
        }
    }
}

/// Why calls did not end well.
#[derive(Debug)]
pub enum RunError {
    /// Not even tried.
    Refused(Box<Problem>),
    /// Tried.
    Session(Box<SessionError>),
}

impl RunError {
    /// Which of the calls failed; `None` if it was none of them alone.
    pub fn statement(&self) -> Option<usize> {
        match self {
            Self::Session(error) => match &**error {
                SessionError::Database { statement, .. } => *statement,
                _ => None,
            },
            Self::Refused(_) => None,
        }
    }
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Refused(problem) => *problem,
            RunError::Session(error) => (*error).into(),
        }
    }
}

impl From<&EnvelopeError> for Problem {
    fn from(error: &EnvelopeError) -> Self {
        Self::new(error.code()).message(error.to_string())
    }
}

impl From<EnvelopeError> for Problem {
    fn from(error: EnvelopeError) -> Self {
        (&error).into()
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let mut problem = Self::new(error.code()).message(error.to_string());
        if let Some(hint) = error.data().and_then(|data| data.hint) {
            problem = problem.hint(hint);
        }
        problem.data = error
            .data()
            .and_then(|data| serde_json::to_value(data).ok());
        problem
    }
}

/// The result of the only call of a reply.
pub fn one_result(shape: &Shape, reply: &Reply) -> CallResult {
    let mut json = BytesMut::new();
    let said = reply.response_headers.as_deref().map(response_headers);
    let mut headers = said.unwrap_or_default();
    let transaction = reply.transaction.as_deref();
    if let Some(id) = transaction.and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert(TRANSACTION, id);
    }
    match reply.results.first() {
        Some(rows) => result::write(&mut json, shape, rows.iter()),
        None => json.extend_from_slice(b"null"),
    }
    CallResult {
        json: json.freeze(),
        status: reply
            .response_status
            .as_deref()
            .and_then(|text| text.parse().ok())
            .and_then(|status| StatusCode::from_u16(status).ok())
            // An informational status would leave the client waiting for the real one.
            .filter(|status| !status.is_informational()),
        headers,
    }
}

/// Headers a function set: a JSON array of objects, as with PostgREST. Those that belong to the
/// connection or to us are left out.
pub(crate) fn response_headers(text: &str) -> HeaderMap {
    const OURS: [&str; 8] = [
        "rolegate-txid",
        "connection",
        "content-length",
        "transfer-encoding",
        "upgrade",
        "keep-alive",
        "x-request-id",
        "date",
    ];
    let mut headers = HeaderMap::new();
    let parsed: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(text).unwrap_or_default();
    for (name, value) in parsed.into_iter().flatten() {
        let value = match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(&value),
        ) && !OURS.contains(&name.as_str())
        {
            headers.append(name, value);
        }
    }
    headers
}

/// What the client does not see is in the log, once, with the request's id.
fn log_failure(context: &RequestContext, error: &SessionError) {
    match error {
        SessionError::Database { error, .. } | SessionError::Setup { error } => {
            tracing::info!(
                request_id = %context.id, path = %context.path, sqlstate = error.code,
                message = error.message, detail = error.detail, context = error.context,
                "call_failed"
            );
        }
        SessionError::IdentityChanged => tracing::warn!(
            request_id = %context.id, path = %context.path, "call_changed_its_identity"
        ),
        SessionError::Abandoned => {}
        other => tracing::warn!(
            request_id = %context.id, path = %context.path, error = %other, cause = ?other,
            "call_failed"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_set_headers_but_not_those_of_the_connection() {
        let headers = response_headers(
            r#"[{"X-A": "1"}, {"Cache-Control": "max-age=1", "Content-Length": "9"}, {"bad name": "x"}]"#,
        );
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["x-a"], "1");
        assert!(response_headers("not json").is_empty());
    }

    #[test]
    fn a_status_out_of_range_is_not_used() {
        let status = |text: &str| {
            let reply = Reply {
                response_status: Some(text.into()),
                ..Reply::default()
            };
            one_result(&Shape::Void, &reply).status
        };
        assert_eq!(status("201"), Some(StatusCode::CREATED));
        for bad in ["100", "0", "abc", "99999"] {
            assert_eq!(status(bad), None, "{bad}");
        }
    }
}
