//! Following a database as a process does, under the login for it.
#![allow(clippy::unwrap_used)]

mod continuity;
mod definitions;
mod leader;
mod order;
mod publication;
mod rights;

#[path = "../stage/mod.rs"]
mod stage;
