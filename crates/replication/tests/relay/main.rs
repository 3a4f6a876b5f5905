//! Following what another process reads, as processes do: each under its own login.
#![allow(clippy::unwrap_used)]

mod failover;
mod follower;
mod following;
mod refusals;

#[path = "../stage/mod.rs"]
mod stage;
