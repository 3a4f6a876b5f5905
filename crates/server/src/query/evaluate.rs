//! The rows of a query, with what is needed to tell which state of the database they show.

use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Rows;
use rolegate_query::{Snapshot, seen};
use rolegate_replication::Lsn;

use super::{Asked, Found, outcome};
use crate::call::Session;
use crate::problem::Problem;

/// Rows, and what they were read from.
#[derive(Debug)]
pub(crate) struct Evaluated {
    /// The rows.
    pub(crate) rows: Rows,
    /// The transactions whose effects they show.
    pub(crate) snapshot: Snapshot,
    /// All of those are before this position in the log. `None` on a standby.
    pub(crate) at: Option<Lsn>,
}

/// Runs the query in one snapshot and asks which. It counts for `payer`.
pub(crate) async fn evaluate(
    session: &Session,
    payer: &Session,
    asked: &Asked,
    found: &Found,
    prepared: bool,
) -> Result<Evaluated, Problem> {
    let statements = vec![statement(asked, found, prepared)?, seen()];
    let reply = session.run_snapshot(payer, statements).await;
    let mut results = reply.map_err(outcome::of_run)?.results.into_iter();
    let (Some(rows), Some(seen)) = (results.next(), results.next()) else {
        return Err(Problem::new(ErrorCode::Internal));
    };
    let text = |place: usize| {
        let value = seen.values.get(place)?.as_deref()?;
        std::str::from_utf8(value).ok()
    };
    let snapshot = text(0).and_then(|text| text.parse().ok());
    Ok(Evaluated {
        rows,
        snapshot: snapshot.ok_or_else(|| Problem::new(ErrorCode::Internal))?,
        at: text(1).and_then(|text| text.parse().ok()),
    })
}

/// The query with its parameters.
pub(super) fn statement(
    asked: &Asked,
    found: &Found,
    prepared: bool,
) -> Result<Statement, Problem> {
    let statement = found.rows(&asked.text, prepared);
    let statement = statement.map_err(outcome::to_caller)?;
    // The server infers the types, as it did when it was asked about the text.
    Ok(asked.params.iter().fold(statement, |statement, param| {
        statement.param(0, param.clone())
    }))
}
