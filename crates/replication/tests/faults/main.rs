//! What happens to a stream when the server does not stay as it is. Each test has a server of its own.
#![allow(clippy::unwrap_used)]

mod idle;
mod place;
mod server;
mod standby;

#[path = "../stage/mod.rs"]
mod stage;
