//! The staging table: what producers may say there, and how it becomes jobs.
#![allow(clippy::unwrap_used)]
// A test is no crate that is configured.
#![allow(clippy::disallowed_methods)]

#[path = "../stage/mod.rs"]
mod stage;

mod copying;
mod forging;
mod moving;
mod upkeep;
