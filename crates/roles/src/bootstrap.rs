//! What needs a superuser, once for each database.

use rolegate_pg::quote;
use tokio_postgres::Client;

use crate::names::Names;

const BOOTSTRAP_SQL: &str = include_str!("sql/bootstrap.sql");

/// Stands in the SQL file for the database's name.
const DATABASE_MARK: &str = "\"the database\"";

/// Stands in the SQL file for the options of a membership that is only for `set role`.
const SWITCH_ONLY_MARK: &str = " /*switch only*/";

/// The first version with options on each membership. Before it, NOINHERIT on the member says it.
const MEMBERSHIP_OPTIONS_SINCE: u32 = 160_000;

/// Why the bootstrap did not happen. Nothing of it has, then.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The connection's role is not a superuser.
    #[error("the bootstrap needs a superuser; the connection is {role}")]
    NotSuperuser {
        /// Who it is.
        role: String,
    },
    /// The schema was there and belongs to somebody else.
    #[error("the schema {schema} exists and belongs to {owner}")]
    ForeignSchema {
        /// The schema.
        schema: String,
        /// Its owner.
        owner: String,
    },
    /// The server refused.
    #[error("the server refused the bootstrap")]
    Postgres(#[from] tokio_postgres::Error),
}

/// The SQL for a superuser connected to `database`, as one transaction that can be repeated.
///
/// `server_version_num` is the server's setting of that name (150018, 180006).
pub fn sql(names: &Names, server_version_num: u32, database: &str) -> String {
    let switch_only = if server_version_num >= MEMBERSHIP_OPTIONS_SINCE {
        " with inherit false, set true"
    } else {
        ""
    };
    // The name goes in last, because it is the only text here that could look like a mark.
    names
        .render(BOOTSTRAP_SQL)
        .replace(SWITCH_ONLY_MARK, switch_only)
        .replace(DATABASE_MARK, &quote::ident(database))
}

/// Runs [`sql`] on the connected database.
pub async fn apply(client: &Client, names: &Names) -> Result<(), BootstrapError> {
    let row = client
        .query_one(
            "select pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
                pg_catalog.current_database()::pg_catalog.text, r.rolsuper, \
                r.rolname::pg_catalog.text \
             from pg_catalog.pg_roles r where r.rolname = current_user",
            &[],
        )
        .await?;
    let (version, database): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    if !row.try_get::<_, bool>(2)? {
        return Err(BootstrapError::NotSuperuser {
            role: row.try_get(3)?,
        });
    }
    refuse_foreign_schema(client, names).await?;
    if let Err(error) = client
        .batch_execute(&sql(names, version.unsigned_abs(), &database))
        .await
    {
        // The transaction of the failed batch is still open.
        client.batch_execute("rollback").await?;
        return Err(error.into());
    }
    tracing::info!(database, schema = names.schema(), "bootstrap applied");
    Ok(())
}

async fn refuse_foreign_schema(client: &Client, names: &Names) -> Result<(), BootstrapError> {
    let owner = client
        .query_opt(
            "select pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text \
             from pg_catalog.pg_namespace n where n.nspname = $1::pg_catalog.text",
            &[&names.schema()],
        )
        .await?
        .map(|row| row.try_get::<_, String>(0))
        .transpose()?;
    match owner {
        Some(owner) if owner != names.role("owner") => Err(BootstrapError::ForeignSchema {
            schema: names.schema().to_owned(),
            owner,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_database_name_stays_a_name() {
        let sql = sql(&Names::default(), 180_000, "x\"; drop table y; --");
        assert!(sql.contains("on database \"x\"\"; drop table y; --\" from public"));
        assert!(!sql.contains("the database\" from"));
    }

    #[test]
    fn membership_options_follow_the_version() {
        let of = |version| sql(&Names::default(), version, "app");
        assert!(of(160_000).contains("to rolegate_migrator with inherit false, set true;"));
        assert!(of(150_018).contains("to rolegate_migrator;"));
    }
}
