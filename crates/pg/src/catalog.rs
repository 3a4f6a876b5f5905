//! What exists in a database and who may use it.
//!
//! Functions are held in one immutable [`Snapshot`], swapped whole. Facts about a role, and which
//! functions it may execute, are asked of the catalog when they are first needed and kept until
//! the fingerprint of roles and privileges changes. The poll of fingerprints is what finds changes;
//! nothing has to announce them.

mod error;
mod function;
mod load;
mod role;
mod role_load;
mod snapshot;
mod watch;

pub use error::CatalogError;
pub use function::{
    Argument, ArgumentMode, Function, FunctionKind, Returns, Type, TypeShape, Types, Volatility,
};
pub use role::{RoleBudget, RoleFacts};
pub use snapshot::Snapshot;
pub use watch::{Catalog, CatalogConfig, Change, DatabaseFacts};
