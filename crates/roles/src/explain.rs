//! Why a role may or may not do something: the verdict, and the chain that decides it.
//!
//! Grants are answered by the server's own `has_..._privilege`; the chain beside the answer is read
//! from the catalog. What depends on policies or views is tried: planned, or evaluated for one
//! row, as the role, in a read-only transaction that is rolled back.
//!
//! Trying runs code that others wrote, on a superuser's connection. It happens inside a temporary
//! SECURITY DEFINER function that the role owns: there the server refuses every change of role.
//! On any other connection nothing is tried, and what would need it is [`Verdict::Unknown`].

mod function;
mod grants;
mod name;
mod relation;
mod row_security;
mod sealed;
mod statement;
mod table;
mod text;

use serde::Serialize;
use tokio_postgres::Client;

pub use name::parts as name_parts;
pub use table::Privilege;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The role.
    pub role: String,
    /// What it wants.
    pub target: Target,
    /// `request.jwt.claims` as JSON text, for policies that read it. Signed claims cannot be
    /// given: policies that call `rolegate.claim` are unknown for a row.
    pub claims: Option<String>,
}

/// What a role may want.
#[derive(Debug, Clone)]
pub enum Target {
    /// To call a function: `schema.name`, or with argument types if there are several.
    Function(String),
    /// To use a table, view, materialized view or foreign table.
    Table {
        /// `schema.name`.
        name: String,
        /// How.
        privilege: Privilege,
        /// Which columns are read or written; all of them if empty.
        columns: Vec<String>,
        /// Column and value as text: which row; for INSERT, the new row.
        key: Vec<(String, String)>,
    },
    /// To run one statement. It is planned and not run.
    Sql(String),
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may. Without a key this is about the statement: policies may still hide every row.
    Allowed,
    /// It depends on what cannot be known here; the steps say on what.
    Unknown,
    /// It may not.
    Denied,
}

impl Verdict {
    /// `allowed`, `unknown` or `denied`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Unknown => "unknown",
            Self::Denied => "denied",
        }
    }

    fn of(holds: bool) -> Self {
        if holds { Self::Allowed } else { Self::Denied }
    }
}

/// What kind of step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// USAGE on the schema.
    Schema,
    /// A privilege on the object.
    Grant,
    /// A privilege on single columns.
    ColumnGrant,
    /// From here on with another role's rights: a view or a definer function.
    Hop,
    /// Whether row-level security is asked, and what its policies say together.
    RowSecurity,
    /// One policy.
    Policy,
    /// What the server said when it planned the statement for the role.
    Plan,
}

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What kind.
    pub kind: StepKind,
    /// What it says by itself. Policies are combined in a step of kind [`StepKind::RowSecurity`].
    pub verdict: Verdict,
    /// One sentence.
    pub text: String,
    /// Who, through which membership, by which grant.
    pub via: Vec<String>,
}

/// The verdict and how it comes about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The role.
    pub role: String,
    /// What it wants, in words.
    pub target: String,
    /// The worst of the steps that count.
    pub verdict: Verdict,
    /// In the order the server asks.
    pub steps: Vec<Step>,
}

impl Explanation {
    /// The explanation for people.
    pub fn render_text(&self) -> String {
        text::render(self)
    }

    /// The explanation as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// No such role.
    #[error("there is no role {0}")]
    RoleUnknown(String),
    /// The text is no name.
    #[error("{0:?} is not a name; write schema.name, with double quotes where SQL needs them")]
    Name(String),
    /// No such function or relation.
    #[error("there is no {0}")]
    ObjectUnknown(String),
    /// Several functions have this name.
    #[error("the name fits several functions: {}", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// No such column.
    #[error("{relation} has no column {column}")]
    ColumnUnknown {
        /// The relation.
        relation: String,
        /// The column.
        column: String,
    },
    /// The server refused a question to its catalog.
    #[error("the catalog cannot be read")]
    Postgres(#[from] tokio_postgres::Error),
}

/// Answers `question` on the connected database.
///
/// Uses the connection's transaction from begin to rollback, so nothing else may use the
/// connection meanwhile; statements are limited to 2 s. A future that is dropped before its end
/// leaves the transaction open.
pub async fn explain(client: &Client, question: &Question) -> Result<Explanation, ExplainError> {
    let asking = sealed::Asking::begin(client, question).await?;
    let result = match &question.target {
        Target::Function(name) => function::explain(&asking, name).await,
        Target::Table {
            name,
            privilege,
            columns,
            key,
        } => table::explain(&asking, name, *privilege, columns, key).await,
        Target::Sql(sql) => statement::explain(&asking, sql).await,
    };
    let ended = asking.end().await;
    let (target, steps) = result?;
    ended?;
    // Single policies are only parts of the step that combines them.
    let verdict = steps
        .iter()
        .filter(|step| step.kind != StepKind::Policy)
        .map(|step| step.verdict)
        .max()
        .unwrap_or(Verdict::Unknown);
    Ok(Explanation {
        role: question.role.clone(),
        target,
        verdict,
        steps,
    })
}
