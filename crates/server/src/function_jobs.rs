//! Jobs whose kind is the name of a SQL function: it runs as the role that enqueued the job, with
//! that role's rights as they are now, like a call of the same role through the gateway.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Method;
use rolegate_auth::admit_login;
use rolegate_jobs::{Context, Handler, Job, JobPrincipal, Outcome};
use rolegate_model::{CredentialKind, ErrorCode, Principal, RoleName, Scopes};
use rolegate_rpc::{CallError, Params};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::call::{CallResult, Session};
use crate::database::Database;
use crate::identity::{Caller, run_mode};
use crate::problem::Problem;
use crate::request::RequestContext;

/// The reason of a job that its role may not run (any more).
pub const NOT_PERMITTED: &str = "not_permitted";

/// By then a change of the catalog has been seen.
const CATALOG_IS_NEW: Duration = Duration::from_secs(1);

/// Runs them in one database.
#[derive(Debug, Clone)]
pub struct FunctionJobs(Arc<Database>);

impl FunctionJobs {
    /// For the jobs of this database.
    pub fn new(database: Arc<Database>) -> Self {
        Self(database)
    }

    async fn attempt(&self, job: &Job, context: &Context) -> Outcome {
        let principal = match context.principal().await {
            Ok(Some(principal)) => principal,
            Ok(None) => return Outcome::failed("it is not known who enqueued the job"),
            Err(error) => return Outcome::retry(error.to_string()),
        };
        match self.call(job, &principal).await {
            Ok(result) => Outcome::Completed(output(&result)),
            Err(problem) => ended(&problem, job, &principal),
        }
    }

    async fn call(&self, job: &Job, principal: &JobPrincipal) -> Result<CallResult, Problem> {
        let session = Session {
            caller: self.caller(principal).await?,
            database: Arc::clone(&self.0),
            context: request_context(job),
            dry_run: false,
            for_everybody: false,
        };
        let params = Params::from_json(Some(&job.args)).map_err(CallError::from)?;
        let call = session.prepare(&job.kind, &params).await?;
        session.run(call).await
    }

    /// The principal as it would be if the request came now: what was taken from the role since is
    /// taken from its jobs.
    async fn caller(&self, principal: &JobPrincipal) -> Result<Caller, Problem> {
        if principal.revoked {
            return Err(Problem::new(ErrorCode::TokenRevoked));
        }
        let name =
            RoleName::new(&principal.role).map_err(|_| Problem::new(ErrorCode::RoleReserved))?;
        let facts = self
            .0
            .catalog
            .role(&name)
            .await
            .map_err(|_| Problem::new(ErrorCode::DatabaseUnavailable))?;
        let mode = self.0.config.mode_of(&name);
        let identity = admit_login(&name, facts.as_deref(), run_mode(mode)).map_err(|refusal| {
            let problem = Problem::new(refusal.code());
            match refusal.public_detail() {
                Some(detail) => problem.hint(detail),
                None => problem,
            }
        })?;
        if identity.oid != principal.role_oid {
            return Err(Problem::new(ErrorCode::RoleReplaced));
        }
        // `admit_login` has refused a role without facts.
        let facts = facts.ok_or_else(|| Problem::new(ErrorCode::RoleUnknown))?;
        Ok(Caller {
            principal: Arc::new(Principal {
                claims: claims(principal, &identity.name)?,
                role: identity,
                issuer: "rolegate".into(),
                subject: None,
                token_id: principal.token_id.as_deref().unwrap_or_default().into(),
                kind: CredentialKind::Jwt,
                issued_at: None,
                expires_at: None,
                scopes: scopes(principal)?.map(Arc::new),
            }),
            facts,
            mode,
        })
    }
}

impl Handler for FunctionJobs {
    fn run<'a>(&'a self, job: Job, context: &'a Context) -> BoxFuture<'a, Outcome> {
        async move {
            tokio::select! {
                biased;
                outcome = self.attempt(&job, context) => outcome,
                // Dropping the call cancels its statement.
                () = context.cancelled() => Outcome::Released,
            }
        }
        .boxed()
    }
}

/// What the function sees of its request: there is none, but the settings are there, and the trace of the
/// request that enqueued the job, so that jobs it enqueues itself have it, too.
fn request_context(job: &Job) -> RequestContext {
    let headers = match job.options.traceparent() {
        Some(trace) => Bytes::from(format!("{{\"traceparent\":\"{trace}\"}}")),
        None => Bytes::from_static(b"{}"),
    };
    RequestContext {
        id: format!("job-{}-{}", job.id, job.attempt).into(),
        method: Method::POST,
        path: format!("/jobs/{}", job.id).into(),
        headers,
        peer: None,
    }
}

/// The claims of then, with the role as in a token's.
fn claims(principal: &JobPrincipal, role: &RoleName) -> Result<Arc<str>, Problem> {
    let mut claims: Value = match &principal.claims {
        Some(text) => {
            serde_json::from_str(text).map_err(|_| Problem::new(ErrorCode::TokenInvalid))?
        }
        None => Value::Object(serde_json::Map::new()),
    };
    if let Value::Object(members) = &mut claims {
        members.insert("role".to_owned(), role.to_string().into());
    }
    Ok(claims.to_string().into())
}

fn scopes(principal: &JobPrincipal) -> Result<Option<Scopes>, Problem> {
    let parse =
        |text| serde_json::from_str(text).map_err(|_| Problem::new(ErrorCode::TokenInvalid));
    principal.scopes.as_deref().map(parse).transpose()
}

fn output(result: &CallResult) -> Option<Box<RawValue>> {
    let text = String::from_utf8(result.json.to_vec()).ok()?;
    RawValue::from_string(text).ok()
}

/// What an error means for the job.
fn ended(problem: &Problem, job: &Job, principal: &JobPrincipal) -> Outcome {
    use ErrorCode as E;
    let mut error = problem.to_problem_json(&request_context(job).id);
    match problem.code {
        // The rights changed while it ran; the next attempt finds out what is left.
        E::PermissionDenied if problem.sqlstate.is_none() => Outcome::retry(error),
        // It may be younger than our picture of the catalog.
        E::FunctionNotFound if job.attempt == 1 && job.max_attempts > 1 => Outcome::Retry {
            error,
            after: Some(CATALOG_IS_NEW),
        },
        E::PermissionDenied
        | E::ScopeDenied
        | E::FunctionNotFound
        | E::FunctionNeedsLoginMode
        | E::RoleReserved
        | E::RoleUnknown
        | E::RoleForbidden
        | E::RoleNotAdmitted
        | E::RoleReplaced
        | E::TokenRevoked => {
            if let (Value::Object(members), Some(command)) =
                (&mut error, explanation(&principal.role, &job.kind))
            {
                members.insert("explain".to_owned(), command.into());
            }
            Outcome::Failed {
                error,
                reason: Some(NOT_PERMITTED),
            }
        }
        E::InvalidParams | E::FunctionAmbiguous | E::ResultTooLarge | E::TokenInvalid => {
            Outcome::failed(error)
        }
        _ => Outcome::Retry {
            error,
            after: problem.retry_after,
        },
    }
}

/// The command that shows what decides it. People paste it into a shell, and a producer chose the
/// kind: only plain words get into it.
fn explanation(role: &str, kind: &str) -> Option<String> {
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
    };
    (plain(role) && plain(kind)).then(|| format!("rolegate explain --as {role} --function {kind}"))
}
