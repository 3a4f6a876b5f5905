//! A statement with its parameters, ready for the extended protocol.

use std::sync::Arc;

use bytes::Bytes;

/// One statement. Its text never contains anything of a request; that is in `params`.
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
}

impl Statement {
    /// A statement that is parsed anew each time.
    pub fn once(sql: impl Into<Arc<str>>) -> Self {
        Self {
            sql: sql.into(),
            types: Vec::new(),
            params: Vec::new(),
            prepared: false,
        }
    }

    /// A statement that stays prepared.
    pub fn prepared(sql: impl Into<Arc<str>>) -> Self {
        Self {
            sql: sql.into(),
            types: Vec::new(),
            params: Vec::new(),
            prepared: true,
        }
    }

    /// Adds a parameter of type `oid` in text format.
    #[must_use]
    pub fn param(mut self, oid: u32, value: Option<impl Into<Bytes>>) -> Self {
        self.types.push(oid);
        self.params.push(value.map(Into::into));
        self
    }
}
