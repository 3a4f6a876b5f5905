//! May the role run this statement?

use super::sealed::{Asking, Rights, Tried};
use super::{ExplainError, Step, StepKind, Verdict};

/// Plans the statement as the role. Nothing is appended to it, so that no comment can swallow
/// anything; estimates are left out, because they tell about rows the role does not see.
pub(super) async fn explain(
    asking: &Asking<'_>,
    sql: &str,
) -> Result<(String, Vec<Step>), ExplainError> {
    let (verdict, text, via) = if asking.may_try {
        let statement = ["explain (costs off) ", sql].concat();
        match asking.attempt(Rights::Role, &statement, &[]).await? {
            Tried::Lines(plan) => (
                Verdict::Allowed,
                "the server plans it for the role".to_owned(),
                plan,
            ),
            Tried::Refused(message) => (Verdict::Denied, message, Vec::new()),
            Tried::Failed(message) => (Verdict::Unknown, message, Vec::new()),
        }
    } else {
        let why = "only a superuser's connection can plan a statement as another role";
        (Verdict::Unknown, why.to_owned(), Vec::new())
    };
    Ok((
        "run a statement".to_owned(),
        vec![Step {
            kind: StepKind::Plan,
            verdict,
            text,
            via,
        }],
    ))
}
