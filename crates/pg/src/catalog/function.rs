//! Functions and their types as the catalog describes them.

use std::collections::HashMap;
use std::sync::Arc;

/// A function or procedure in an exposed schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// OID in `pg_proc`.
    pub oid: u32,
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// `function` or `procedure` (aggregates and window functions are not exposed).
    pub kind: FunctionKind,
    /// Input arguments in call order (`IN`, `INOUT`, `VARIADIC`), for procedures `OUT` too.
    pub arguments: Vec<Argument>,
    /// What comes back.
    pub returns: Returns,
    /// Declared volatility.
    pub volatility: Volatility,
    /// Runs as its owner.
    pub security_definer: bool,
    /// Language name (`sql`, `plpgsql`, ...).
    pub language: String,
    /// Body text, for the check of assume mode; `None` for SQL-standard bodies.
    pub source: Option<Arc<str>>,
    /// Its `set` clauses, as `name=value`.
    pub settings: Vec<String>,
    /// Text of `COMMENT ON`.
    pub comment: Option<String>,
    /// Declared safe for assume mode in its present definition.
    pub declared_safe: bool,
}

impl Function {
    /// `schema.name`, unquoted: the method name of JSON-RPC.
    pub fn method(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Arguments a caller may give.
    pub fn inputs(&self) -> impl Iterator<Item = &Argument> {
        self.arguments
            .iter()
            .filter(|argument| argument.mode != ArgumentMode::Out)
    }
}

/// `prokind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// `create function`.
    Function,
    /// `create procedure`, called by `call`.
    Procedure,
}

/// `provolatile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volatility {
    /// May write.
    Volatile,
    /// Reads only; same result within a statement.
    Stable,
    /// Depends on its arguments alone.
    Immutable,
}

/// An argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Unquoted name; `None` if it has none (then it is positional only).
    pub name: Option<String>,
    /// OID of its type, a key of [`Types`]. For `VARIADIC` the array type.
    pub type_oid: u32,
    /// Mode.
    pub mode: ArgumentMode,
    /// Has a default, so it may be missing.
    pub has_default: bool,
}

/// `proargmodes`, without `TABLE` columns, which are part of [`Returns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentMode {
    /// `IN`.
    In,
    /// `INOUT`.
    InOut,
    /// `VARIADIC`; always last.
    Variadic,
    /// `OUT` of a procedure.
    Out,
}

/// A function's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returns {
    /// `SETOF` or `TABLE`: any number of rows.
    pub set: bool,
    /// OID of the result type (of one row).
    pub type_oid: u32,
    /// `OUT`, `INOUT` and `TABLE` columns with their types, in order; empty if there are none.
    pub columns: Vec<(String, u32)>,
}

/// The types that functions of a snapshot use, by OID, with everything they are made of.
pub type Types = HashMap<u32, Type>;

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// OID in `pg_type`.
    pub oid: u32,
    /// The type as SQL text, schema-qualified and quoted where needed (`format_type` with an
    /// empty search path): safe to put into a statement.
    pub sql: String,
    /// Unqualified name in `pg_type` (`int4`, `text`, ...).
    pub name: String,
    /// What it is made of.
    pub shape: TypeShape,
    /// Text of `COMMENT ON TYPE`.
    pub comment: Option<String>,
}

/// What a type is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeShape {
    /// A base type: takes a text literal.
    Scalar,
    /// `json` or `jsonb`: takes JSON text.
    Json,
    /// An array of the type.
    Array(u32),
    /// A row type with its columns.
    Composite(Vec<(String, u32)>),
    /// An enum with its labels in order.
    Enum(Vec<String>),
    /// A domain over a type.
    Domain {
        /// The type below.
        base: u32,
        /// Declared `NOT NULL`.
        not_null: bool,
    },
    /// A range or multirange: takes a text literal.
    Range,
    /// `void`.
    Void,
    /// A pseudo type other than `void` (`record`, `anyelement`, `trigger`, ...).
    Pseudo,
}
