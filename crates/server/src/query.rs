//! SQL of callers: found out about once for each identity, and run as whoever may.
//!
//! A query is public if it runs as the anonymous role and reads nothing with row-level security; then it
//! runs on that role's own login, whoever asks. Any other query is private: it runs as the role of the
//! caller's token.

mod analyses;
mod asked;
mod assume;
mod outcome;

pub(crate) use analyses::Analyses;
pub(crate) use asked::Asked;
pub(crate) use outcome::to_caller;

use std::sync::Arc;

use bytes::Bytes;
use rolegate_model::{CredentialKind, ErrorCode};
use rolegate_pg::session::Rows;
use rolegate_query::encode::Format;
use rolegate_query::{Analysis, Verdict, WhyPrivate, is_as_expected, rows};

use crate::call::Session;
use crate::config::Queries;
use crate::identity;
use crate::metrics::QUERIES;
use crate::problem::Problem;
use analyses::Found;

/// Who may share an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everybody.
    Public,
    /// The caller.
    Private,
}

impl Scope {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// What was decided about a query of a caller.
#[derive(Debug)]
pub(crate) struct Decision {
    /// Who may share the answer.
    pub(crate) scope: Scope,
    /// As whom it runs.
    pub(crate) session: Session,
    /// What it reads and gives.
    pub(crate) found: Arc<Found>,
    /// Why it is private; `None` if there is no anonymous role, or it is public.
    pub(crate) why: Option<WhyPrivate>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) scope: Scope,
    pub(crate) body: Bytes,
}

/// Decides who may share the answer, and as whom the query runs.
pub(crate) async fn decide(session: &Session, asked: &Asked) -> Result<Decision, Problem> {
    let answered = session.database.config.queries;
    if answered == Queries::Off {
        return Err(Problem::new(ErrorCode::NotFound)
            .message("Queries are not answered here.")
            .hint("An operator can switch them on: databases.NAME.query.answers."));
    }
    check_scopes(session)?;
    let mut why = None;
    if answered == Queries::Public
        && let Some(anonymous) = anonymous(session).await?
    {
        let found = analyses::find(&anonymous, &asked.text).await?;
        match found.verdict() {
            Ok(Verdict::Public(_)) => {
                return Ok(Decision {
                    scope: Scope::Public,
                    session: anonymous,
                    found,
                    why: None,
                });
            }
            Ok(Verdict::Private(private)) => why = Some(private.why),
            Err(problem) => return Err(problem),
        }
    }
    if session.caller.principal.kind == CredentialKind::Anonymous {
        return Err(match &why {
            Some(WhyPrivate::NeedsToken(refusal)) => outcome::refused(refusal),
            _ => outcome::not_public(),
        });
    }
    let found = analyses::find(session, &asked.text).await?;
    found.analysis().map_err(outcome::to_caller)?;
    Ok(Decision {
        scope: Scope::Private,
        session: session.clone(),
        found,
        why,
    })
}

/// Answers a query.
pub(crate) async fn answer(
    session: &Session,
    asked: &Asked,
    format: Format,
) -> Result<Answer, Problem> {
    // Once more if a table has changed since it was looked at.
    for last in [false, true] {
        let decision = decide(session, asked).await?;
        let analysis = decision.found.analysis().map_err(outcome::to_caller)?;
        let run = run(
            &decision.session,
            asked,
            analysis,
            decision.found.is_known(),
        )
        .await;
        let stale = match &run {
            Ok(rows) => !is_as_expected(&analysis.columns, &rows.fields),
            Err(problem) => outcome::could_be_stale(problem),
        };
        let label = if run.is_ok() && !stale {
            "ok"
        } else {
            "failed"
        };
        metrics::counter!(QUERIES, "scope" => decision.scope.as_str(), "outcome" => label)
            .increment(1);
        if stale && !last {
            analyses::forget(&decision.session, &asked.text).await;
            continue;
        }
        let rows = run?;
        if stale {
            break;
        }
        return Ok(Answer {
            scope: decision.scope,
            body: format.encode(&analysis.columns, &rows),
        });
    }
    Err(Problem::new(ErrorCode::Overloaded)
        .message("The tables of the query are being changed.")
        .retry_after(std::time::Duration::from_secs(1)))
}

async fn run(
    session: &Session,
    asked: &Asked,
    analysis: &Analysis,
    prepared: bool,
) -> Result<Rows, Problem> {
    let mut statement = rows(&asked.text, &analysis.columns, prepared);
    for param in &asked.params {
        // The server infers the type, as it did when it was asked about the text.
        statement = statement.param(0, param.clone());
    }
    let mut reply = session
        .run_query(vec![statement])
        .await
        .map_err(outcome::of_run)?;
    Ok(reply.results.pop().unwrap_or_default())
}

/// The same request of somebody without a token; `None` if nobody may come without one.
async fn anonymous(session: &Session) -> Result<Option<Session>, Problem> {
    if session.caller.principal.kind == CredentialKind::Anonymous {
        return Ok(Some(session.clone()));
    }
    if session.database.config.anonymous.is_none() {
        return Ok(None);
    }
    let caller = identity::anonymous(&session.database, &session.context).await?;
    Ok(Some(Session {
        caller,
        ..session.clone()
    }))
}

fn check_scopes(session: &Session) -> Result<(), Problem> {
    let Some(scopes) = &session.caller.principal.scopes else {
        return Ok(());
    };
    // Who may only call some functions may not read their tables.
    let named = scopes.surfaces.is_some() || scopes.functions.is_none();
    if named && scopes.allows_surface("query") {
        Ok(())
    } else {
        Err(Problem::new(ErrorCode::ScopeDenied))
    }
}
