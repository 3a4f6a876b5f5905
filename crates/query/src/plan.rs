//! What an execution plan shows.

use serde_json::Value;

use crate::refusal::Refusal;

/// What is kept of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Plan {
    /// The planner's estimate, in its own unit.
    pub cost: f64,
    /// The planner's estimate.
    pub rows: f64,
}

/// Reads `explain (format json)`.
pub(crate) fn read(json: &[u8]) -> Result<Plan, Refusal> {
    const ODD: Refusal = Refusal::Unreadable("its plan is not understood");
    let plans: Value = serde_json::from_slice(json).map_err(|_| ODD)?;
    // One statement has one plan; a rule could make more of it, or none.
    let [statement] = plans.as_array().map(Vec::as_slice).ok_or(ODD)? else {
        return Err(ODD);
    };
    let root = statement.get("Plan").ok_or(ODD)?;
    only_reads(root)?;
    let number = |name: &str| root.get(name).and_then(Value::as_f64).unwrap_or_default();
    Ok(Plan {
        cost: number("Total Cost"),
        rows: number("Plan Rows"),
    })
}

fn only_reads(node: &Value) -> Result<(), Refusal> {
    let kind = node
        .get("Node Type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if matches!(kind, "ModifyTable" | "LockRows" | "") {
        let what = node
            .get("Operation")
            .and_then(Value::as_str)
            .unwrap_or(kind);
        return Err(Refusal::Writes(what.to_owned()));
    }
    let children = node.get("Plans").and_then(Value::as_array);
    children.into_iter().flatten().try_for_each(only_reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_found_at_any_depth() {
        let plan = |inner: &str| {
            format!(
                r#"[{{"Plan": {{"Node Type": "Limit", "Total Cost": 2.5, "Plan Rows": 7,
                "Plans": [{{"Node Type": "CTE Scan"}}, {{"Node Type": {inner}}}]}}}}]"#
            )
        };
        let read = |inner: &str| read(plan(inner).as_bytes());
        assert_eq!(
            read("\"Seq Scan\""),
            Ok(Plan {
                cost: 2.5,
                rows: 7.0
            })
        );
        assert_eq!(
            read("\"ModifyTable\", \"Operation\": \"Delete\""),
            Err(Refusal::Writes("Delete".into()))
        );
        assert_eq!(
            read("\"LockRows\""),
            Err(Refusal::Writes("LockRows".into()))
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            "[{}]",
            r#"[{"Plan": {}}]"#,
            "[{\"Plan\": 1}, 2]",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
