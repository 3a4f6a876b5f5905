//! Why a function may not run in assume mode.

/// Why a function may not run in assume mode, as the end of "it is refused because ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A language whose code is not looked at.
    #[error("its language {0} is not one whose code can be checked (sql and plpgsql are)")]
    Language(String),
    /// A SQL-standard body, which the catalog keeps in parsed form only.
    #[error("its body is not available as text")]
    NoBody,
    /// Text that can't be taken apart with certainty.
    #[error("its body can't be read with certainty: {0}")]
    Unreadable(&'static str),
    /// SQL made at run time.
    #[error("it runs SQL that is made at run time (`{0}`)")]
    DynamicSql(String),
    /// A command that could change the session.
    #[error("it uses the command `{0}`, which could change the session or its role")]
    Command(String),
    /// `commit`, `rollback` and the like.
    #[error("it ends transactions (`{0}`), and the role is set for one transaction only")]
    TransactionControl(String),
    /// A built-in function that takes SQL text or table names, or changes settings.
    #[error("it uses the function `{0}`, which can run SQL text or change the session")]
    DangerousFunction(String),
    /// A function that is refused itself.
    #[error("it uses the function `{0}`, which may not run in assume mode itself")]
    UnsafeFunction(String),
    /// A function nothing is known about.
    #[error("it uses the function `{0}`, which is not known to be safe")]
    UnknownFunction(String),
    /// A `set` clause that changes who runs the function.
    #[error("its own `set {0}` changes who runs it")]
    SetClause(String),
    /// An operator of another schema than `pg_catalog`.
    #[error("it names an operator of the schema `{0}`, whose function is not known")]
    Operator(String),
}
