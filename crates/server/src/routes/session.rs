//! The caller of a request, ready to call.

use std::sync::Arc;

use http::HeaderMap;
use rolegate_model::ErrorCode;

use crate::call::Session;
use crate::identity;
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::router::App;

/// Authenticates the caller at a configured database.
pub(crate) async fn session(
    app: &App,
    database: &str,
    context: &RequestContext,
    headers: &HeaderMap,
) -> Result<Session, Problem> {
    let database = app.database(database)?;
    let caller = identity::caller(database, context, headers).await?;
    let dry_run = prefers(headers, "tx=rollback");
    if dry_run && !app.config().dry_run {
        return Err(Problem::new(ErrorCode::DryRunDisabled));
    }
    Ok(Session {
        database: Arc::clone(database),
        caller,
        context: context.clone(),
        dry_run,
        for_everybody: false,
    })
}

/// Whether `Prefer` has the preference.
pub(super) fn prefers(headers: &HeaderMap, preference: &str) -> bool {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .any(|part| part.trim().eq_ignore_ascii_case(preference))
}
