//! What a text could run in assume mode, where code of users could leave its role.
//!
//! A caller chooses what he names, and somebody may have made a view, an operator or a cast for him to name. So
//! nothing of users runs in a query, however it is reached from the text: functions, operators and types by
//! their names, and the same for the text of every view that is named, and of those named in there. What a
//! table's author has attached to it (policies, column types) is his.

use std::collections::HashSet;

use rolegate_query::{ASSUME_SQL, Identity, Refusal, Text, VIEWS_SQL, judge};

use super::analyses::Asking;
use crate::problem::Problem;

/// Views that are followed.
const MOST_VIEWS: usize = 200;

/// The refusal, if the text could run something of users.
pub(super) async fn refusal(asking: &Asking<'_>, text: &Text) -> Result<Option<Refusal>, Problem> {
    let mut seen = HashSet::new();
    let mut texts = vec![text.clone()];
    while let Some(text) = texts.pop() {
        let functions = asking.functions(&text, None).await?;
        if let Err(refusal) = judge(&text, &functions, Identity::Assume) {
            return Ok(Some(refusal));
        }
        let operators: Vec<&String> = text.operators.iter().collect();
        let names: Vec<&String> = text.names.iter().collect();
        let types = if text
            .called
            .iter()
            .any(|name| name.contains("populate_record"))
        {
            // Makes rows of the type of any value, such as a row of a table it reads.
            names.clone()
        } else {
            let called = text.called.union(&text.attributes_of_values);
            text.types.iter().chain(called).collect()
        };
        let found = asking
            .ask(ASSUME_SQL, &[&operators, &names, &types])
            .await?;
        if let Some(row) = found.first() {
            let what = row.try_get(0).map_err(|error| asking.failed(&error))?;
            return Ok(Some(Refusal::RunsCode(what)));
        }
        for row in asking.ask(VIEWS_SQL, &[&names]).await? {
            let (oid, view): (u32, String) = row
                .try_get(0)
                .and_then(|oid| Ok((oid, row.try_get(1)?)))
                .map_err(|error| asking.failed(&error))?;
            if !seen.insert(oid) {
                continue;
            }
            match Text::read(&view) {
                Ok(view) if seen.len() <= MOST_VIEWS => texts.push(view),
                _ => {
                    return Ok(Some(Refusal::RunsCode(
                        "a view that is not followed".into(),
                    )));
                }
            }
        }
    }
    Ok(None)
}
