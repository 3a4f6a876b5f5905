#![doc = include_str!("../README.md")]

mod callback;
mod completion;
pub mod cron;
mod description;
mod ends;
mod engine;
mod enqueue;
mod event;
mod handler;
mod job;
pub mod maintenance;
pub mod metrics;
mod notes;
mod outcome;
pub mod worker;

pub use callback::{NewCallback, RegisterError};
pub use completion::CompletionError;
pub use description::Description;
pub use engine::EngineError;
pub use enqueue::{Enqueue, EnqueueCopy, EnqueueError, EnqueueMany, JobArgs, UniqueBy};
pub use event::{Event, What};
pub use handler::{Context, Handler, Handlers};
pub use job::{AttemptError, Job, JobId, JobOptions, JobPrincipal};
pub use notes::CheckpointError;
pub use outcome::Outcome;
pub use rolegate_rules::{CallbackRules, CompileError, DefaultAction, RulesError};
pub use worker::{StartError, Worker, WorkerConfig};

/// The guide's examples compile.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/jobs.md")]
    struct Jobs;
    #[doc = include_str!("../../../docs/guide/long-jobs.md")]
    struct LongJobs;
    #[doc = include_str!("../../../docs/guide/cron.md")]
    struct Cron;
}
