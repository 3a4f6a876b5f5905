#![doc = include_str!("../README.md")]

pub mod cron;
mod engine;
mod handler;
mod job;
pub mod maintenance;
pub mod metrics;
mod outcome;
pub mod worker;

pub use engine::EngineError;
pub use handler::{Context, Handler, Handlers};
pub use job::{AttemptError, Job, JobId, JobOptions, JobPrincipal};
pub use outcome::Outcome;
pub use worker::{StartError, Worker, WorkerConfig};
