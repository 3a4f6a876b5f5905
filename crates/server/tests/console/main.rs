//! The console surface over real HTTP, against real PostgreSQL, under its real logins.

mod bind;
#[path = "../gateway/harness.rs"]
#[expect(dead_code, reason = "the gateway's tests use more of it")]
mod harness;
mod matrix;
mod openapi;
mod rights;
mod setup;
mod surface;
mod tokens;
