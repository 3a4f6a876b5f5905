//! What happens to a worker, a leader and their jobs when connections break, answers never come, and
//! the database refuses what a handler brought.
#![allow(clippy::unwrap_used)]

mod connections;
mod leader;
mod parked;
mod refused;
mod standby;
mod worker;

#[path = "../stage/mod.rs"]
mod stage;
