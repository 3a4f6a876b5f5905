//! The engine's schema, forward only.

use refinery::{Migration, Runner};
use tokio_postgres::Client;

use crate::names::Names;

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

/// Any number that nobody else uses: one migration runs at a time in a database.
const LOCK_KEY: i64 = 0x726f_6c65_6761_7465;

/// Why the schema was not migrated. Migrations before the failing one stay applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The bootstrap has not been run in this database, or made the schema for another owner.
    #[error("the schema {schema} is missing or not owned by {owner}; run the bootstrap first")]
    NotBootstrapped {
        /// The schema.
        schema: String,
        /// Who must own it.
        owner: String,
    },
    /// A migration failed, or an applied one has been changed.
    #[error("the migrations cannot be applied")]
    Refinery(#[from] refinery::Error),
    /// The server refused something around the migrations.
    #[error("the server refused the migration")]
    Postgres(#[from] tokio_postgres::Error),
}

/// A migration and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MigrationStatus {
    /// Its number.
    pub version: i32,
    /// Its name, the reason for it.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// Applies what is pending and returns it. Connected as the migrator; other runs wait.
pub async fn run(client: &mut Client, names: &Names) -> Result<Vec<MigrationStatus>, MigrateError> {
    // Taken before the role changes: the migrator may take it, the owner may not.
    client
        .execute("select pg_catalog.pg_advisory_lock($1)", &[&LOCK_KEY])
        .await?;
    let result = run_locked(client, names).await;
    // After an error the connection may be gone, and the lock with it.
    let reset = client.batch_execute("reset role").await;
    let released = client
        .execute("select pg_catalog.pg_advisory_unlock($1)", &[&LOCK_KEY])
        .await;
    let applied = result?;
    reset?;
    released?;
    Ok(applied)
}

async fn run_locked(
    client: &mut Client,
    names: &Names,
) -> Result<Vec<MigrationStatus>, MigrateError> {
    become_owner(client, names).await?;
    let report = runner(names)?.run_async(client).await?;
    let applied: Vec<MigrationStatus> = report
        .applied_migrations()
        .iter()
        .map(|m| status_of(m, true))
        .collect();
    for migration in &applied {
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "migration applied"
        );
    }
    Ok(applied)
}

/// Every migration with its state. Connected as the migrator.
pub async fn status(
    client: &mut Client,
    names: &Names,
) -> Result<Vec<MigrationStatus>, MigrateError> {
    become_owner(client, names).await?;
    let applied = applied_versions(client, names).await;
    client.batch_execute("reset role").await?;
    let applied = applied?;
    Ok(sorted(names)?
        .iter()
        .map(|m| status_of(m, applied.contains(&m.version())))
        .collect())
}

/// The SQL of what is pending, in order. Connected as the migrator; changes nothing.
pub async fn dry_run(client: &mut Client, names: &Names) -> Result<String, MigrateError> {
    let pending = status(client, names).await?;
    let mut sql = String::new();
    for migration in sorted(names)? {
        if pending
            .iter()
            .any(|m| m.version == migration.version() && !m.applied)
        {
            sql.push_str("-- ");
            sql.push_str(&migration.to_string());
            sql.push('\n');
            sql.push_str(migration.sql().unwrap_or_default());
            sql.push('\n');
        }
    }
    Ok(sql)
}

/// The number of the newest migration this program knows.
pub fn latest_version() -> i32 {
    embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(Migration::version)
        .max()
        .unwrap_or(0)
}

async fn become_owner(client: &Client, names: &Names) -> Result<(), MigrateError> {
    client
        .batch_execute(&names.render("set role rolegate_owner"))
        .await?;
    let owned = client
        .query_opt(
            "select from pg_catalog.pg_namespace n \
             where n.nspname = $1::pg_catalog.text \
                and pg_catalog.pg_get_userbyid(n.nspowner) = $2::pg_catalog.text",
            &[&names.schema(), &names.role("owner")],
        )
        .await?;
    if owned.is_none() {
        return Err(MigrateError::NotBootstrapped {
            schema: names.schema().to_owned(),
            owner: names.role("owner"),
        });
    }
    Ok(())
}

async fn applied_versions(client: &mut Client, names: &Names) -> Result<Vec<i32>, MigrateError> {
    let history = history_table(names);
    let exists = client
        .query_one("select pg_catalog.to_regclass($1) is not null", &[&history])
        .await?
        .try_get::<_, bool>(0)?;
    if !exists {
        return Ok(Vec::new());
    }
    let applied = runner(names)?.get_applied_migrations_async(client).await?;
    Ok(applied.iter().map(Migration::version).collect())
}

fn history_table(names: &Names) -> String {
    format!("{}.schema_history", names.schema())
}

/// The embedded migrations with this installation's names.
fn sorted(names: &Names) -> Result<Vec<Migration>, MigrateError> {
    let mut migrations = embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(|m| {
            let file = format!("V{}__{}", m.version(), m.name());
            Migration::unapplied(&file, &names.render(m.sql().unwrap_or_default()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    migrations.sort();
    Ok(migrations)
}

fn runner(names: &Names) -> Result<Runner, MigrateError> {
    let mut runner = Runner::new(&sorted(names)?)
        .set_abort_divergent(true)
        // A database that is ahead of the program must not be touched by it.
        .set_abort_missing(true);
    runner.set_migration_table_name(history_table(names));
    Ok(runner)
}

fn status_of(migration: &Migration, applied: bool) -> MigrationStatus {
    MigrationStatus {
        version: migration.version(),
        name: migration.name().to_owned(),
        applied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_there_once() {
        let migrations = sorted(&Names::default()).unwrap();
        let versions: Vec<i32> = migrations.iter().map(Migration::version).collect();
        assert!(
            versions.windows(2).all(|pair| pair[0] < pair[1]),
            "{versions:?}"
        );
        assert_eq!(versions.last(), Some(&latest_version()));
    }

    #[test]
    fn other_names_leave_no_default_name_behind() {
        let names = Names::new("gate", "acme").unwrap();
        for migration in sorted(&names).unwrap() {
            for line in migration.sql().unwrap_or_default().lines() {
                let code = line.split("--").next().unwrap_or_default();
                let code = code
                    .replace("rolegate.signed_claims", "")
                    .replace("rolegate_events", "")
                    .replace("rolegate_jobs", "")
                    .replace("rolegate_job_cancel", "");
                assert!(!code.contains("rolegate"), "{line}");
            }
        }
    }
}
