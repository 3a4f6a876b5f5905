//! What a login tries.

use rolegate_pg::quote;
use tokio_postgres::Client;

use super::Check;
use super::functions::{self, PUBLIC};
use super::logins::{CALLER_CODE, CALLER_CODE_ATTEMPTS, EVERY_LOGIN, Login};
use crate::names::Names;

const DENIED: Option<&str> = Some("42501");

/// Lets `login` try everything, and adds what came out. Errors are those of the connection.
pub(super) async fn try_all(
    client: &Client,
    names: &Names,
    login: &Login,
    checks: &mut Vec<Check>,
) -> Result<(), tokio_postgres::Error> {
    let attempt = Attempts {
        client,
        names,
        login,
    };
    for (statement, expected) in EVERY_LOGIN {
        checks.push(attempt.try_one(statement, *expected).await?);
    }
    if CALLER_CODE.contains(&login.name) {
        for (statement, expected) in CALLER_CODE_ATTEMPTS {
            checks.push(attempt.try_one(statement, *expected).await?);
        }
    }
    let may_lock = if login.locks { None } else { DENIED };
    checks.push(
        attempt
            .try_one("select pg_catalog.pg_advisory_lock(1)", may_lock)
            .await?,
    );
    let may_migrate = if login.migrates { None } else { DENIED };
    checks.push(
        attempt
            .try_one("set role rolegate_owner", may_migrate)
            .await?,
    );
    checks.extend(attempt.become_superusers().await?);
    checks.extend(attempt.read_tables().await?);
    for function in functions::all() {
        let allowed = function
            .grantees
            .iter()
            .any(|grantee| *grantee == PUBLIC || login.acts_as.contains(grantee));
        let expected = if allowed { function.raises } else { DENIED };
        checks.push(attempt.try_one(function.call, expected).await?);
    }
    Ok(())
}

struct Attempts<'a> {
    client: &'a Client,
    names: &'a Names,
    login: &'a Login,
}

impl Attempts<'_> {
    /// Runs `statement`, undoes it and compares.
    async fn try_one(
        &self,
        statement: &str,
        expected: Option<&str>,
    ) -> Result<Check, tokio_postgres::Error> {
        let sql = self.names.render(statement);
        self.client.batch_execute("begin").await?;
        let found = match self.client.batch_execute(&sql).await {
            Ok(()) => "ok".to_owned(),
            Err(error) => match error.code() {
                Some(code) => code.code().to_owned(),
                None => return Err(error),
            },
        };
        // Locks of the session are the one thing that a rollback leaves.
        self.client
            .batch_execute("rollback; select pg_catalog.pg_advisory_unlock_all()")
            .await?;
        Ok(Check {
            login: Some(self.names.role(self.login.name)),
            what: sql.into_owned(),
            expected: expected.unwrap_or("ok").to_owned(),
            found,
        })
    }

    async fn become_superusers(&self) -> Result<Vec<Check>, tokio_postgres::Error> {
        let rows = self
            .client
            .query(
                "select r.rolname::pg_catalog.text from pg_catalog.pg_roles r where r.rolsuper",
                &[],
            )
            .await?;
        let mut checks = Vec::with_capacity(rows.len());
        for row in rows {
            let role: String = row.try_get(0)?;
            let statement = ["set role ", &quote::ident(&role)].concat();
            checks.push(self.try_one(&statement, DENIED).await?);
        }
        Ok(checks)
    }

    /// Every table that is there, so that one added later is tried too.
    async fn read_tables(&self) -> Result<Vec<Check>, tokio_postgres::Error> {
        let rows = self
            .client
            .query(
                "select c.relname::pg_catalog.text from pg_catalog.pg_class c \
                 join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                 where n.nspname = $1::pg_catalog.text and c.relkind in ('r', 'p', 'v', 'm', 'S') \
                 order by 1",
                &[&self.names.schema()],
            )
            .await?;
        let mut checks = Vec::with_capacity(rows.len());
        for row in rows {
            let table: String = row.try_get(0)?;
            let qualified = quote::qualified(self.names.schema(), &table);
            let statement = ["select from ", &qualified].concat();
            checks.push(self.try_one(&statement, DENIED).await?);
        }
        Ok(checks)
    }
}
