//! Which connection runs which role's requests.
//!
//! A connection belongs to one task for its whole life, and requests are messages to it: a caller
//! that goes away can't leave a connection in the middle of something. There is one pool for each
//! login, all pools share one budget of connections, and a login without work gives its
//! connections up to one that waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::session::{
    ClaimsSigner, Health, Job, Reply, Request, SessionError, Worker, WorkerSettings,
};
use crate::wire::{ConnectError, Endpoint, Login};

mod login_pool;

use login_pool::{LoginPool, Rejected, Ticket};

/// Pause after a failed attempt to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// How the pools of one database are built and bounded.
#[derive(Debug, Clone)]
pub struct PoolsConfig {
    /// Server and database.
    pub endpoint: Endpoint,
    /// Schema of our own objects.
    pub schema: String,
    /// Connections of all logins together.
    pub max_connections: usize,
    /// Connections of one login.
    pub max_connections_per_login: usize,
    /// Requests that may wait for a connection, for each login.
    pub max_waiting: usize,
    /// How long a request waits for a connection before it is refused.
    pub wait_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// A connection without work for this long is closed.
    pub idle_timeout: Duration,
    /// A connection older than this is closed after its request.
    pub max_lifetime: Duration,
}

/// The pools of one database.
#[derive(Debug, Clone)]
pub struct Pools(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: PoolsConfig,
    signer: Arc<dyn ClaimsSigner>,
    pools: Mutex<HashMap<String, Arc<LoginPool>>>,
    connections: AtomicUsize,
    /// Some login waits for a connection that another one could give up.
    wanted: Notify,
    tasks: TaskTracker,
    closed: CancellationToken,
}

/// What the pools hold at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolsStatus {
    /// Open or opening connections.
    pub connections: usize,
    /// Of these, waiting for work.
    pub idle: usize,
    /// Requests waiting for a connection.
    pub waiting: usize,
    /// Logins with a pool.
    pub logins: usize,
}

impl Pools {
    /// No connection is made before the first request.
    pub fn new(config: PoolsConfig, signer: Arc<dyn ClaimsSigner>) -> Self {
        Self(Arc::new(Shared {
            config,
            signer,
            pools: Mutex::default(),
            connections: AtomicUsize::new(0),
            wanted: Notify::new(),
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
        }))
    }

    /// Runs a request on a connection of `login`. Dropping the future cancels the request.
    pub async fn run(&self, login: &Login, request: Request) -> Result<Reply, SessionError> {
        if self.0.closed.is_cancelled() {
            return Err(SessionError::Closed);
        }
        let deadline = request.limits.deadline;
        let (reply, answer) = oneshot::channel();
        let ticket = self.submit(login, Job { request, reply })?;
        tokio::pin!(answer);
        let queue_limit = deadline.min(Instant::now() + self.0.config.wait_timeout);
        tokio::select! {
            biased;
            outcome = &mut answer => return outcome.unwrap_or(Err(SessionError::Closed)),
            () = tokio::time::sleep_until(queue_limit) => {}
        }
        // Still here: either it waits, and that is over, or it runs, and its own deadline holds.
        if ticket.give_up() {
            return Err(SessionError::Overloaded);
        }
        answer.await.unwrap_or(Err(SessionError::Closed))
    }

    fn submit(&self, login: &Login, mut job: Job) -> Result<Ticket, SessionError> {
        // A pool can close between finding it and using it; the next one is new.
        for _ in 0..3 {
            let pool = self.0.pool(login);
            match pool.submit(job) {
                Ok(ticket) => {
                    self.0.grow(&pool);
                    return Ok(ticket);
                }
                Err(Rejected::Full) => return Err(SessionError::Overloaded),
                Err(Rejected::Closed(back)) => job = *back,
            }
        }
        Err(SessionError::Closed)
    }

    /// Closes the connections of `login`, cancelling what runs on them: its rights changed.
    pub fn close_login(&self, login: &str) {
        let pool = self.0.lock().remove(login);
        if let Some(pool) = pool {
            pool.revoke();
        }
    }

    /// Closes the connections of every login that `keep` does not keep.
    pub fn close_logins(&self, keep: impl Fn(&str) -> bool) {
        let mut gone = Vec::new();
        self.0.lock().retain(|login, pool| {
            let keep = keep(login);
            if !keep {
                gone.push(Arc::clone(pool));
            }
            keep
        });
        for pool in gone {
            pool.revoke();
        }
    }

    /// Logins that have a pool.
    pub fn logins(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    /// A count of everything.
    pub fn status(&self) -> PoolsStatus {
        let pools = self.0.lock();
        PoolsStatus {
            connections: self.0.connections.load(Ordering::Relaxed),
            idle: pools.values().map(|pool| pool.idle()).sum(),
            waiting: pools.values().map(|pool| pool.waiting()).sum(),
            logins: pools.len(),
        }
    }

    /// Takes no new requests, lets running ones end, and waits for the connections to close.
    pub async fn close(&self) {
        self.0.closed.cancel();
        let pools: Vec<_> = self.0.lock().drain().map(|(_, pool)| pool).collect();
        for pool in pools {
            pool.close();
        }
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<LoginPool>>> {
        // The map is consistent at every point where a panic could happen.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self, login: &Login) -> Arc<LoginPool> {
        let mut pools = self.lock();
        if let Some(pool) = pools.get(&login.user) {
            return Arc::clone(pool);
        }
        let settings = WorkerSettings {
            endpoint: self.config.endpoint.clone(),
            login: login.clone(),
            signer: Arc::clone(&self.signer),
            schema: self.config.schema.clone(),
            connect_timeout: self.config.connect_timeout,
        };
        let pool = Arc::new(LoginPool::new(settings, self.config.max_waiting));
        pools.insert(login.user.clone(), Arc::clone(&pool));
        pool
    }

    /// Opens one more connection if the request just queued needs it and the budgets allow it.
    fn grow(self: &Arc<Self>, pool: &Arc<LoginPool>) {
        if pool.idle() >= pool.waiting() {
            return;
        }
        if !pool.reserve(self.config.max_connections_per_login) {
            return;
        }
        let reserved = self.connections.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
            (n < self.config.max_connections).then_some(n + 1)
        });
        if reserved.is_err() {
            pool.unreserve();
            if pool.size() == 0 {
                // Somebody else has to give one up; the connection opens when it did.
                self.wanted.notify_one();
                let shared = Arc::clone(self);
                let pool = Arc::clone(pool);
                self.tasks.spawn(async move { shared.grow_later(&pool).await });
            }
            return;
        }
        let shared = Arc::clone(self);
        let pool = Arc::clone(pool);
        self.tasks.spawn(async move {
            if let Err(error) = shared.serve(&pool).await {
                pool.connect_failed(&error);
                // Whoever comes next waits a little, so that a server that is down is not asked
                // as fast as it can refuse.
                tokio::select! {
                    () = tokio::time::sleep(RECONNECT_PAUSE) => {}
                    () = shared.closed.cancelled() => {}
                }
            }
            pool.unreserve();
            shared.connections.fetch_sub(1, Ordering::AcqRel);
            // A request may have been queued for the connection that just ended.
            if pool.waiting() > 0 && !shared.closed.is_cancelled() {
                shared.grow(&pool);
            }
        });
    }

    /// Tries again while somebody waits in vain; bounded by the wait timeout of the requests.
    async fn grow_later(self: &Arc<Self>, pool: &Arc<LoginPool>) {
        let until = Instant::now() + self.config.wait_timeout;
        while Instant::now() < until && pool.size() == 0 && pool.waiting() > 0 {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
                () = self.closed.cancelled() => return,
            }
            if self.connections.load(Ordering::Acquire) < self.config.max_connections {
                self.grow(pool);
                return;
            }
            self.wanted.notify_one();
        }
    }

    /// The life of one connection; an error if it never began.
    async fn serve(&self, pool: &LoginPool) -> Result<(), SharedConnectError> {
        let mut worker = pool.connect().await?;
        metrics::counter!("rolegate_connections_opened_total").increment(1);
        let opened = Instant::now();
        while !pool.revoked.is_cancelled() {
            let Some(job) = self.next_job(pool, &mut worker).await else { break };
            if job.reply.is_closed() {
                continue;
            }
            if worker.run(&pool.settings, job, &pool.revoked).await == Health::Spent {
                return Ok(());
            }
            if opened.elapsed() > self.config.max_lifetime {
                break;
            }
        }
        worker.close().await;
        Ok(())
    }

    /// Waits for work; `None` if the connection should end.
    async fn next_job(&self, pool: &LoginPool, worker: &mut Worker) -> Option<Job> {
        if let Some(job) = pool.try_take() {
            return Some(job);
        }
        tokio::select! {
            biased;
            () = pool.revoked.cancelled() => None,
            // Before a job, so that none is given to a connection the server has closed.
            error = worker.idle() => {
                tracing::debug!(%error, "idle_connection_ended");
                None
            }
            job = pool.take() => job,
            () = tokio::time::sleep(self.config.idle_timeout) => None,
            () = self.wanted.notified() => None,
        }
    }
}

/// The error of a failed connection attempt, shared by all requests that waited for it.
pub(crate) type SharedConnectError = Arc<ConnectError>;

impl LoginPool {
    async fn connect(&self) -> Result<Worker, SharedConnectError> {
        Worker::open(&self.settings).await.map_err(Arc::new)
    }
}
