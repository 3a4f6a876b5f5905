//! The answer of the method `capabilities`.

use std::sync::Arc;

use rolegate_pg::catalog::{Function, FunctionKind, Snapshot, Volatility};
use serde_json::{Value, json};

use super::function::described;
use super::json_schema::{Named, Schemas};
use crate::resolve::signature;

/// An array with one object for each function, overloads each by themselves. Its schemas stand
/// alone.
pub fn capabilities(snapshot: &Snapshot, functions: &[Arc<Function>]) -> Value {
    described(snapshot, functions)
        .iter()
        .map(|described| {
            let mut schemas = Schemas::new(snapshot.types(), Named::Inline);
            let function = described.function;
            let params = described.params_schema(&mut schemas);
            let result = described.result_schema(&mut schemas);
            json!({
                "method": described.method(),
                "signature": signature(snapshot, function),
                "kind": match function.kind {
                    FunctionKind::Function => "function",
                    FunctionKind::Procedure => "procedure",
                },
                "volatility": match function.volatility {
                    Volatility::Volatile => "volatile",
                    Volatility::Stable => "stable",
                    Volatility::Immutable => "immutable",
                },
                "read_only": described.is_read_only(),
                "comment": described.documentation.description,
                "params": params,
                "result": result,
            })
        })
        .collect()
}
