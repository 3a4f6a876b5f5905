#![doc = include_str!("../README.md")]

pub mod arguments;
pub mod assume;
pub mod describe;
pub mod envelope;
mod error;
mod kind;
mod params;
pub mod resolve;
pub mod result;
mod statement;

#[cfg(test)]
mod fixture;

pub use error::CallError;
pub use params::Params;
pub use statement::{Call, Column, ColumnText, Reread, Shape, prepare};
