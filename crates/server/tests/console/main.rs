//! The console surface over real HTTP, against real PostgreSQL, under its real logins.

mod batches;
mod bind;
mod cron;
mod dead_letters;
#[path = "../gateway/harness.rs"]
#[expect(dead_code, reason = "the gateway's tests use more of it")]
mod harness;
mod job_events;
mod jobs;
mod matrix;
mod openapi;
mod queues;
mod rights;
mod setup;
mod surface;
mod tokens;
