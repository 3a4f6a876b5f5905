//! Why a query is answered to whom, by what right, and whether the answer can be kept. Nobody is told more than he may
//! see: without a token nothing of what is behind views, and of functions only those that can be called.

mod access;
mod functions;
mod key;

use rolegate_model::CredentialKind;
use rolegate_query::encode::Format;
use rolegate_query::{Touch, Unkept};
use serde_json::{Value, json};

use super::{Asked, Decision, Wanted, decide, is_operator, outcome};
use crate::call::Session;
use crate::problem::Problem;

/// What was decided about the query, and why. Nothing is run.
pub(crate) async fn explain(
    session: &Session,
    wanted: &Wanted,
    format: Format,
) -> Result<Value, Problem> {
    let asked = wanted.read()?;
    let decision = decide(session, &asked).await?;
    let nobody = session.caller.principal.kind == CredentialKind::Anonymous;
    let mut document = document(&decision, &asked, nobody)?;
    // The catalog is asked each time: that counts as a request, also of a text that is known.
    let _permit = session.admit()?;
    let access = access::of(session, &decision, nobody).await?;
    document["decided_by"] = access.decided_by(&decision, &asked);
    document["access"] = access.into();
    document["functions"] = functions::of(session, &decision, &asked, nobody).await?;
    document["cache_key"] = if document["can_be_kept"] == true {
        key::of(&decision, wanted, format)
    } else {
        Value::Null
    };
    if !nobody
        && is_operator(session).await?
        && let Ok(analysis) = decision.found.analysis()
    {
        // How much there is can tell of rows that others may not see.
        document["estimate"] = json!({ "cost": analysis.plan.cost, "rows": analysis.plan.rows });
    }
    Ok(document)
}

/// What is known without another question.
fn document(decision: &Decision, asked: &Asked, nobody: bool) -> Result<Value, Problem> {
    let analysis = decision.found.analysis().map_err(outcome::to_caller)?;
    let columns: Vec<&str> = analysis
        .columns
        .iter()
        .map(|column| &*column.name)
        .collect();
    let reads: Vec<String> = analysis
        .read_set
        .iter()
        .filter(|relation| relation.open || !nobody)
        .map(rolegate_query::Relation::display)
        .collect();
    let touch = Touch::of(analysis, &asked.text, &asked.params);
    let rows: Vec<Value> = touch
        .pinned()
        .map(|(column, value)| json!({ "column": column, "value": value }))
        .collect();
    let is_open = |name: &str| reads.iter().any(|open| open == name);
    let told = |unkept: &Unkept| {
        if nobody {
            unkept.for_anonymous(is_open)
        } else {
            unkept.to_string()
        }
    };
    let mut unkept: Vec<String> = analysis.unkept.iter().map(told).collect();
    let moving = asked
        .moving()
        .map(|number| format!("the value of ${number} means another moment tomorrow"));
    unkept.extend(moving);
    Ok(json!({
        "scope": decision.scope.as_str(),
        "runs_as": decision.session.caller.principal.role.name.as_str(),
        "why_private": decision.why.as_ref().map(ToString::to_string),
        "columns": columns,
        "reads": reads,
        "only_rows_with": rows,
        "can_be_kept": unkept.is_empty(),
        "why_not_kept": unkept,
    }))
}
