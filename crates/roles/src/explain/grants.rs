//! Privileges: the server's answer and the way it comes about.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::sealed::Asking;
use super::{ExplainError, Step, StepKind, Verdict};

const WAYS_SQL: &str = include_str!("sql/ways.sql");

/// USAGE on the schema.
pub(super) async fn schema(
    asking: &Asking<'_>,
    schema_oid: u32,
    schema: &str,
) -> Result<Step, ExplainError> {
    let row = ask(
        asking,
        include_str!("sql/schema.sql"),
        &[&asking.role_oid, &schema_oid],
    )
    .await?;
    step(
        asking,
        &row,
        StepKind::Schema,
        &["USAGE on schema ", schema].concat(),
    )
}

/// EXECUTE on the function.
pub(super) async fn function(
    asking: &Asking<'_>,
    function_oid: u32,
    signature: &str,
) -> Result<Step, ExplainError> {
    let row = ask(
        asking,
        include_str!("sql/function.sql"),
        &[&asking.role_oid, &function_oid],
    )
    .await?;
    step(
        asking,
        &row,
        StepKind::Grant,
        &["EXECUTE on ", signature].concat(),
    )
}

/// `privilege` on these columns of the relation: one grant on all of it, or one for each column.
/// `columns` empty: the privilege on the relation itself, which DELETE is.
pub(super) async fn relation(
    asking: &Asking<'_>,
    relation_oid: u32,
    relation: &str,
    privilege: &str,
    columns: &[&str],
) -> Result<Vec<Step>, ExplainError> {
    let row = ask(
        asking,
        include_str!("sql/table.sql"),
        &[&asking.role_oid, &relation_oid, &privilege],
    )
    .await?;
    let what = [privilege, " on ", relation].concat();
    let whole = step(asking, &row, StepKind::Grant, &what)?;
    if whole.verdict == Verdict::Allowed || columns.is_empty() {
        return Ok(vec![whole]);
    }
    let sql = [WAYS_SQL, include_str!("sql/columns.sql")].concat();
    let rows = asking
        .client
        .query(
            &sql,
            &[&asking.role_oid, &relation_oid, &privilege, &columns],
        )
        .await?;
    let mut steps = Vec::with_capacity(rows.len());
    for row in &rows {
        let column: &str = row.try_get("name")?;
        let what = [privilege, " (", column, ") on ", relation].concat();
        steps.push(step(asking, row, StepKind::ColumnGrant, &what)?);
    }
    Ok(steps)
}

/// How the role has the rights of `owner`, if it has.
pub(super) async fn way_to(
    asking: &Asking<'_>,
    owner: u32,
) -> Result<Option<Vec<String>>, ExplainError> {
    let sql = [WAYS_SQL, include_str!("sql/owns.sql")].concat();
    let row = asking
        .client
        .query_opt(&sql, &[&asking.role_oid, &owner])
        .await?;
    Ok(row.map(|row| row.try_get("chain")).transpose()?)
}

/// The policies of the relation that apply to the role.
pub(super) async fn policies(
    asking: &Asking<'_>,
    relation_oid: u32,
) -> Result<Vec<Row>, ExplainError> {
    let sql = [WAYS_SQL, include_str!("sql/policies.sql")].concat();
    Ok(asking
        .client
        .query(&sql, &[&asking.role_oid, &relation_oid])
        .await?)
}

async fn ask(
    asking: &Asking<'_>,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Row, ExplainError> {
    Ok(asking
        .client
        .query_one(&[WAYS_SQL, sql].concat(), parameters)
        .await?)
}

fn step(asking: &Asking<'_>, row: &Row, kind: StepKind, what: &str) -> Result<Step, ExplainError> {
    let holds: bool = row.try_get("holds")?;
    let via = match row.try_get::<_, Option<Vec<String>>>("chain")? {
        _ if !holds => Vec::new(),
        _ if asking.superuser => vec!["superuser".to_owned()],
        chain => chain.unwrap_or_default(),
    };
    let text = if holds {
        ["has ", what].concat()
    } else {
        ["lacks ", what].concat()
    };
    Ok(Step {
        kind,
        verdict: Verdict::of(holds),
        text,
        via,
    })
}
