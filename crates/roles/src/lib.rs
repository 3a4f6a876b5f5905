#![doc = include_str!("../README.md")]

pub mod admit;
pub mod audit;
pub mod bootstrap;
pub mod closure;
pub mod explain;
pub mod migrate;
pub mod names;
pub mod verify;

pub use names::Names;
