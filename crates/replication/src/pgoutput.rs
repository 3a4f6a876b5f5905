//! What the output plugin `pgoutput` says, version 1 of its protocol.
//!
//! The decoder borrows from the bytes it is given, allocates nothing, and refuses whatever is not a
//! whole message: the server is believed about data, not about lengths.

mod head;
mod message;
mod reader;
mod tuple;

pub use head::{Head, Subject};
pub use message::{
    Begin, Columns, Committed, Logical, Message, Old, Relation, RelationColumn, Relations,
};
pub use reader::DecodeError;
pub use tuple::{Tuple, Value};
