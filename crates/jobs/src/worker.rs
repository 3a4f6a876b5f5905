//! A worker: claims in batches, runs each job as a task of its own slot, finishes in batches.
//!
//! ```text
//! claiming --(jobs)--> running (a slot each) --(ends)--> finishing
//!    ^                                                       |
//!    +------ room, when a slot is free again                 +-- open claims, for the sign of life
//! ```

mod attempts;
mod bounds;
mod claiming;
mod doubts;
mod finishing;
mod former;
mod noting;
mod open;
mod pace;
mod pulse;
mod running;
mod shares;
mod waking;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rolegate_pg::EngineSql;
use rolegate_pg::own::OwnPoolError;
use rolegate_pg::wire::{Endpoint, Login};
use tokio::sync::{Notify, RwLock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::description::{Description, declarations};
use crate::engine::{Engine, EngineError, Registration};
use crate::handler::Handlers;
use crate::notes::Notes;
use attempts::Attempts;
use former::Former;
use open::OpenClaims;
use pace::Pace;
use watch::Watch;

/// How long each thing may take that is said to the database while the worker stops.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its name in lists; need not be unique.
    pub name: String,
    /// Queues it serves; none starves.
    pub queues: Vec<String>,
    /// Shares of the queues while all of them have jobs, 1 for those that are not named: with 3 and 1
    /// the first gets three of four.
    pub weights: BTreeMap<String, u32>,
    /// Jobs that run at the same time.
    pub concurrency: usize,
    /// Jobs that are claimed ahead of their turn, at most. Only short jobs are: what is claimed here
    /// nobody else can run.
    pub prefetch: usize,
    /// How long an attempt may take if its job doesn't say; `None` is for ever.
    pub deadline: Option<Duration>,
    /// Time between two signs of life while it has jobs. Maintenance gives a worker up after a
    /// multiple of it.
    pub pulse: Duration,
    /// How long it sleeps at most when nobody wakes it.
    pub poll: Duration,
    /// How long handlers may go on when it stops.
    pub shutdown: Duration,
    /// What people are told about its queues: see `Handlers::describe`.
    pub described_queues: BTreeMap<String, Description>,
    /// Where it waits to be woken, past a pooler; `None`: where it works.
    pub direct: Option<Endpoint>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            name: "worker".to_owned(),
            queues: vec!["default".to_owned()],
            weights: BTreeMap::new(),
            concurrency: 16,
            prefetch: 512,
            deadline: Some(Duration::from_mins(5)),
            pulse: Duration::from_secs(10),
            poll: Duration::from_secs(1),
            shutdown: Duration::from_secs(30),
            described_queues: BTreeMap::new(),
            direct: None,
        }
    }
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No connection can be configured.
    #[error("the worker's connections can't be configured")]
    Pool(#[from] OwnPoolError),
    /// The queues can't be registered.
    #[error("the worker can't be registered; was `rolegate migrate` run?")]
    Register(#[from] EngineError),
    /// The system gives it no thread.
    #[error("the worker's watch can't be started")]
    Watch(#[source] std::io::Error),
}

/// A worker that runs.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    tasks: Tasks,
}

/// What the parts of a worker share.
#[derive(Debug)]
struct Shared {
    config: WorkerConfig,
    engine: Engine,
    handlers: Handlers,
    names: Vec<Arc<str>>,
    /// Exchanged if the worker was given up. Held for writing while the sign of life says that
    /// nothing is open, so that no claim comes between.
    registration: RwLock<Registration>,
    open: OpenClaims,
    former: Former,
    attempts: Attempts,
    notes: Arc<Notes>,
    pace: Pace,
    watch: Watch,
    /// Claimed and not yet run.
    unfinished: AtomicUsize,
    /// There is room for another claim, or something to claim.
    look: Notify,
    /// No more claims.
    stop: CancellationToken,
    /// Handlers should end.
    cancel: CancellationToken,
}

#[derive(Debug)]
struct Tasks {
    /// Does not wait for the answer to a claim any more.
    leave_claim: CancellationToken,
    claiming: TaskTracker,
    running: TaskTracker,
    finishing: TaskTracker,
    /// Ends with [`Self::helpers`], after the last job.
    stop_helpers: CancellationToken,
    helpers: TaskTracker,
}

impl Worker {
    /// Registers and begins. Stops when [`Self::stop`] is called.
    pub async fn start(
        endpoint: &Endpoint,
        login: &Login,
        sql: &EngineSql,
        handlers: Handlers,
        config: WorkerConfig,
    ) -> Result<Self, StartError> {
        let kinds = handlers.descriptions();
        let declarations = declarations(&config.described_queues, &kinds);
        let engine = Engine::new(endpoint, login, finishing::WRITERS, sql, &declarations)?;
        let watch = Watch::start().map_err(StartError::Watch)?;
        let registration = engine.register(&config.name, &config.queues).await?;
        let shared = Arc::new(Shared {
            names: config
                .queues
                .iter()
                .map(|name| name.as_str().into())
                .collect(),
            pace: Pace::new(config.concurrency, config.prefetch),
            watch,
            attempts: Attempts::new(registration.worker),
            registration: RwLock::new(registration),
            open: OpenClaims::default(),
            notes: Arc::default(),
            former: Former::default(),
            unfinished: AtomicUsize::new(0),
            look: Notify::new(),
            stop: CancellationToken::new(),
            cancel: CancellationToken::new(),
            config,
            engine,
            handlers,
        });
        let tasks = Tasks {
            leave_claim: CancellationToken::new(),
            claiming: TaskTracker::new(),
            running: TaskTracker::new(),
            finishing: TaskTracker::new(),
            stop_helpers: CancellationToken::new(),
            helpers: TaskTracker::new(),
        };
        let (jobs, waiting) = async_channel::unbounded();
        // Slots wait when ends are not written fast enough.
        let (ends, ended) = async_channel::bounded(finishing::BATCH * 2);
        let (bell, commands) = waking::Bell::new();
        let claiming = claiming::run(Arc::clone(&shared), bell, jobs);
        let leave_claim = tasks.leave_claim.clone();
        tasks.claiming.spawn(async move {
            tokio::select! {
                () = claiming => {}
                () = leave_claim.cancelled() => {}
            }
        });
        for _ in 0..shared.config.concurrency {
            tasks.running.spawn(running::slot(
                Arc::clone(&shared),
                waiting.clone(),
                ends.clone(),
            ));
        }
        drop(ends);
        for _ in 0..finishing::WRITERS {
            tasks
                .finishing
                .spawn(finishing::run(Arc::clone(&shared), ended.clone()));
        }
        tasks
            .helpers
            .spawn(pulse::run(Arc::clone(&shared), tasks.stop_helpers.clone()));
        tasks
            .helpers
            .spawn(doubts::run(Arc::clone(&shared), tasks.stop_helpers.clone()));
        tasks
            .helpers
            .spawn(noting::run(Arc::clone(&shared), tasks.stop_helpers.clone()));
        let waking = waking::Waking {
            endpoint: shared
                .config
                .direct
                .clone()
                .unwrap_or_else(|| endpoint.clone()),
            login: login.clone(),
            announce: sql.of("select rolegate.await_jobs($1::pg_catalog.text::pg_catalog.int4[])"),
        };
        tasks.helpers.spawn(waking::run(
            Arc::clone(&shared),
            waking,
            commands,
            tasks.stop_helpers.clone(),
        ));
        Ok(Self { shared, tasks })
    }

    /// Stops: claims nothing more, gives back what was not begun, and waits for what runs, at most
    /// for the configured time; then handlers are cancelled and their jobs are left to others.
    /// False if that happened.
    pub async fn stop(self) -> bool {
        let Self { shared, tasks } = self;
        shared.stop.cancel();
        shared.look.notify_one();
        if !ends_within(&tasks.claiming, LAST_WORDS).await {
            tasks.leave_claim.cancel();
            close_and_wait(&tasks.claiming).await;
        }
        let time = shared.config.shutdown;
        let all_ended = ends_within(&tasks.running, time).await;
        if !all_ended {
            tracing::warn!(jobs = tasks.running.len(), "worker_shutdown_bound_reached");
            shared.cancel.cancel();
            // A handler that listens ends now; the others are dropped with the process.
            let grace = Duration::from_secs(1).min(time);
            ends_within(&tasks.running, grace).await;
        }
        // Ends that can't be written now are as if the worker had died.
        let written = ends_within(&tasks.finishing, LAST_WORDS).await;
        tasks.stop_helpers.cancel();
        ends_within(&tasks.helpers, Duration::from_secs(1)).await;
        if tokio::time::timeout(LAST_WORDS, unregister(&shared))
            .await
            .is_err()
        {
            tracing::warn!("worker_not_unregistered");
        }
        shared.engine.close();
        all_ended && written
    }
}

/// Under all its numbers.
async fn unregister(shared: &Shared) {
    former::tend(shared).await;
    let now = shared.registration.read().await.worker;
    for worker in shared.former.all().into_iter().chain([now]) {
        match shared.engine.unregister(worker).await {
            Ok(0) => {}
            Ok(left) => tracing::warn!(jobs = left, "worker_left_jobs"),
            Err(error) => tracing::warn!(%error, cause = ?error, "worker_not_unregistered"),
        }
    }
}

async fn ends_within(tasks: &TaskTracker, time: Duration) -> bool {
    tokio::time::timeout(time, close_and_wait(tasks))
        .await
        .is_ok()
}

async fn close_and_wait(tasks: &TaskTracker) {
    tasks.close();
    tasks.wait().await;
}
