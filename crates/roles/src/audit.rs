//! What is reachable that perhaps should not be: by PUBLIC, without a token, by admitted roles.
//!
//! Reads the catalog only, as an ordinary login; what that login may not read (`pg_hba.conf`), and
//! what it was not given (the gateway's configuration), is said in [`Report::unreadable`]. Roles count with their memberships, as the server counts them.

pub mod allow_list;
mod checks;
mod finding;
mod gateway;
pub mod minimum_versions;
mod report;
mod sarif;
mod text;

use tokio_postgres::Client;

use crate::closure;
use crate::names::Names;

use checks::files::Files;

pub use allow_list::{AllowEntry, AllowList, AllowListError};
pub use finding::{Finding, IDS, Severity};
pub use gateway::{Gateway, Issuer, PasswordCheck};
pub use report::{Allowed, Report};

/// How requests become roles here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A shared login switches to the role; code with dynamic SQL can leave it.
    Assume,
    /// Connections log in as the role.
    Login,
}

/// What to look at.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// The installation.
    pub names: Names,
    /// Schemas whose functions callers reach.
    pub exposed_schemas: Vec<String>,
    /// The role of requests without a token; `None` for the installation's own.
    pub anonymous_role: Option<String>,
    /// In [`Mode::Assume`], functions that keep a role out of it are findings.
    pub mode: Mode,
    /// Whether a surface runs SQL text of callers; it needs a newer minor version.
    pub runs_caller_sql: bool,
    /// Predefined roles (`pg_...`) that admitted roles may be members of.
    pub allowed_predefined: Vec<String>,
    /// The gateway's configuration, if it is at hand.
    pub gateway: Option<Gateway>,
    /// What somebody looked at and accepted.
    pub allow_list: AllowList,
}

impl AuditOptions {
    /// The strictest options for an installation and its exposed schemas.
    pub fn new(names: Names, exposed_schemas: Vec<String>) -> Self {
        Self {
            names,
            exposed_schemas,
            anonymous_role: None,
            mode: Mode::Assume,
            runs_caller_sql: true,
            allowed_predefined: Vec::new(),
            gateway: None,
            allow_list: AllowList::default(),
        }
    }

    fn anonymous(&self) -> String {
        self.anonymous_role
            .clone()
            .unwrap_or_else(|| self.names.role("anonymous"))
    }
}

/// Why the audit could not be made. That it found something is not an error but a [`Report`].
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// One question to the catalog failed.
    #[error("the check {check} failed")]
    Check {
        /// The check group.
        check: &'static str,
        /// Why.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The connection's role, version or memberships cannot be read.
    #[error("the catalog cannot be read")]
    Catalog(#[from] tokio_postgres::Error),
}

/// Makes all checks on the connected database.
///
/// The connection needs no privilege beyond reading the catalog. It is best not used for anything
/// else meanwhile: the search path is emptied for each question and put back after it.
pub async fn run(client: &Client, options: &AuditOptions) -> Result<Report, AuditError> {
    let server = client
        .query_one(
            "select pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
                pg_catalog.current_setting('server_version')::pg_catalog.text, \
                pg_catalog.current_database()::pg_catalog.text",
            &[],
        )
        .await?;
    let version_num: i32 = server.try_get(0)?;
    let files = Files::look(client).await?;
    let mut findings = checks::run_all(client, options, files).await?;
    findings.extend(minimum_versions::check(
        version_num.unsigned_abs(),
        server.try_get(1)?,
        options.runs_caller_sql,
    ));
    findings.extend(checks::roles::forbidden(
        closure::forbidden_roles(client, &options.names, None, &options.allowed_predefined).await?,
        &checks::roles::targets(client, options).await?,
    ));
    let mut unreadable = files.unreadable();
    match &options.gateway {
        Some(gateway) => findings.extend(checks::issuers::check(&gateway.issuers)),
        None => unreadable.push(
            "the gateway's configuration (audience_any, password_check_without_scram): it is not \
             at hand"
                .to_owned(),
        ),
    }
    Ok(Report::new(
        server.try_get(2)?,
        findings,
        unreadable,
        &options.allow_list,
    ))
}
