//! Which connection runs which role's requests.
//!
//! A connection belongs to one task for its whole life, and requests are messages to it: a caller
//! that goes away can't leave a connection in the middle of something. There is one pool for each
//! login, all pools share one budget of connections, and a login that has none gets one in turn:
//! idle connections are given up at once, busy ones after their request.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::session::{
    ClaimsSigner, Health, Job, Reply, Request, SessionError, Worker, WorkerSettings,
};
use crate::wire::{ConnectError, Endpoint, Login};

mod again;
mod login_pool;

use again::Again;
use login_pool::{LoginPool, Next, Rejected, Ticket};

/// How long a login's only connection is kept under load while another login has none: a new one
/// costs the server a process.
const TENURE: Duration = Duration::from_millis(100);

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
    /// Connections that may still be opened. Fair: who waits longest is next.
    budget: Arc<Semaphore>,
    /// Connections that logins without any wait for, and nobody has given up yet.
    wanted: AtomicUsize,
    /// Wakes an idle connection to give itself up.
    wake: Notify,
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
            budget: Arc::new(Semaphore::new(config.max_connections)),
            config,
            signer,
            pools: Mutex::default(),
            wanted: AtomicUsize::new(0),
            wake: Notify::new(),
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
        }))
    }

    /// Runs a request on a connection of `login`. Dropping the future cancels the request.
    ///
    /// If the server had ended the session before anything of the request ran, and says so, the
    /// request is sent once more, on a connection that was begun after that. Nothing runs twice:
    /// where there is a doubt, the error is the answer.
    pub async fn run(&self, login: &Login, request: Request) -> Result<Reply, SessionError> {
        let deadline = request.limits.deadline;
        let (request, again) = Again::split(request);
        match self.attempt(login, request, None).await {
            Err(SessionError::Lost {
                nothing_ran: true,
                source,
            }) if Instant::now() < deadline => {
                tracing::debug!(user = %login.user, error = %source, "request_sent_again");
                self.attempt(login, again.request(), Some(Instant::now()))
                    .await
            }
            outcome => outcome,
        }
    }

    /// Runs a request once; on a connection begun after `after`, if there is such a moment.
    async fn attempt(
        &self,
        login: &Login,
        request: Request,
        after: Option<Instant>,
    ) -> Result<Reply, SessionError> {
        if self.0.closed.is_cancelled() {
            return Err(SessionError::Closed);
        }
        let deadline = request.limits.deadline;
        let (reply, answer) = oneshot::channel();
        let ticket = self.submit(login, Job { request, reply }, after)?;
        tokio::pin!(answer);
        let queue_limit = deadline.min(Instant::now() + self.0.config.wait_timeout);
        tokio::select! {
            biased;
            outcome = &mut answer => return outcome.unwrap_or_else(|_| Err(self.0.unanswered())),
            () = tokio::time::sleep_until(queue_limit) => {}
        }
        // Still here: either it waits, and that is over, or it runs, and its own deadline holds.
        if ticket.give_up() {
            return Err(SessionError::Overloaded);
        }
        answer.await.unwrap_or_else(|_| Err(self.0.unanswered()))
    }

    fn submit(
        &self,
        login: &Login,
        mut job: Job,
        after: Option<Instant>,
    ) -> Result<Ticket, SessionError> {
        // A pool can close between finding it and using it; the next one is new.
        for _ in 0..3 {
            let Some(pool) = self.0.pool(login) else {
                break;
            };
            match pool.submit(job, after) {
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
            connections: self.0.config.max_connections - self.0.budget.available_permits(),
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

    /// The login's pool; none when all pools are closed.
    fn pool(&self, login: &Login) -> Option<Arc<LoginPool>> {
        let mut pools = self.lock();
        if self.closed.is_cancelled() {
            return None;
        }
        if let Some(pool) = pools.get(&login.user) {
            return Some(Arc::clone(pool));
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
        Some(pool)
    }

    /// The error of a request whose connection ended without a word.
    fn unanswered(&self) -> SessionError {
        if self.closed.is_cancelled() {
            return SessionError::Closed;
        }
        SessionError::Lost {
            nothing_ran: false,
            source: std::io::Error::other("the task of the connection ended"),
        }
    }

    /// Opens one more connection if the request just queued needs it and the budgets allow it.
    fn grow(self: &Arc<Self>, pool: &Arc<LoginPool>) {
        if pool.idle() >= pool.waiting() || !pool.reserve(self.config.max_connections_per_login) {
            return;
        }
        let permit = Arc::clone(&self.budget).try_acquire_owned().ok();
        // A login that has a connection waits for that one; one that has none waits in line.
        if permit.is_none() && pool.unreserve_unless_last() {
            return;
        }
        let shared = Arc::clone(self);
        let pool = Arc::clone(pool);
        self.tasks.spawn(async move {
            let permit = match permit {
                Some(permit) => Some(permit),
                None => shared.wait_in_line(&pool).await,
            };
            if let Some(permit) = permit {
                shared.live_and_die(&pool, permit).await;
            }
            pool.unreserve();
            // A request may have been queued for the connection that just ended.
            if pool.waiting() > 0 && !shared.closed.is_cancelled() {
                shared.grow(&pool);
            }
        });
    }

    /// Waits until some login gives a connection up; `None` if nobody needs it any more.
    async fn wait_in_line(&self, pool: &LoginPool) -> Option<OwnedSemaphorePermit> {
        while pool.is_wanted() && !pool.revoked.is_cancelled() {
            self.wanted.fetch_add(1, Ordering::AcqRel);
            self.wake.notify_one();
            let permit = tokio::select! {
                permit = Arc::clone(&self.budget).acquire_owned() => permit.ok(),
                () = tokio::time::sleep(self.config.wait_timeout) => None,
                () = self.closed.cancelled() => None,
            };
            // Somebody's end may have come before anybody gave up one for us.
            self.claim_wanted();
            if permit.is_some() || self.closed.is_cancelled() {
                return permit;
            }
        }
        None
    }

    /// Whether a connection is wanted elsewhere; then the one who asks has to give its own up.
    fn claim_wanted(&self) -> bool {
        self.wanted
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1))
            .is_ok()
    }

    async fn live_and_die(&self, pool: &LoginPool, permit: OwnedSemaphorePermit) {
        // A panic is the bug of whoever wrote the request; the budget must not shrink by it.
        let life = AssertUnwindSafe(self.serve(pool)).catch_unwind().await;
        drop(permit);
        if let Ok(Err(error)) = life {
            tracing::debug!(%error, "connection_never_began");
            // Whoever comes next waits a little, so that a server that is down is not asked as
            // fast as it can refuse.
            tokio::select! {
                () = tokio::time::sleep(RECONNECT_PAUSE) => {}
                () = self.closed.cancelled() => {}
            }
        }
    }

    /// The life of one connection; an error if it never began.
    async fn serve(&self, pool: &LoginPool) -> Result<(), SharedConnectError> {
        // Before it connects: a session that began later than a moment was not ended before it.
        let begun = Instant::now();
        let mut worker = pool.connect().await?;
        let _connected = pool.connected();
        metrics::counter!("rolegate_connections_opened_total").increment(1);
        let opened = Instant::now();
        while !pool.revoked.is_cancelled() {
            let Some(job) = self.next_job(pool, &mut worker, begun).await else {
                break;
            };
            if job.reply.is_closed() {
                continue;
            }
            if worker.run(&pool.settings, job, &pool.revoked).await == Health::Spent {
                return Ok(());
            }
            if opened.elapsed() > self.config.max_lifetime {
                break;
            }
            if (pool.size() > 1 || opened.elapsed() > TENURE) && self.claim_wanted() {
                break;
            }
        }
        worker.close().await;
        Ok(())
    }

    /// Waits for work; `None` if the connection should end.
    async fn next_job(&self, pool: &LoginPool, worker: &mut Worker, begun: Instant) -> Option<Job> {
        match pool.try_take(begun) {
            Next::Job(job) => return Some(job),
            Next::NotMine => return None,
            Next::Empty => {}
        }
        let idle_timeout = tokio::time::sleep(self.config.idle_timeout);
        tokio::pin!(idle_timeout);
        loop {
            if self.claim_wanted() {
                return None;
            }
            tokio::select! {
                biased;
                () = pool.revoked.cancelled() => return None,
                // Before a job, so that none is given to a connection the server has closed.
                error = worker.idle() => {
                    tracing::debug!(%error, "idle_connection_ended");
                    return None;
                }
                next = pool.take(begun) => return match next {
                    Next::Job(job) => Some(job),
                    Next::Empty | Next::NotMine => None,
                },
                () = &mut idle_timeout => return None,
                () = self.wake.notified() => {}
            }
        }
    }
}

/// The error of a failed connection attempt, shared by all requests that waited for it.
pub(crate) type SharedConnectError = Arc<ConnectError>;

impl LoginPool {
    async fn connect(&self) -> Result<Worker, SharedConnectError> {
        let attempt = self.attempt();
        let opened = Worker::open(&self.settings).await.map_err(Arc::new);
        drop(attempt);
        opened.inspect_err(|error| self.connect_failed(error))
    }
}
