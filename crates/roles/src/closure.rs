//! Which roles are too powerful to be a target.

use tokio_postgres::GenericClient;

use crate::names::Names;

/// The query behind this module, with the default names: parameters are the OID of one role or
/// NULL, and the predefined roles that are accepted; columns are `role_oid`, `role_name`, `chain`.
pub const CLOSURE_SQL: &str = include_str!("sql/closure.sql");

/// A role that must not be a target, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ForbiddenRole {
    /// OID in `pg_authid`.
    pub role_oid: u32,
    /// Its name.
    pub role_name: String,
    /// The shortest membership chain: `alice -> postgres (superuser)`.
    pub chain: String,
}

/// The forbidden roles of the cluster, seen from the connected database; only `role_oid`'s entry
/// if it is given. `allowed_predefined` are the `pg_*` roles an operator accepts.
pub async fn forbidden_roles(
    client: &impl GenericClient,
    names: &Names,
    role_oid: Option<u32>,
    allowed_predefined: &[String],
) -> Result<Vec<ForbiddenRole>, tokio_postgres::Error> {
    let sql = names.render(CLOSURE_SQL);
    let rows = client
        .query(sql.as_ref(), &[&role_oid, &allowed_predefined])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ForbiddenRole {
                role_oid: row.try_get(0)?,
                role_name: row.try_get(1)?,
                chain: row.try_get(2)?,
            })
        })
        .collect()
}
