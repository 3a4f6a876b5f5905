//! The statement of a call.
//!
//! Its text depends on the function and on which of its arguments are given, never on their
//! values, so that it stays prepared. Arguments are given by position up to the first one left to
//! its default, by name from there on: by position, two overloads with the same names in another
//! order can't be taken for each other. The comment at the end holds the function's OID: overloads
//! differ in the types of their parameters, which the text would not show.

use std::sync::Arc;

use bytes::Bytes;
use rolegate_pg::Statement;
use rolegate_pg::catalog::{
    Argument, ArgumentMode, Function, FunctionKind, Snapshot, Types, Volatility,
};
use rolegate_pg::quote;
use rolegate_pg::session::Access;

use crate::arguments::{self, Passing};
use crate::error::{CallError, InvalidParams};
use crate::kind::{self, Kind};
use crate::params::Params;
use crate::resolve::{Resolved, resolve};

/// A call, ready to be sent.
#[derive(Debug, Clone)]
pub struct Call {
    /// The statement.
    pub statement: Statement,
    /// STABLE and IMMUTABLE functions get a read-only transaction; so does every GET, which is
    /// only for them.
    pub access: Access,
    /// How to read the rows.
    pub shape: Shape,
    /// What makes one JSON text of a procedure's row, where its text alone does not say enough.
    pub reread: Option<Reread>,
    /// The function that was chosen.
    pub function: Arc<Function>,
}

/// The columns of a procedure's row go back to PostgreSQL as parameters, which makes JSON of them
/// as it does of a function's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reread {
    /// The statement.
    pub sql: Arc<str>,
    /// Types of its parameters.
    pub types: Vec<u32>,
}

/// How to read the rows of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// One row with one JSON text, or NULL.
    Scalar,
    /// Any number of rows, each one JSON text or NULL: the elements of an array.
    Rows,
    /// Nothing worth reading: the result is null.
    Void,
    /// The one row of a procedure, its columns to be put into an object.
    Columns(Arc<[Column]>),
}

/// A column of a procedure's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// How its text becomes JSON.
    pub text: ColumnText,
}

/// How the text of a column becomes JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnText {
    /// `t` or `f`.
    Boolean,
    /// A number, unless it is `NaN` or infinite: those are strings, as with `to_json`.
    Number,
    /// JSON already.
    Json,
    /// A string.
    String,
}

/// Resolves a method and makes its statement.
pub fn prepare(
    snapshot: &Snapshot,
    method: &str,
    params: &Params<'_>,
    may_execute: impl Fn(&Function) -> bool,
) -> Result<Call, CallError> {
    let resolved = resolve(snapshot, method, params, may_execute)?;
    call(snapshot, &resolved).map_err(|mut invalid| {
        invalid.candidates = vec![crate::resolve::signature(snapshot, &resolved.function)];
        invalid.into()
    })
}

fn call(snapshot: &Snapshot, resolved: &Resolved<'_>) -> Result<Call, InvalidParams> {
    let types = snapshot.types();
    let function = &resolved.function;
    let written = Written::of(types, resolved)?;
    let name = quote::qualified(&function.schema, &function.name);
    let invocation = format!("{name}({})", written.list);
    let mut reread = None;
    let (sql, shape) = match function.kind {
        FunctionKind::Procedure => {
            reread = reread_of(types, function);
            let shape = match &reread {
                Some(_) => Shape::Scalar,
                None => procedure_shape(types, function),
            };
            (format!("call {invocation}"), shape)
        }
        FunctionKind::Function => select(types, function, &invocation),
    };
    let access = match (function.kind, function.volatility) {
        (FunctionKind::Function, Volatility::Stable | Volatility::Immutable) => Access::ReadOnly,
        _ => Access::ReadWrite,
    };
    let mut statement = Statement::prepared(format!("{sql} /* {} */", function.oid));
    statement.types = written.types;
    statement.params = written.params;
    Ok(Call {
        statement,
        access,
        shape,
        reread,
        function: Arc::clone(function),
    })
}

/// The select of a function. Rows come from the FROM clause, where the planner can look into a
/// SQL function.
fn select(types: &Types, function: &Function, invocation: &str) -> (String, Shape) {
    let returns = &function.returns;
    let kind = Kind::of(types, returns.type_oid);
    if kind == Kind::Void {
        return (format!("select {invocation}"), Shape::Void);
    }
    let (value, from) = if returns.set {
        ("result.*", format!(" from {invocation} result"))
    } else {
        (invocation, String::new())
    };
    let json = match returns.columns.as_slice() {
        // A single declared column is one of a row that can grow, not a bare value.
        [(column, _)] => {
            format!(
                "pg_catalog.json_build_object({}, {value})",
                quote::literal(column)
            )
        }
        _ if kind == Kind::Json => value.to_owned(),
        _ => format!("pg_catalog.to_json({value})"),
    };
    let shape = if returns.set {
        Shape::Rows
    } else {
        Shape::Scalar
    };
    (format!("select ({json})::pg_catalog.text{from}"), shape)
}

/// What reads the row of a procedure again; `None` if the text of each column is enough. It costs
/// a round trip, so it is only for types whose JSON PostgreSQL has to make: what is made of other
/// values, points in time, and what an extension may have a cast to JSON for.
fn reread_of(types: &Types, function: &Function) -> Option<Reread> {
    let columns = &function.returns.columns;
    let is_plain = |(_, type_oid): &(String, u32)| match Kind::of(types, *type_oid) {
        Kind::Array(_) | Kind::Composite(_) | Kind::Foreign => false,
        _ => !matches!(
            kind::base(types, *type_oid),
            kind::oid::DATE | kind::oid::TIMESTAMP | kind::oid::TIMESTAMPTZ
        ),
    };
    if columns.iter().all(is_plain) {
        return None;
    }
    let list: Vec<String> = columns
        .iter()
        .zip(1..)
        .map(|((name, _), number)| format!("${number} as {}", quote::ident(name)))
        .collect();
    let sql = format!(
        "select pg_catalog.row_to_json(result.*)::pg_catalog.text from (select {}) result /* {} */",
        list.join(", "),
        function.oid
    );
    // A value of a domain has passed its constraints.
    let types = columns
        .iter()
        .map(|(_, type_oid)| kind::base(types, *type_oid));
    Some(Reread {
        sql: sql.into(),
        types: types.collect(),
    })
}

fn procedure_shape(types: &Types, function: &Function) -> Shape {
    if function.returns.columns.is_empty() {
        return Shape::Void;
    }
    let columns = function
        .returns
        .columns
        .iter()
        .map(|(name, type_oid)| Column {
            name: name.clone(),
            text: match Kind::of(types, *type_oid) {
                Kind::Boolean => ColumnText::Boolean,
                Kind::Json => ColumnText::Json,
                // `money` has a currency sign.
                Kind::Integer | Kind::Number
                    if kind::base(types, *type_oid) != kind::oid::MONEY =>
                {
                    ColumnText::Number
                }
                _ => ColumnText::String,
            },
        });
    Shape::Columns(columns.collect())
}

/// The arguments as they stand between the parentheses, with their parameters.
#[derive(Debug, Default)]
struct Written {
    list: String,
    types: Vec<u32>,
    params: Vec<Option<Bytes>>,
}

impl Written {
    fn of(types: &Types, resolved: &Resolved<'_>) -> Result<Self, InvalidParams> {
        let mut written = Self::default();
        let mut by_name = false;
        let arguments = resolved.function.arguments.iter().zip(&resolved.values);
        for (index, (argument, value)) in arguments.enumerate() {
            let label = crate::resolve::label(argument, index);
            let (passing, param) = match value {
                Some(value) => (
                    arguments::passing(types, argument.type_oid),
                    arguments::parameter(types, argument.type_oid, value, &label)?,
                ),
                // The type tells which procedure is meant, so the null is a parameter too.
                None if argument.mode == ArgumentMode::Out => (Passing::Direct, None),
                None => {
                    by_name = true;
                    continue;
                }
            };
            written.argument(types, argument, passing, param, by_name)?;
        }
        Ok(written)
    }

    fn argument(
        &mut self,
        types: &Types,
        argument: &Argument,
        passing: Passing,
        param: Option<Bytes>,
        by_name: bool,
    ) -> Result<(), InvalidParams> {
        if !self.list.is_empty() {
            self.list.push_str(", ");
        }
        if argument.mode == ArgumentMode::Variadic {
            self.list.push_str("variadic ");
        }
        if by_name {
            let name = argument.name.as_deref().ok_or_else(|| {
                InvalidParams::new("an argument without a name follows one that is left out")
            })?;
            self.list.push_str(&quote::ident(name));
            self.list.push_str(" => ");
        }
        self.params.push(param);
        let parameter = format!("${}", self.params.len());
        match passing {
            Passing::Direct => {
                self.types.push(argument.type_oid);
                self.list.push_str(&parameter);
            }
            Passing::Converted => {
                self.types.push(kind::oid::JSON);
                let target = kind::sql_name(types, argument.type_oid)
                    .ok_or_else(|| InvalidParams::new("an argument has an unknown type"))?;
                self.list
                    .push_str("(select x.v from pg_catalog.json_to_record(");
                self.list.push_str(&parameter);
                self.list.push_str(") as x(v ");
                self.list.push_str(&target);
                self.list.push_str("))");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
