//! A statement with its parameters, ready for the extended protocol.

use std::sync::Arc;

use bytes::Bytes;

/// One statement. Its text contains nothing of a request, except where the request is SQL itself;
/// what a request gives is in `params`.
#[derive(Debug, Clone)]
pub struct Statement {
    /// SQL with `$1`, `$2`, ...
    pub sql: Arc<str>,
    /// Type OIDs of the parameters; 0 lets the server infer.
    pub types: Vec<u32>,
    /// Parameters in text format; `None` is NULL.
    pub params: Vec<Option<Bytes>>,
    /// Kept prepared on the connection under a name of ours, for this role and text.
    pub prepared: bool,
    /// Asks for names and types of the result's columns.
    pub describe: bool,
}

impl Statement {
    /// A statement that is parsed anew each time.
    pub fn once(sql: impl Into<Arc<str>>) -> Self {
        Self {
            sql: sql.into(),
            types: Vec::new(),
            params: Vec::new(),
            prepared: false,
            describe: false,
        }
    }

    /// A statement that stays prepared.
    pub fn prepared(sql: impl Into<Arc<str>>) -> Self {
        Self {
            sql: sql.into(),
            types: Vec::new(),
            params: Vec::new(),
            prepared: true,
            describe: false,
        }
    }

    /// Asks for names and types of the result's columns.
    #[must_use]
    pub fn described(mut self) -> Self {
        self.describe = true;
        self
    }

    /// Adds a parameter of type `oid` in text format.
    #[must_use]
    pub fn param(mut self, oid: u32, value: Option<impl Into<Bytes>>) -> Self {
        self.types.push(oid);
        self.params.push(value.map(Into::into));
        self
    }
}
