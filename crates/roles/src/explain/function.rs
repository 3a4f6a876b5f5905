//! May the role call this function?

use super::sealed::Asking;
use super::{ExplainError, Step, StepKind, Verdict, grants, name};

pub(super) async fn explain(
    asking: &Asking<'_>,
    text: &str,
) -> Result<(String, Vec<Step>), ExplainError> {
    let (function_name, arguments) = match text.split_once('(') {
        Some((before, after)) => {
            let inside = after
                .trim_end()
                .strip_suffix(')')
                .ok_or_else(|| ExplainError::Name(text.into()))?;
            (before, Some(inside))
        }
        None => (text, None),
    };
    let parts = name::parts(function_name)?;
    let rows = asking
        .client
        .query(
            include_str!("sql/find_function.sql"),
            &[&parts, &asking.schemas],
        )
        .await?;
    let mut found = Vec::new();
    for row in &rows {
        let types: Vec<String> = row.try_get("types")?;
        let type_names: Vec<String> = row.try_get("type_names")?;
        if arguments.is_none_or(|wanted| fits(wanted, &types, &type_names)) {
            found.push(row);
        }
    }
    let row = match found[..] {
        [] => return Err(ExplainError::ObjectUnknown(text.to_owned())),
        [row] => row,
        _ => {
            let signatures = found.iter().map(|row| row.try_get("signature"));
            return Err(ExplainError::Ambiguous(
                signatures.collect::<Result<_, _>>()?,
            ));
        }
    };
    let signature: String = row.try_get("signature")?;
    let schema: String = row.try_get("schema")?;
    let mut steps = vec![
        grants::schema(asking, row.try_get("schema_oid")?, &schema).await?,
        grants::function(asking, row.try_get("function")?, &signature).await?,
    ];
    if row.try_get("definer")? {
        let owner: String = row.try_get("owner_name")?;
        steps.push(Step {
            kind: StepKind::Hop,
            verdict: Verdict::Allowed,
            text: format!("runs with the rights of {owner}: it is SECURITY DEFINER"),
            via: Vec::new(),
        });
    }
    Ok((format!("execute {signature}"), steps))
}

/// Whether the argument types somebody wrote are those of the function, by either of their names.
fn fits(wanted: &str, types: &[String], type_names: &[String]) -> bool {
    let wanted: Vec<String> = if wanted.trim().is_empty() {
        Vec::new()
    } else {
        wanted
            .split(',')
            .map(|name| name.trim().to_lowercase())
            .collect()
    };
    wanted.len() == types.len()
        && wanted
            .iter()
            .zip(types.iter().zip(type_names))
            .all(|(wanted, (long, short))| {
                *wanted == long.to_lowercase()
                    || *wanted == short.to_lowercase()
                    || wanted
                        .strip_suffix("[]")
                        .is_some_and(|element| short[..] == *format!("_{element}"))
                    || long
                        .rsplit('.')
                        .next()
                        .is_some_and(|last| last.to_lowercase() == *wanted)
            })
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn types_are_known_by_both_names() {
        let of = |wanted: &str| {
            fits(
                wanted,
                &["integer".into(), "api.mood".into()],
                &["int4".into(), "mood".into()],
            )
        };
        assert!(of("integer, api.mood"));
        assert!(of("int4,mood"));
        assert!(!of("integer"));
        assert!(!of("bigint, mood"));
        assert!(fits("", &[], &[]));
        assert!(fits("int4[]", &["integer[]".into()], &["_int4".into()]));
        assert!(!fits("text", &[], &[]));
    }
}
