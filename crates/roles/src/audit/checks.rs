//! One file for each group of checks, each beside its SQL.
//!
//! Every query gives the same columns: `id`, `severity`, `object`, `message`, `chain` and `fix`.
//! They run in one read-only snapshot with an empty search path, so that the names in the answers
//! are complete and the answers fit together.

mod admitted_group;
mod anonymous;
mod builtin;
mod database;
mod definer_functions;
mod dynamic_sql;
pub(super) mod files;
mod hba;
pub(super) mod issuers;
mod password_check;
mod policies;
mod public_functions;
mod public_grants;
pub(super) mod roles;
mod row_security;
mod slots;
mod views;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use self::files::Files;
use super::finding::{Finding, Severity};
use super::{AuditError, AuditOptions, Mode};

/// Stands before the SQL of checks that are about roles.
const SUBJECTS_SQL: &str = include_str!("checks/subjects.sql");

/// A group of checks that is one query.
struct Check {
    name: &'static str,
    /// Whether the query goes on after [`SUBJECTS_SQL`], with its parameters.
    with_subjects: bool,
    sql: &'static str,
}

const CHECKS: [Check; 11] = [
    public_grants::CHECK,
    public_functions::CHECK,
    anonymous::CHECK,
    definer_functions::CHECK,
    views::CHECK,
    row_security::CHECK,
    policies::CHECK,
    database::CHECK,
    builtin::CHECK,
    slots::CHECK,
    admitted_group::ENGINE,
];

pub(super) async fn run_all(
    client: &Client,
    options: &AuditOptions,
    files: Files,
) -> Result<Vec<Finding>, AuditError> {
    client
        .batch_execute(
            "begin transaction isolation level repeatable read read only; \
             set local search_path = ''",
        )
        .await?;
    let result = in_snapshot(client, options, files).await;
    let ended = client.batch_execute("rollback").await;
    let findings = result?;
    ended?;
    Ok(findings)
}

async fn in_snapshot(
    client: &Client,
    options: &AuditOptions,
    files: Files,
) -> Result<Vec<Finding>, AuditError> {
    let anonymous = options.anonymous();
    let subjects: [&(dyn ToSql + Sync); 2] = [&anonymous, &options.exposed_schemas];
    let mut findings = Vec::new();
    for check in &CHECKS {
        let parameters = if check.with_subjects {
            &subjects[..]
        } else {
            &[]
        };
        findings.extend(ask(client, options, check, parameters).await?);
    }
    if options.mode == Mode::Assume {
        let safe = dynamic_sql::declared_safe(client, &options.names)
            .await
            .map_err(|source| AuditError::Check {
                check: "dynamic_sql",
                source,
            })?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&anonymous, &options.exposed_schemas, &safe];
        findings.extend(ask(client, options, &dynamic_sql::CHECK, &parameters).await?);
    }
    let grantors = if files.both() {
        &admitted_group::GRANTORS
    } else {
        &admitted_group::GRANTORS_UNREAD
    };
    findings.extend(ask(client, options, grantors, &[]).await?);
    if files.hba {
        findings.extend(ask(client, options, &hba::CHECK, &[]).await?);
        let gateway = options.gateway.as_ref();
        if let Some(target) = gateway.and_then(|gateway| gateway.password_check.as_ref()) {
            let loopback = target.loopback();
            let parameters: [&(dyn ToSql + Sync); 2] = [&loopback, &target.tls];
            findings.extend(ask(client, options, &password_check::CHECK, &parameters).await?);
        }
    }
    Ok(findings)
}

async fn ask(
    client: &Client,
    options: &AuditOptions,
    check: &Check,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Finding>, AuditError> {
    let failed = |source| AuditError::Check {
        check: check.name,
        source,
    };
    let sql = if check.with_subjects {
        [SUBJECTS_SQL, check.sql].concat()
    } else {
        check.sql.to_owned()
    };
    let sql = options.names.render(&sql);
    let rows = client
        .query(sql.as_ref(), parameters)
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| finding(row).map_err(failed))
        .collect()
}

fn finding(row: &Row) -> Result<Finding, tokio_postgres::Error> {
    Ok(Finding {
        id: row.try_get("id")?,
        severity: Severity::parse(row.try_get("severity")?),
        object: row.try_get("object")?,
        message: row.try_get("message")?,
        chain: row.try_get("chain")?,
        fix: row.try_get("fix")?,
    })
}
