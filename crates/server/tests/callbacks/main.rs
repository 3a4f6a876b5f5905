//! The callbacks surface under the receiver's own login: what each call does to its job, who may
//! make it, and what happens to those who may not.
#![allow(clippy::unwrap_used)]

mod functions;
mod harness;
mod limits;
mod races;
mod read_only;
mod rules;
mod signatures;
mod states;
mod timeouts;
mod traces;
