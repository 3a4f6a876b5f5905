//! What every contestant of `bench/jobs.py` that is written in Rust shares. A contestant implements
//! [`Contestant`]; [`main`] is its whole program. The protocol itself: `bench/README.md`, "Jobs".

mod commands;
mod handler;
mod latency;
mod payload;

use std::future::Future;
use std::sync::Arc;

pub use commands::main;
pub use handler::Handler;
pub use serde_json::{Value, json};

/// Whatever went wrong; it ends the program with its text.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The plain row that an enqueued job is compared with; [`Contestant::plain`] sends this between
/// `begin` and `commit`.
pub const PLAIN_INSERT: &str =
    "insert into bench_plain (queue, kind, payload) values ($1, 'bench_job', $2) returning id";

/// One job queue. Futures are `Send`, but for the installation; implementations may be written as `async fn`.
pub trait Contestant: Send + Sync + Sized + 'static {
    /// A connection of an application, for single transactions.
    type Connection: Send + 'static;
    /// Workers that run until [`Contestant::stop`].
    type Running: Send;

    /// What is measured, as it is named and numbered in its registry.
    fn about() -> (&'static str, String);

    /// Everything but [`Contestant::connection`] uses at most this many connections.
    fn connect(url: &str, connections: u32) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Makes it one of several, before it enqueues or works.
    fn vary(&mut self, _variant: &str) {}

    /// Installs the queue into an empty database.
    fn install(&self, queues: &[String]) -> impl Future<Output = Result<(), Error>>;

    /// Enqueues all of them by its fastest documented way.
    fn enqueue(
        &self,
        queue: &str,
        payloads: Vec<Value>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Jobs that are not durably finished, exactly.
    fn pending(&self, queues: &[String]) -> impl Future<Output = Result<i64, Error>> + Send;

    /// Opens a connection as an application has it.
    fn connection(url: &str) -> impl Future<Output = Result<Self::Connection, Error>> + Send;

    /// `begin`, enqueue one, `commit`.
    fn single(
        connection: &mut Self::Connection,
        queue: &str,
        payload: &Value,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// `begin`, [`PLAIN_INSERT`], `commit`, with the same driver in the same way.
    fn plain(
        connection: &mut Self::Connection,
        queue: &str,
        payload: &Value,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Starts workers that together run at most `workers` jobs at a time; each job calls
    /// [`Handler::handle`] with its payload.
    fn start(
        self: &Arc<Self>,
        workers: usize,
        queues: &[String],
        handler: Arc<Handler>,
    ) -> impl Future<Output = Result<Self::Running, Error>> + Send;

    /// Finishes what is running and stops.
    fn stop(running: Self::Running) -> impl Future<Output = Result<(), Error>> + Send;
}
