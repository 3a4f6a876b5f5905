//! SQL of callers: found out about once for each identity, and run as whoever may.
//!
//! A query is public if it runs as the anonymous role, reads nothing with row-level security, and depends on no caller;
//! then it runs on that role's own login, whoever asks. Any other query is private: it runs as the role of the
//! caller's token. Who has no token gets the anonymous role's answer also to what depends on the caller.

mod analyses;
mod asked;
mod assume;
mod evaluate;
mod explain;
mod flights;
mod kept;
mod making;
mod outcome;
mod packed;
mod since;
mod sources;
mod texts;

pub(crate) use analyses::{Analyses, Asking, Found};
pub(crate) use asked::{Asked, Wanted};
pub(crate) use evaluate::{Evaluated, evaluate};
pub(crate) use explain::explain;
pub(crate) use kept::Shelf;
pub(crate) use outcome::{could_be_stale, to_caller};
pub(crate) use packed::body as packed_body;
pub(crate) use since::{Since, seen, settled};
pub(crate) use sources::Source;
pub(crate) use texts::Texts;

use std::sync::Arc;

use bytes::Bytes;
use rolegate_model::{CredentialKind, ErrorCode};
use rolegate_query::cache::{Entry, Hash};
use rolegate_query::encode::Format;
use rolegate_query::{Verdict, WhyPrivate};
use rolegate_replication::Lsn;

use crate::call::Session;
use crate::config::Queries;
use crate::database::Database;
use crate::identity;
use crate::metrics::QUERIES;
use crate::problem::Problem;
use making::Making;

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
pub(crate) enum Answer {
    /// One that everybody gets until something changes.
    Kept {
        /// The answer.
        entry: Arc<Entry>,
        /// It is current up to here; `None`: there is a newer one already.
        current: Option<Lsn>,
    },
    /// One for this request.
    Once {
        scope: Scope,
        body: Bytes,
        /// What copies of it would be purged by elsewhere.
        purge: Bytes,
    },
}

/// Decides who may share the answer, and as whom the query runs.
pub(crate) async fn decide(session: &Session, asked: &Asked) -> Result<Decision, Problem> {
    check_answered(session)?;
    let nobody = session.caller.principal.kind == CredentialKind::Anonymous;
    let mut why = None;
    if session.database.config.queries == Queries::Public
        && let Some(anonymous) = anonymous(session).await?
    {
        // Whoever asks pays for the look: others without a token must not stand in his way.
        let found = analyses::find(&anonymous, session, &asked.text).await?;
        why = match found.verdict()? {
            Verdict::Public(_) if nobody => None,
            // The anonymous role's answer would be another one than that of the caller's role.
            Verdict::Public(analysis) => {
                let caller = analysis.depends_on_caller();
                caller.cloned().map(WhyPrivate::Caller)
            }
            Verdict::Private(why) => Some(why),
        };
        if why.is_none() {
            return Ok(Decision {
                scope: Scope::Public,
                session: anonymous,
                found,
                why,
            });
        }
    }
    if nobody {
        return Err(match &why {
            Some(WhyPrivate::NeedsToken(refusal)) => outcome::refused(refusal),
            _ => outcome::not_public(),
        });
    }
    let found = analyses::find(session, session, &asked.text).await?;
    found.analysis().map_err(outcome::to_caller)?;
    Ok(Decision {
        scope: Scope::Private,
        session: session.clone(),
        found,
        why,
    })
}

/// Answers a query. `since`: with nothing that is older than this.
pub(crate) async fn answer(
    session: &Session,
    wanted: &Wanted,
    format: Format,
    since: Option<Since>,
) -> Result<Answer, Problem> {
    check_answered(session)?;
    let shelf = session.database.shelf.as_ref();
    if let (Some(since), Some(feed)) = (since, &session.database.feed) {
        since.wait(session, feed).await?;
    }
    if let Some(answer) =
        shelf.and_then(|shelf| kept::find(shelf, &session.database, wanted, format))
    {
        return Ok(answer);
    }
    let asked = session.database.texts.read(wanted)?;
    // Once more if a table has changed since it was looked at.
    for last in [false, true] {
        let decision = decide(session, &asked).await?;
        let making = Making {
            session: &decision.session,
            payer: session,
            wanted,
            asked: &asked,
            found: &decision.found,
            format,
            last,
        };
        let made = match shelf {
            Some(shelf)
                if decision.scope == Scope::Public && shelf.follows() && making.can_be_kept() =>
            {
                making.for_everybody(shelf, since.is_some()).await
            }
            _ => making.once(decision.scope).await,
        };
        let label = if matches!(made, Ok(Some(_))) {
            "ok"
        } else {
            "failed"
        };
        metrics::counter!(QUERIES, "scope" => decision.scope.as_str(), "outcome" => label)
            .increment(1);
        let stale = match &made {
            Ok(made) => made.is_none(),
            Err(problem) => outcome::could_be_stale(problem),
        };
        if stale && !last {
            analyses::forget(&decision.session, &asked.text).await;
        } else if let Some(answer) = made? {
            return Ok(answer);
        }
    }
    Err(Problem::new(ErrorCode::Overloaded)
        .message("The tables of the query are being changed.")
        .retry_after(std::time::Duration::from_secs(1)))
}

/// Whether the caller is an operator.
pub(crate) async fn is_operator(session: &Session) -> Result<bool, Problem> {
    analyses::Asking::of(session).is_operator().await
}

/// The query behind a cursor, if it is one of the database. `session`: who asks.
pub(crate) async fn source(session: &Session, hash: Hash) -> Result<Option<Arc<Source>>, Problem> {
    let Some(shelf) = &session.database.shelf else {
        return Ok(None);
    };
    // Addresses can be made up.
    let _permit = session.admit()?;
    shelf.sources.find(&session.database, hash).await
}

/// The same, if this process knows it.
pub(crate) fn known_source(database: &Database, hash: Hash) -> Option<Arc<Source>> {
    database.shelf.as_ref()?.sources.known(hash)
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

/// Whether any query of this caller is answered.
pub(crate) fn is_answered(session: &Session) -> bool {
    let config = &session.database.config;
    let nobody = session.caller.principal.kind == CredentialKind::Anonymous;
    check_answered(session).is_ok() && (!nobody || config.queries == Queries::Public)
}

fn check_answered(session: &Session) -> Result<(), Problem> {
    if session.database.config.queries == Queries::Off {
        return Err(Problem::new(ErrorCode::NotFound)
            .message("Queries are not answered here.")
            .hint("An operator can switch them on: databases.NAME.query.answers."));
    }
    check_scopes(session)
}

/// Forgets what is known of the text, as far as it counts for this session.
pub(crate) async fn forget(session: &Session, asked: &Asked) {
    if let Ok(Some(anonymous)) = anonymous(session).await {
        analyses::forget(&anonymous, &asked.text).await;
    }
    analyses::forget(session, &asked.text).await;
}

/// Whether the token is for queries.
pub(crate) fn check_scopes(session: &Session) -> Result<(), Problem> {
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
