//! Functions that keep a role out of assume mode.

use tokio_postgres::Client;

use super::Check;
use crate::names::Names;

pub(super) const CHECK: Check = Check {
    name: "dynamic_sql",
    with_subjects: true,
    sql: include_str!("dynamic_sql.sql"),
};

/// The functions that were declared safe, if this login may know; otherwise none, which finds too
/// much rather than too little.
pub(super) async fn declared_safe(
    client: &Client,
    names: &Names,
) -> Result<Vec<u32>, tokio_postgres::Error> {
    // By name and not by `to_regprocedure`, which raises without USAGE on the schema.
    let may = client
        .query_one(
            "select exists ( \
                select from pg_catalog.pg_proc p \
                join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
                where n.nspname = $1::pg_catalog.text and p.proname = 'safe_functions' \
                    and p.pronargs = 0 \
                    and pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
                    and pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))",
            &[&names.schema()],
        )
        .await?;
    if !may.try_get::<_, bool>(0)? {
        return Ok(Vec::new());
    }
    let sql = names.render("select s.function_oid from rolegate.safe_functions() s");
    let rows = client.query(sql.as_ref(), &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
