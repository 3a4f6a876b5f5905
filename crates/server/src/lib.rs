#![doc = include_str!("../README.md")]

mod access;
pub mod budget;
pub mod call;
pub mod callbacks;
pub mod config;
pub mod console;
pub mod database;
mod direct;
pub mod events;
mod extract;
pub mod function_jobs;
pub mod health;
pub mod http_jobs;
mod idempotency;
pub mod identity;
pub mod login_mode;
pub mod metrics;
mod ndjson;
pub mod problem;
pub mod request;
pub mod revocation;
pub mod router;
mod routes;
pub mod serve;
mod stores;
mod surface;
