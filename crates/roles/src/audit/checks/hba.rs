//! Lines of `pg_hba.conf` that make a login worth nothing.

use tokio_postgres::Client;

use super::Check;

pub(super) const CHECK: Check = Check {
    name: "hba",
    with_subjects: false,
    sql: include_str!("hba.sql"),
};

/// What this login cannot look at: by default only superusers read the rules.
pub(in crate::audit) async fn unreadable(
    client: &Client,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let row = client
        .query_one(
            "select pg_catalog.has_table_privilege( \
                    'pg_catalog.pg_hba_file_rules'::pg_catalog.regclass, 'SELECT') \
                and pg_catalog.has_function_privilege( \
                    'pg_catalog.pg_hba_file_rules()'::pg_catalog.regprocedure, 'EXECUTE')",
            &[],
        )
        .await?;
    Ok(if row.try_get(0)? {
        Vec::new()
    } else {
        vec!["pg_hba.conf (login_without_scram): this login may not read its rules".to_owned()]
    })
}
