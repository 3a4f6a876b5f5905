//! Surfaces in a process: start, serve, stop within a bound.

mod streams;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use rolegate_auth::IssuerConfig;
use rolegate_auth::PasswordCheck;
use rolegate_auth::password::{LoginLimits, PasswordTarget};
use rolegate_jobs::cron::CronEntry;
use rolegate_jobs::maintenance::{Connect, MaintenanceConfig};
use rolegate_jobs::{Handlers, Worker, WorkerConfig};
use rolegate_model::{Clock, SystemClock};
use rolegate_outbound::Client;
use rolegate_pg::EngineSql;
use rolegate_pg::wire::{Tls, TlsMode};
use rolegate_replication::FeedBounds;
use rolegate_roles::audit::minimum_versions;
use rolegate_server::callbacks::Callbacks;
use rolegate_server::config::{DatabaseConfig, GatewayConfig};
use rolegate_server::console::{self, ConsoleConfig};
use rolegate_server::database::{Database, Shared};
use rolegate_server::function_jobs::FunctionJobs;
use rolegate_server::health::{self, Health};
use rolegate_server::http_jobs::{self, HttpKinds};
use rolegate_server::router::{self, App};
use rolegate_server::serve::{ListenLimits, Listener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{CallbacksSurface, Functions};
use streams::Streams;

pub(crate) use streams::{RelaySurface, ReplicationSurface};

/// What to run.
#[derive(Debug)]
pub(crate) struct Surfaces {
    pub(crate) databases: Vec<DatabaseConfig>,
    pub(crate) gateway: GatewayConfig,
    pub(crate) issuers: Vec<IssuerConfig>,
    pub(crate) seal_key: Option<Vec<u8>>,
    /// How long a signing key signs.
    pub(crate) key_life: Duration,
    /// Where passwords are checked: host, port, TLS.
    pub(crate) password: Option<(String, u16, TlsMode)>,
    /// `None`: this process has no gateway.
    pub(crate) gateway_bind: Option<SocketAddr>,
    pub(crate) console: Option<ConsoleSurface>,
    /// `None`: this process receives no callbacks.
    pub(crate) callbacks: Option<CallbacksSurface>,
    /// `None`: this process runs no jobs.
    pub(crate) worker: Option<WorkerConfig>,
    /// Kinds of jobs that it sends to functions.
    pub(crate) functions: Functions,
    /// Cron entries of the configuration, by database; of one that is not named here they stay as they are.
    /// `None`: this process does no upkeep of the queue.
    pub(crate) crons: Option<BTreeMap<String, Vec<CronEntry>>>,
    /// `None`: this process reads no change streams.
    pub(crate) replication: Option<ReplicationSurface>,
    /// What is kept of a stream that this or another process reads.
    pub(crate) feed_bounds: FeedBounds,
    pub(crate) metrics_bind: SocketAddr,
    /// Bounds of the gateway's listener, and of the console's but for its connections.
    pub(crate) listen: ListenLimits,
    pub(crate) shutdown: Duration,
    pub(crate) old_servers: OldServers,
}

/// A console to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConsoleSurface {
    pub(crate) listen: ConsoleConfig,
    pub(crate) max_connections: usize,
}

/// What to do about a server that lacks fixes a gateway depends on.
#[derive(Debug)]
pub(crate) enum OldServers {
    /// Say so.
    Warn,
    /// Refuse it, unless its version is accepted by name for its database.
    Refuse(BTreeMap<String, String>),
}

impl OldServers {
    fn check(&self, database: &Database) -> anyhow::Result<()> {
        let Ok(number) = u32::try_from(database.server_version_num()) else {
            return Ok(());
        };
        for minimum in minimum_versions::missed(number, false) {
            let version = database.server_version();
            let reason = &minimum.reason;
            let accepted = match self {
                Self::Warn => true,
                Self::Refuse(accepted) => accepted
                    .get(database.name())
                    .is_some_and(|accepted| version.split(' ').next() == Some(accepted)),
            };
            anyhow::ensure!(
                accepted,
                "database {}: PostgreSQL {version} is older than it may be ({reason}); \
                 update it, or accept this version with accept_server_version",
                database.name()
            );
            tracing::warn!(
                database = database.name(),
                version,
                reason,
                "old_server_version"
            );
        }
        Ok(())
    }
}

/// Surfaces that are being served.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) gateway: Option<SocketAddr>,
    pub(crate) console: Option<SocketAddr>,
    pub(crate) callbacks: Option<SocketAddr>,
    pub(crate) metrics: SocketAddr,
    pub(crate) databases: Vec<Arc<Database>>,
    workers: Vec<Worker>,
    health: Arc<Health>,
    /// Stops accepting; open requests go on.
    stop: CancellationToken,
    /// Stops the background work, after the last request.
    stop_background: CancellationToken,
    listeners: TaskTracker,
    background: TaskTracker,
    shutdown: Duration,
}

impl Surfaces {
    /// Opens the databases, binds, and serves.
    pub(crate) async fn start(mut self) -> anyhow::Result<Running> {
        let recorder = rolegate_server::metrics::install().context("metrics")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // The receiver has its own login, and needs none of the gateway's.
        let callbacks = match self.callbacks.take() {
            Some(surface) => Some(receive(surface, &self.databases, &clock).await?),
            None => None,
        };
        let upkeep_of: Vec<_> = self
            .databases
            .iter()
            .filter_map(|database| {
                let crons = self.crons.as_ref()?.get(&database.name).cloned();
                Some(maintenance(database, crons))
            })
            .collect();
        let streams = Streams::bind(&self).await?;
        let databases = self.open(&clock, &streams).await?;

        let gateway = match self.gateway_bind {
            Some(bind) => Some(
                Listener::bind(bind)
                    .await
                    .with_context(|| format!("gateway.bind {bind}"))?,
            ),
            None => None,
        };
        let console = match self.console {
            Some(surface) => Some((console::bind(surface.listen).await?, surface)),
            None => None,
        };
        let metrics = Listener::bind(self.metrics_bind)
            .await
            .with_context(|| format!("metrics.bind {}", self.metrics_bind))?;
        let gateway_address = gateway.as_ref().map(Listener::address);
        let console_address = console.as_ref().map(|(listener, _)| listener.address());
        let callbacks_address = callbacks.as_ref().map(Callbacks::address);
        let metrics_address = metrics.address();

        let (stop, stop_background) = (CancellationToken::new(), CancellationToken::new());
        let (listeners, background) = (TaskTracker::new(), TaskTracker::new());
        for database in &databases {
            database.start(&background, &stop_background);
        }
        background.spawn(upkeep(recorder.clone(), stop_background.clone()));
        for config in upkeep_of {
            background.spawn(rolegate_jobs::maintenance::run(
                config,
                stop_background.clone(),
            ));
        }
        let feeds = streams.start(&background, &stop_background);
        let mut workers = Vec::new();
        if let Some(config) = &self.worker {
            rolegate_jobs::metrics::describe();
            let functions = reach(std::mem::take(&mut self.functions), &clock)?;
            for database in &databases {
                workers.push(work(database, &functions, config.clone()).await?);
            }
        }
        let pools = callbacks.iter().map(|callbacks| callbacks.pool().clone());
        let pools = pools.map(|pool| ("callbacks".to_owned(), pool)).collect();
        let health = Health::probing(databases.clone(), pools, feeds, Some(recorder));
        let app = App::new(databases.clone(), self.gateway, stop.clone());
        if let Some(listener) = gateway {
            let router = router::gateway(app.clone());
            let limits = self.listen.clone();
            listeners.spawn(listener.serve(router, limits, stop.clone()));
        }
        if let Some((listener, surface)) = console {
            let limits = self.listen.with_connections(surface.max_connections);
            listeners.spawn(listener.serve(router::console(app), limits, stop.clone()));
        }
        if let Some(callbacks) = callbacks {
            listeners.spawn(callbacks.serve(stop.clone()));
        }
        // Health goes on answering while requests drain.
        background.spawn(metrics.serve(
            health::router(Arc::clone(&health)),
            ListenLimits::default().with_connections(64),
            stop_background.clone(),
        ));
        Ok(Running {
            gateway: gateway_address,
            console: console_address,
            callbacks: callbacks_address,
            metrics: metrics_address,
            databases,
            workers,
            health,
            stop,
            stop_background,
            listeners,
            background,
            shutdown: self.shutdown,
        })
    }

    /// Opens the databases, if there is a surface that uses what the gateway does.
    async fn open(
        &mut self,
        clock: &Arc<dyn Clock>,
        streams: &Streams,
    ) -> anyhow::Result<Vec<Arc<Database>>> {
        let mut databases = Vec::new();
        if self.gateway_bind.is_none() && self.console.is_none() && self.worker.is_none() {
            return Ok(databases);
        }
        for config in std::mem::take(&mut self.databases) {
            let password = self
                .password
                .as_ref()
                .map(|(host, port, tls)| password_check(host, *port, *tls, &config, clock))
                .transpose()?;
            let feed = streams.feed(&config.name);
            let shared = Shared {
                issuers: &self.issuers,
                sealing_key: self.seal_key.as_deref(),
                signing_key_life: self.key_life,
                password,
                clock: Arc::clone(clock),
                feed,
            };
            let database = Database::open(config, shared).await?;
            self.old_servers.check(&database)?;
            databases.push(database);
        }
        Ok(databases)
    }
}

impl Running {
    /// Stops: no new connections, running requests end, then everything closes. What is not done
    /// within the bound is left behind, and the answer is false.
    pub(crate) async fn stop(self) -> bool {
        self.health.drain();
        self.stop.cancel();
        self.listeners.close();
        // A worker has a bound of its own.
        let workers = async {
            let stopping = self.workers.into_iter().map(Worker::stop);
            let stopped = futures_util::future::join_all(stopping).await;
            stopped.into_iter().all(|clean| clean)
        };
        let listeners = tokio::time::timeout(self.shutdown, self.listeners.wait());
        let (worked, drained) = tokio::join!(workers, listeners);
        let drained = worked && drained.is_ok();
        if !drained {
            tracing::warn!("shutdown_bound_reached");
        }
        self.stop_background.cancel();
        self.background.close();
        let closed = tokio::time::timeout(Duration::from_secs(5), async {
            for database in &self.databases {
                database.close().await;
            }
            self.background.wait().await;
        })
        .await
        .is_ok();
        drained && closed
    }
}

/// Waits for SIGTERM or SIGINT; a second one ends the process at once.
pub(crate) async fn signalled() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    });
    Ok(())
}

/// Binds the callbacks surface, for its database.
async fn receive(
    surface: CallbacksSurface,
    databases: &[DatabaseConfig],
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Callbacks> {
    let database = databases
        .iter()
        .find(|database| database.name == surface.database);
    let database = database.context("callbacks.database")?;
    let login = database.own_login("receiver");
    let callbacks = Callbacks::bind(
        surface.listen,
        &database.endpoint,
        &login,
        &database.engine_schema,
        Arc::clone(clock),
    );
    Ok(callbacks.await?)
}

/// What jobs are sent to functions with.
fn reach(functions: Functions, clock: &Arc<dyn Clock>) -> anyhow::Result<HttpKinds> {
    http_jobs::describe();
    let client = Client::new(&functions.guard)?;
    let clock = Arc::clone(clock);
    Ok(HttpKinds::new(
        functions.kinds,
        client,
        functions.gate,
        clock,
    ))
}

/// Runs the jobs of a database: those of configured kinds, and those whose kind is a SQL function.
async fn work(
    database: &Arc<Database>,
    functions: &HttpKinds,
    config: WorkerConfig,
) -> anyhow::Result<Worker> {
    let settings = database.config();
    let handlers = functions
        .register(Handlers::default(), database.name())
        .others(FunctionJobs::new(Arc::clone(database)));
    let config = WorkerConfig {
        direct: settings.direct.clone(),
        ..config
    };
    Worker::start(
        &settings.endpoint,
        &settings.own_login("worker"),
        &EngineSql::new(&settings.engine_schema),
        handlers,
        config,
    )
    .await
    .with_context(|| format!("the worker of the database {}", database.name()))
}

/// The upkeep of a database's queue, as the login for it, past a pooler.
fn maintenance(database: &DatabaseConfig, crons: Option<Vec<CronEntry>>) -> MaintenanceConfig {
    let connect = Connect {
        endpoint: database.direct_endpoint().clone(),
        login: database.own_login("maintenance"),
    };
    let sql = EngineSql::new(&database.engine_schema);
    MaintenanceConfig {
        crons,
        ..MaintenanceConfig::new(&database.name, connect, sql)
    }
}

async fn upkeep(recorder: PrometheusHandle, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(rolegate_server::metrics::UPKEEP) => recorder.run_upkeep(),
            () = stop.cancelled() => return,
        }
    }
}

fn password_check(
    host: &str,
    port: u16,
    tls: TlsMode,
    database: &DatabaseConfig,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<PasswordCheck> {
    let tls = match tls {
        TlsMode::Disable => None,
        TlsMode::VerifyFull(binding) => Some(Tls {
            config: Arc::new(rolegate_pg::wire::tls_config()?),
            binding,
        }),
    };
    let target = PasswordTarget {
        host: host.to_owned(),
        port,
        database: database.endpoint.database.clone(),
        tls,
    };
    Ok(PasswordCheck::new(
        target,
        LoginLimits::default(),
        Arc::clone(clock),
    ))
}
