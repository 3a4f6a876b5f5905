//! Statements on the engine's schema, which an installation may call otherwise.

use std::sync::Arc;

use crate::quote;

/// Puts the configured schema into statements that are written with `rolegate.`.
#[derive(Debug)]
pub struct EngineSql(String);

impl EngineSql {
    /// For the engine's schema of this name.
    pub fn new(schema: &str) -> Arc<Self> {
        Arc::new(Self(format!("{}.", quote::ident(schema))))
    }

    /// `sql` with the schema `rolegate` replaced by the configured one.
    pub fn of(&self, sql: &str) -> String {
        sql.replace("rolegate.", &self.0)
    }
}
