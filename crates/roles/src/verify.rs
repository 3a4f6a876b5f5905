//! Proof that each login can do what it must and cannot do what it must not.
//!
//! Two ways, because neither sees everything: every login tries statements, and the catalog is
//! compared with the whole matrix, which also finds what nobody thought of trying.

mod attempts;
mod catalog;
mod functions;
mod logins;

use std::future::Future;

use serde::Serialize;
use tokio_postgres::Client;

use crate::names::Names;

/// What was checked and what came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Who tried; `None` for what was read from the catalog.
    pub login: Option<String>,
    /// The statement, or the rule.
    pub what: String,
    /// What must come out: `ok`, a SQLSTATE, or words.
    pub expected: String,
    /// What did come out.
    pub found: String,
}

impl Check {
    /// Whether it came out as it must.
    pub fn passed(&self) -> bool {
        self.expected == self.found
    }
}

/// All checks of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order they were made.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether all of them passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(Check::passed)
    }

    /// Those that did not.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed())
    }
}

/// Why the verification could not be made. That it failed is not an error but a [`Report`].
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The connection as this login did not come about.
    #[error("cannot connect as {login}")]
    Connect {
        /// The login.
        login: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A question about the catalog failed.
    #[error("the catalog cannot be read")]
    Catalog(#[from] tokio_postgres::Error),
    /// The connection was lost while a login tried its statements.
    #[error("the connection of {login} was lost")]
    Lost {
        /// The login.
        login: String,
        /// Why.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// Connects as every login, one after the other, and makes all checks.
///
/// `connect` opens a connection to the database as the named login and drives it. Every statement
/// is rolled back.
pub async fn verify<C, F, E>(names: &Names, connect: C) -> Result<Report, VerifyError>
where
    C: Fn(String) -> F,
    F: Future<Output = Result<Client, E>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut checks = Vec::new();
    for login in logins::LOGINS {
        let name = names.role(login.name);
        let client = connect(name.clone())
            .await
            .map_err(|e| VerifyError::Connect {
                login: name.clone(),
                source: e.into(),
            })?;
        attempts::try_all(&client, names, login, &mut checks)
            .await
            .map_err(|source| VerifyError::Lost {
                login: name.clone(),
                source,
            })?;
        // Any login may read the catalog; the gateway's is always there.
        if login.name == "gateway" {
            catalog::compare(&client, names, &mut checks).await?;
        }
    }
    Ok(Report { checks })
}
