//! The functions that the text could call, and what each does to keeping the answer.

use rolegate_query::{Found as Function, Text, keeping};
use serde_json::{Value, json};

use super::super::{Asked, Asking, Decision, outcome};
use crate::call::Session;
use crate::problem::Problem;

/// Those of the text, and for whoever has a token those of the views that it reads.
pub(super) async fn of(
    session: &Session,
    decision: &Decision,
    asked: &Asked,
    nobody: bool,
) -> Result<Value, Problem> {
    let asking = Asking::of(session);
    let only_of = nobody.then_some(session.caller.principal.role.oid);
    let mut list = Vec::new();
    add(
        &mut list,
        &asking.functions(&asked.text, only_of).await?,
        false,
    );
    let analysis = decision.found.analysis().map_err(outcome::to_caller)?;
    let views = analysis.read_set.iter().filter(|_| !nobody);
    for view in views.filter_map(|relation| relation.view.as_deref()) {
        // What can't be read is in `why_not_kept`.
        if let Ok(view) = Text::read(view) {
            add(&mut list, &asking.functions(&view, None).await?, true);
        }
    }
    Ok(list.into())
}

/// Overloads of which the same is to be said are one.
fn add(list: &mut Vec<Value>, functions: &[Function], in_view: bool) {
    for function in functions.iter().filter(|function| function.called) {
        let (kept, why) = keeping(function);
        let name = format!("{}.{}", function.schema, function.name);
        let entry = json!({ "name": name, "in_view": in_view, "can_be_kept": kept, "why": why });
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
}
