//! From a request's bearer to a principal and its role's facts.

use std::sync::Arc;

use http::{HeaderMap, header};
use rolegate_auth::{AuthError, Refusal, RunMode, admit};
use rolegate_model::{CredentialKind, ErrorCode, Principal};
use rolegate_pg::catalog::RoleFacts;

use crate::config::Mode;
use crate::database::Database;
use crate::metrics::AUTHENTICATIONS;
use crate::problem::Problem;
use crate::request::RequestContext;

/// A caller whose role may be used here.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// Facts about the role.
    pub facts: Arc<RoleFacts>,
    /// How the role runs.
    pub mode: Mode,
}

/// Verifies the `Authorization` header for a request to `database`.
pub async fn caller(
    database: &Database,
    context: &RequestContext,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let header = authorization(headers)?;
    if header.is_some() {
        tracing::trace!(request_id = %context.id, "auth_header_present");
    }
    let caller = recognize(database, context, header).await?;
    let principal = &caller.principal;
    metrics::counter!(AUTHENTICATIONS, "kind" => principal.kind.as_str(), "outcome" => "ok")
        .increment(1);
    tracing::debug!(
        request_id = %context.id, role = %principal.role.name, issuer = %principal.issuer,
        token_id = %principal.token_id, "auth_verified"
    );
    Ok(caller)
}

/// Who comes without a token, whoever asks.
pub(crate) async fn anonymous(
    database: &Database,
    context: &RequestContext,
) -> Result<Caller, Problem> {
    recognize(database, context, None).await
}

async fn recognize(
    database: &Database,
    context: &RequestContext,
    header: Option<&str>,
) -> Result<Caller, Problem> {
    let now = database.clock.now();
    let verified = database
        .authenticator
        .authenticate(header, database.name(), now)
        .await
        .map_err(|error| failed(context, &error))?;
    let facts = database
        .catalog
        .role(&verified.role)
        .await
        .map_err(|error| {
            tracing::warn!(request_id = %context.id, %error, cause = ?error, "role_lookup_failed");
            Problem::new(ErrorCode::DatabaseUnavailable)
        })?;
    let mode = if verified.kind == CredentialKind::Anonymous {
        Mode::Login
    } else {
        database.config.mode_of(&verified.role)
    };
    let principal = admit(&verified, facts.as_deref(), run_mode(mode))
        .map_err(|refusal| refused(context, &refusal))?;
    // `admit` has refused a role without facts.
    let facts = facts.ok_or_else(|| Problem::new(ErrorCode::RoleUnknown))?;
    Ok(Caller {
        principal: Arc::new(principal),
        facts,
        mode,
    })
}

/// The mode as `auth` calls it.
pub(crate) fn run_mode(mode: Mode) -> RunMode {
    match mode {
        Mode::Login => RunMode::Login,
        Mode::Assume => RunMode::Assume,
    }
}

/// The one `Authorization` header. Two of them could mean different things to different readers.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let malformed = || Problem::new(ErrorCode::CredentialMalformed);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| malformed()),
        (Some(_), Some(_)) => Err(malformed()),
    }
}

fn failed(context: &RequestContext, error: &AuthError) -> Problem {
    let kind = error.kind().map_or("none", CredentialKind::as_str);
    metrics::counter!(AUTHENTICATIONS, "kind" => kind, "outcome" => error.code().as_str())
        .increment(1);
    tracing::info!(
        request_id = %context.id, peer = context.peer.map(display), kind, reason = error.reason(),
        code = error.code().as_str(), "auth_failed"
    );
    Problem::new(error.code())
}

/// The answer for a role that is not used; the reason stays in the log.
pub(crate) fn refused(context: &RequestContext, refusal: &Refusal) -> Problem {
    metrics::counter!(AUTHENTICATIONS, "kind" => "role", "outcome" => refusal.code().as_str())
        .increment(1);
    tracing::info!(
        request_id = %context.id, peer = context.peer.map(display), reason = %refusal,
        code = refusal.code().as_str(), "auth_failed"
    );
    let problem = Problem::new(refusal.code());
    match refusal.public_detail() {
        Some(detail) => problem.hint(detail),
        None => problem,
    }
}
