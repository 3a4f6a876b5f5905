//! Why the catalog could not be read.

use crate::own::OwnPoolError;

/// Why the catalog could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No connection.
    #[error("no connection to read the catalog")]
    Connection(#[from] OwnPoolError),
    /// A statement failed.
    #[error("the catalog could not be read")]
    Statement(#[from] tokio_postgres::Error),
    /// It holds something this version does not understand.
    #[error("unexpected value in the catalog: {0}")]
    Unexpected(String),
}
