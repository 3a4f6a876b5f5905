//! By what right the relations are read, and which of them decided that the query is private.

use rolegate_query::{ACCESS_SQL, Relation, WhyPrivate};
use serde_json::{Value, json};

use super::super::{Asked, Asking, Decision, anonymous, outcome};
use crate::call::Session;
use crate::problem::Problem;

/// What is known of the relations that the caller may know of.
pub(super) struct Access(Vec<Known>);

struct Known {
    /// Name without the schema.
    name: String,
    /// By what right the role reads it that the query runs as.
    right: Value,
    /// What the anonymous role lacks.
    lacks: Option<String>,
}

/// Asks the catalog.
pub(super) async fn of(
    session: &Session,
    decision: &Decision,
    nobody: bool,
) -> Result<Access, Problem> {
    let analysis = decision.found.analysis().map_err(outcome::to_caller)?;
    let told: Vec<&Relation> = analysis
        .read_set
        .iter()
        .filter(|relation| relation.open || !nobody)
        .collect();
    let oids: Vec<u32> = told.iter().map(|relation| relation.oid).collect();
    let role = decision.session.caller.principal.role.oid;
    let anonymous = anonymous(session).await?;
    let anonymous = anonymous.map(|session| session.caller.principal.role.oid);
    let asking = Asking::of(session);
    let rows = asking.ask(ACCESS_SQL, &[&oids, &role, &anonymous]).await?;
    let known = rows.iter().filter_map(|row| {
        let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        let (oid, right, lacks): (u32, Value, Option<String>) = match read() {
            Ok(read) => read,
            Err(error) => return Some(Err(error)),
        };
        let relation = told.iter().find(|relation| relation.oid == oid)?;
        Some(Ok(Known {
            name: relation.name.clone(),
            right,
            lacks,
        }))
    });
    let known: Result<Vec<Known>, tokio_postgres::Error> = known.collect();
    Ok(Access(known.map_err(|error| asking.failed(&error))?))
}

impl Access {
    /// The relation that makes the query private, and what it has or anonymous callers lack; null if it is none.
    pub(super) fn decided_by(&self, decision: &Decision, asked: &Asked) -> Value {
        match &decision.why {
            Some(WhyPrivate::RowSecurity(name)) => {
                let known = self
                    .0
                    .iter()
                    .find(|known| known.right["relation"] == **name);
                known.map_or(
                    Value::Null,
                    |known| json!({ "relation": name, "policies": known.right["policies"] }),
                )
            }
            // What is only behind a view is read as somebody else, and nobody else needs a right to it.
            Some(WhyPrivate::Refused { .. }) => {
                let mut named = self
                    .0
                    .iter()
                    .filter(|known| asked.text.names.contains(&known.name));
                let closed = named.find_map(|known| Some((known, known.lacks.as_deref()?)));
                closed.map_or(Value::Null, |(known, lacks)| {
                    json!({ "relation": known.right["relation"], "anonymous_lacks": lacks })
                })
            }
            Some(WhyPrivate::Caller(_) | WhyPrivate::NeedsToken(_)) | None => Value::Null,
        }
    }
}

impl From<Access> for Value {
    fn from(Access(known): Access) -> Self {
        known.into_iter().map(|known| known.right).collect()
    }
}
