#![doc = include_str!("../README.md")]

pub mod catalog;
pub mod cluster;
pub mod der;
mod engine_sql;
pub mod listener;
pub mod own;
pub mod pools;
pub mod quote;
pub mod session;
pub mod spool;
pub mod sqlstate;
pub mod statement;
mod type_name;
pub mod wire;

pub use engine_sql::EngineSql;
pub use statement::Statement;
pub use type_name::type_name;
