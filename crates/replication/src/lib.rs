#![doc = include_str!("../README.md")]

mod assembly;
mod commit;
mod lsn;
pub mod pgoutput;
mod shape;
mod xid;

pub use assembly::{Assembler, AssemblyError, Bounds};
pub use commit::{Commit, Key, Keys, Touched};
pub use lsn::{Lsn, LsnError};
pub use shape::{Identity, KeyColumn, Shape};
pub use xid::Xid;
