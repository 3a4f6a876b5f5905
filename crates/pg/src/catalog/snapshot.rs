//! An immutable picture of the exposed functions of one database.

use std::collections::HashMap;
use std::sync::Arc;

use super::function::{Function, Type, Types};

/// The exposed functions and their types, swapped whole when the catalog changes.
#[derive(Debug, Default)]
pub struct Snapshot {
    functions: Vec<Arc<Function>>,
    by_name: HashMap<String, Vec<Arc<Function>>>,
    types: Types,
    default_schema: String,
    has_deferrable: bool,
}

impl Snapshot {
    /// Builds a snapshot. `functions` are those of the exposed schemas; a method name without a
    /// schema means one in `default_schema`.
    pub fn new(functions: Vec<Function>, types: Types, default_schema: impl Into<String>) -> Self {
        let functions: Vec<Arc<Function>> = functions.into_iter().map(Arc::new).collect();
        let mut by_name: HashMap<String, Vec<Arc<Function>>> = HashMap::new();
        for function in &functions {
            by_name
                .entry(function.method())
                .or_default()
                .push(Arc::clone(function));
        }
        Self {
            functions,
            by_name,
            types,
            default_schema: default_schema.into(),
            has_deferrable: true,
        }
    }

    /// Says whether the database has constraints or triggers that may wait for the commit.
    #[must_use]
    pub fn with_deferrable(self, has_deferrable: bool) -> Self {
        Self {
            has_deferrable,
            ..self
        }
    }

    /// Whether some constraint or trigger of the database may wait for the commit; said too where
    /// nobody looked.
    pub fn has_deferrable(&self) -> bool {
        self.has_deferrable
    }

    /// All functions, ordered by schema, name and OID.
    pub fn functions(&self) -> &[Arc<Function>] {
        &self.functions
    }

    /// The overloads of a method: `schema.function`, or `function` in the default schema.
    pub fn overloads(&self, method: &str) -> &[Arc<Function>] {
        if let Some(found) = self.by_name.get(method) {
            return found;
        }
        // A name with a dot in it was looked up as it is; only a bare name has a default.
        self.by_name
            .get(&format!("{}.{method}", self.default_schema))
            .map_or(&[], Vec::as_slice)
    }

    /// A type that a function of this snapshot uses.
    pub fn type_of(&self, oid: u32) -> Option<&Type> {
        self.types.get(&oid)
    }

    /// All types.
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// The schema of method names without one.
    pub fn default_schema(&self) -> &str {
        &self.default_schema
    }
}
