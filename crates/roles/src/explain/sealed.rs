//! The transaction in which a question is answered, and how something is tried as the role.

use rolegate_pg::quote;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::{ExplainError, Question};

/// What runs as the role of the question.
const AS_ROLE: &str = "rolegate_as_role";
/// What reads a row past its policies, to evaluate them on it.
const AS_READER: &str = "rolegate_as_reader";

/// Whose rights something is tried with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// Those of the role of the question.
    Role,
    /// Those of a role that exists only in this transaction: reads every row and does no more.
    Reader,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tried {
    /// The lines of the result.
    Lines(Vec<String>),
    /// The server refused it to the role, in its words.
    Refused(String),
    /// It failed otherwise, in the server's words.
    Failed(String),
}

/// One question's transaction.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of the catalog"
)]
pub(super) struct Asking<'a> {
    pub(super) client: &'a Client,
    pub(super) role_oid: u32,
    /// Nobody asks such a role anything.
    pub(super) superuser: bool,
    /// BYPASSRLS of the role itself; it is not inherited.
    pub(super) bypasses: bool,
    /// Whether things can be tried on this connection.
    pub(super) may_try: bool,
    pub(super) has_claims: bool,
    /// Where names without a schema are looked for.
    pub(super) schemas: Vec<String>,
    role: &'a str,
    search_path: String,
}

impl<'a> Asking<'a> {
    pub(super) async fn begin(
        client: &'a Client,
        question: &'a Question,
    ) -> Result<Self, ExplainError> {
        let row = client
            .query_opt(include_str!("sql/role.sql"), &[&question.role])
            .await?
            .ok_or_else(|| ExplainError::RoleUnknown(question.role.clone()))?;
        let asking = Self {
            client,
            role_oid: row.try_get("role_oid")?,
            superuser: row.try_get("superuser")?,
            bypasses: row.try_get("bypasses")?,
            may_try: row.try_get("may_try")?,
            has_claims: question.claims.is_some(),
            schemas: row.try_get("schemas")?,
            role: &question.role,
            search_path: row.try_get("search_path")?,
        };
        client.batch_execute("begin").await?;
        match asking.prepare(question).await {
            Ok(()) => Ok(asking),
            Err(error) => {
                // The first error is the one to report.
                let _ = asking.end().await;
                Err(error.into())
            }
        }
    }

    pub(super) async fn end(&self) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute("rollback").await
    }

    async fn prepare(&self, question: &Question) -> Result<(), tokio_postgres::Error> {
        self.client
            .batch_execute(
                "set local statement_timeout = '2s'; set local lock_timeout = '1s'; \
                 set local search_path = ''",
            )
            .await?;
        let claims = question.claims.as_deref().unwrap_or("{}");
        self.client
            .query(
                "select pg_catalog.set_config('request.jwt.claims', $1, true)",
                &[&claims],
            )
            .await?;
        if self.may_try {
            self.seal().await?;
        }
        self.client.batch_execute("set transaction read only").await
    }

    async fn seal(&self) -> Result<(), tokio_postgres::Error> {
        let pid: i32 = self
            .client
            .query_one("select pg_catalog.pg_backend_pid()", &[])
            .await?
            .try_get(0)?;
        // Never seen by others: the transaction that makes it is rolled back.
        let reader = quote::ident(&["rolegate_explain_", &pid.to_string()].concat());
        let make = [
            "create role ",
            &reader,
            " nologin bypassrls in role pg_read_all_data",
        ];
        self.client.batch_execute(&make.concat()).await?;
        for (function, owner) in [(AS_ROLE, &quote::ident(self.role)), (AS_READER, &reader)] {
            let name = quote::ident(function);
            let create = include_str!("sql/sealed.sql").replace("\"the function\"", &name);
            self.client.batch_execute(&create).await?;
            let give = [
                "alter function pg_temp.",
                &name,
                "(text, text[]) owner to ",
                owner,
            ];
            self.client.batch_execute(&give.concat()).await?;
        }
        Ok(())
    }

    /// Runs one statement, in which `$1` is the array `arguments`, and rolls it back.
    pub(super) async fn attempt(
        &self,
        rights: Rights,
        statement: &str,
        arguments: &[&str],
    ) -> Result<Tried, tokio_postgres::Error> {
        self.client.batch_execute("savepoint attempt").await?;
        let result = self.in_savepoint(rights, statement, arguments).await;
        // Also puts the role and the search path back.
        self.client
            .batch_execute("rollback to attempt; release attempt")
            .await?;
        match result {
            Ok(rows) => rows
                .iter()
                .map(|row| row.try_get(0))
                .collect::<Result<_, _>>()
                .map(Tried::Lines),
            Err(error) => match error.as_db_error() {
                // The same SQLSTATE is raised by authors, and by the seal against a change of role.
                // The server's routine tells a missing grant from these, in every language.
                Some(refusal)
                    if refusal.code() == &SqlState::INSUFFICIENT_PRIVILEGE
                        && refusal
                            .routine()
                            .is_some_and(|r| r.starts_with("aclcheck_error")) =>
                {
                    Ok(Tried::Refused(refusal.message().to_owned()))
                }
                Some(failure) => Ok(Tried::Failed(failure.message().to_owned())),
                None => Err(error),
            },
        }
    }

    async fn in_savepoint(
        &self,
        rights: Rights,
        statement: &str,
        arguments: &[&str],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        // Functions that policies call find their names as in a session of this connection.
        self.client
            .query(
                "select pg_catalog.set_config('search_path', $1, true)",
                &[&self.search_path],
            )
            .await?;
        let function = match rights {
            Rights::Role => {
                // For what reads the setting; the rights come from the function's owner.
                self.client
                    .query(
                        "select pg_catalog.set_config('role', $1, true)",
                        &[&self.role],
                    )
                    .await?;
                AS_ROLE
            }
            Rights::Reader => AS_READER,
        };
        let call = [
            "select coalesce(line, '') from pg_temp.",
            &quote::ident(function),
            "($1::pg_catalog.text, $2::pg_catalog.text[]) line",
        ];
        self.client
            .query(&call.concat(), &[&statement, &arguments])
            .await
    }
}
