//! The JSON-RPC 2.0 envelope.
//!
//! A body is checked for syntax, for nesting and for its members here; what is inside `params` and
//! `id` stays the text it was, so that `9007199254740993` and `1.10` come out as they went in.
//!
//! Two forms of a body exist. [`parse`] reads the JSON-RPC endpoint's: one request or a batch.
//! [`parse_path_call`] reads the body of a call whose method is in the path: an object whose member
//! `jsonrpc` is the string `2.0` is an envelope; every other object, an array or an empty body are
//! the params themselves. An array there is never a batch.

mod error;
pub(crate) mod members;
mod parse;
mod path_call;
mod response;

pub use error::{EnvelopeError, Rejected};
pub use parse::{Body, Bounds, Entry, Request, parse};
pub use path_call::{PathCall, parse_path_call};
pub(crate) use response::put_string;
pub use response::{BatchWriter, RpcError, rpc_code, write_error, write_result};

#[cfg(test)]
mod tests;
