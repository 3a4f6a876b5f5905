//! What can be called, in the forms that people and programs read.
//!
//! Every document is made of the functions it is given and of nothing else: the caller passes
//! those that the principal may execute. Functions that can't be called at all are left out.
//!
//! # Comments
//!
//! Descriptions are read from `comment on function`:
//!
//! ```text
//! Adds two numbers.
//!
//! More text, as many lines as needed.
//! @param a the first number
//! @param b the second number
//! @returns the sum
//! ```
//!
//! The first line is the summary. A description goes on over the lines that follow it, up to an
//! empty line or the next `@`. For a function that takes the params whole, JSON after a line
//! `--- PARAMS ---` names the members: `{"name": {"type": "string"}}`; for others its
//! descriptions are used.
//!
//! # JSON Schema
//!
//! Schemas are of the dialect 2020-12. `int8` and `numeric` are numbers with a `format`: they can
//! have more digits than a double keeps. Every value can be null, except those of domains declared
//! `not null`. Numbers that JSON has no text for (`NaN`) come as strings; schemas don't say so.

mod capabilities;
mod comment;
mod function;
mod json_schema;
mod openapi;
mod openrpc;

pub use capabilities::capabilities;
pub use comment::Documentation;
pub use json_schema::{Named, Schemas};
pub use openapi::{DescribedQueries, OpenApi, openapi};
pub use openrpc::openrpc;

#[cfg(test)]
mod tests;
