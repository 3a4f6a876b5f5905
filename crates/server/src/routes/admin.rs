//! What the endpoints of the admin API have in common.
//!
//! The database decides here as it does for calls: a statement of ours runs as the caller's own
//! role on the caller's own pool, and whether it may is EXECUTE on the engine's function and what
//! that function checks of its actor. No login of ours is told a role's name to act for, so there
//! is none that could be told another one; `rolegate_console` has no part in it.

use bytes::Bytes;
use http::HeaderMap;
use rolegate_model::{CredentialKind, ErrorCode};
use rolegate_pg::Statement;
use rolegate_pg::session::Access;

use super::session;
use crate::call::Session;
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::router::App;

/// Types of parameters.
pub(crate) const BOOL: u32 = 16;
pub(crate) const INT8: u32 = 20;
pub(crate) const TEXT: u32 = 25;
pub(crate) const FLOAT8: u32 = 701;
pub(crate) const INT8_ARRAY: u32 = 1016;
pub(crate) const TIMESTAMPTZ: u32 = 1184;
pub(crate) const UUID: u32 = 2950;
pub(crate) const JSONB: u32 = 3802;

/// Bytes of a request body.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// Somebody who may try to run `function`, an engine's function as scopes name it.
pub(crate) async fn session(
    app: &App,
    database: &str,
    context: &RequestContext,
    headers: &HeaderMap,
    function: &str,
) -> Result<Session, Problem> {
    let session = session::session(app, database, context, headers).await?;
    let principal = &session.caller.principal;
    if principal.kind == CredentialKind::Anonymous {
        return Err(Problem::new(ErrorCode::CredentialMissing));
    }
    // A token for the application's functions is none for ours.
    if let Some(scopes) = &principal.scopes
        && !(scopes.allows_surface("admin") && scopes.allows_function(function))
    {
        return Err(Problem::new(ErrorCode::ScopeDenied)
            .hint(format!("It takes the surface `admin` and `{function}`.")));
    }
    // An answer that says "done" for what was rolled back helps nobody.
    if session.dry_run {
        return Err(Problem::new(ErrorCode::DryRunDisabled)
            .hint("The admin API has no dry runs; leave out `Prefer: tx=rollback`."));
    }
    Ok(session)
}

/// Runs a statement of ours as the caller; the only value of its first row, if there is one.
pub(crate) async fn run(
    session: &Session,
    statement: Statement,
    access: Access,
) -> Result<Option<Bytes>, Problem> {
    let [value] = run_all(session, [statement], access).await?;
    Ok(value)
}

/// The same for several statements in one transaction.
pub(crate) async fn run_all<const N: usize>(
    session: &Session,
    statements: [Statement; N],
    access: Access,
) -> Result<[Option<Bytes>; N], Problem> {
    let reply = session
        .run_own_all(statements.into(), access)
        .await
        .map_err(|problem| match problem.sqlstate.as_deref() {
            // A standby, or a database that is read-only by default: our statements fit.
            Some("25006") => Problem {
                sqlstate: problem.sqlstate,
                ..Problem::new(ErrorCode::DatabaseUnavailable)
            }
            .message("The database takes no writes."),
            _ => problem,
        })?;
    Ok(std::array::from_fn(|index| {
        let rows = reply.results.get(index)?;
        rows.scalar().cloned()
    }))
}

/// The database's refusal, with what it takes.
pub(crate) fn needs(problem: Problem, hint: &'static str) -> Problem {
    if problem.code == ErrorCode::PermissionDenied {
        problem.hint(hint)
    } else {
        problem
    }
}
