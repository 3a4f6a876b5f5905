//! Reading what the catalog says about one role.

use std::collections::HashSet;

use rolegate_model::{RoleIdentity, RoleName};
use tokio_postgres::Client;

use super::error::CatalogError;
use super::role::{RoleBudget, RoleFacts};
use super::watch::{CatalogConfig, DatabaseFacts};
use crate::quote;

/// Settings a role must not choose for itself: they decide who it is or what names mean.
fn is_reserved(name: &str) -> bool {
    let name = name.to_lowercase();
    matches!(
        name.as_str(),
        "role" | "session_authorization" | "search_path" | "client_encoding"
    ) || [
        "request.",
        "rolegate.",
        "response.",
        "transaction_",
        "default_transaction_",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// Facts about `name`; `None` if there is no such role.
pub(super) async fn facts(
    client: &Client,
    config: &CatalogConfig,
    database: &DatabaseFacts,
    name: &RoleName,
) -> Result<Option<RoleFacts>, CatalogError> {
    let engine = format!("{}.", quote::ident(&config.engine_schema));
    let row = client
        .query_opt(
            &include_str!("sql/role.sql").replace("rolegate.", &engine),
            &[
                &name.as_str(),
                &config.authenticator,
                &config.role_prefix,
                &config.allowed_predefined_roles,
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let oid: u32 = row.try_get(0)?;
    let settings: Vec<String> = row.try_get(5)?;
    let record_sql = include_str!("sql/role_record.sql").replace("rolegate.", &engine);
    let record = client
        .query_opt(&record_sql, &[&name.as_str(), &oid])
        .await?;
    let unsigned = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    let long = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let (first_seen, budget) = match &record {
        Some(record) => (
            record.try_get(0)?,
            RoleBudget {
                requests_per_second: unsigned(record.try_get(1)?),
                concurrency: unsigned(record.try_get(2)?),
                statement_timeout_ms: unsigned(record.try_get(3)?),
                max_rows: long(record.try_get(4)?),
                max_bytes: long(record.try_get(5)?),
            },
        ),
        None => (None, RoleBudget::default()),
    };
    Ok(Some(RoleFacts {
        identity: RoleIdentity {
            name: name.clone(),
            oid,
            system_identifier: database.system_identifier,
        },
        can_login: row.try_get(1)?,
        forbidden: row.try_get::<_, Option<String>>(2)?.map(Into::into),
        memberships: row.try_get(6)?,
        admitted: row.try_get(3)?,
        assumable: row.try_get(4)?,
        settings: settings
            .iter()
            .filter_map(|setting| setting.split_once('='))
            .filter(|(name, _)| !is_reserved(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        first_seen,
        budget,
    }))
}

/// Functions of the exposed schemas the role may execute.
pub(super) async fn executable(
    client: &Client,
    schemas: &[String],
    role_oid: u32,
) -> Result<HashSet<u32>, CatalogError> {
    let rows = client
        .query(include_str!("sql/executable.sql"), &[&schemas, &role_oid])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::is_reserved;

    #[test]
    fn a_role_does_not_choose_who_it_is() {
        for name in [
            "role",
            "ROLE",
            "session_authorization",
            "search_path",
            "request.jwt.claims",
            "rolegate.signed_claims",
            "transaction_read_only",
            "default_transaction_read_only",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["statement_timeout", "work_mem", "timezone", "app.tenant"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
