//! `rolegate serve`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rolegate_server::console::ConsoleConfig;

use crate::config::{self, CallbacksFlags, Functions};
use crate::process::{ConsoleSurface, OldServers, Surfaces, signalled};

/// Runs surfaces and the metrics listener until SIGTERM.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Surfaces to run.
    #[arg(value_name = "SURFACE", default_values_t = [Surface::Gateway])]
    surfaces: Vec<Surface>,
    /// Address of the gateway; over the configuration.
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<SocketAddr>,
    /// Address of the console; over the configuration.
    #[arg(long, value_name = "ADDRESS")]
    console: Option<SocketAddr>,
    /// Lets the console listen beyond loopback: TLS is in front.
    #[arg(long)]
    allow_public_bind: bool,
    /// Address of the callbacks; over the configuration.
    #[arg(long, value_name = "ADDRESS")]
    callbacks: Option<SocketAddr>,
    /// Lets anybody on loopback answer callbacks: there is no key.
    #[arg(long)]
    allow_unsigned: bool,
    /// Address of metrics and health; over the configuration.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

/// A part of the process with an address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Surface {
    /// Calls, login, discovery, events.
    Gateway,
    /// The admin API, for the operators' own network, with the gateway's routes beside it.
    Console,
    /// Runs jobs: SQL functions, as the roles that enqueued them, and functions elsewhere over HTTP.
    Worker,
    /// Answers from outside to jobs that wait: public.
    Callbacks,
    /// The upkeep of the queue: jobs by the clock, workers that died, space.
    Maintenance,
    /// Reads the change stream of each database, or stands by for it.
    Replication,
}

impl std::fmt::Display for Surface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gateway => f.write_str("gateway"),
            Self::Console => f.write_str("console"),
            Self::Worker => f.write_str("worker"),
            Self::Callbacks => f.write_str("callbacks"),
            Self::Maintenance => f.write_str("maintenance"),
            Self::Replication => f.write_str("replication"),
        }
    }
}

pub(crate) async fn run(command: Serve, named: Option<&Path>) -> anyhow::Result<ExitCode> {
    let loaded = config::load(named)?;
    crate::logging::start(&loaded.config.log)?;
    loaded.warn();
    let plan = config::plan(&loaded.config)?;
    let crons = config::crons(&loaded.config)?;
    let config = loaded.config;
    let runs = |surface| command.surfaces.contains(&surface);
    let console = runs(Surface::Console).then(|| ConsoleSurface {
        listen: ConsoleConfig {
            bind: command.console.unwrap_or(config.console.bind),
            allow_public_bind: command.allow_public_bind || config.console.allow_public_bind,
        },
        max_connections: config.console.max_connections,
    });
    let password = config::password_target(&config.login).context("login.address")?;
    if password.is_some() && plan.seal_key.is_none() {
        anyhow::bail!("login.address needs signing.seal_key_file: a password login gives a token");
    }
    let callbacks = runs(Surface::Callbacks)
        .then(|| {
            let flags = CallbacksFlags {
                bind: command.callbacks,
                allow_unsigned: command.allow_unsigned,
            };
            config::callbacks(&config, flags)
        })
        .transpose()?;
    let functions = if runs(Surface::Worker) {
        config::functions(&config)?
    } else {
        Functions::default()
    };
    let surfaces = Surfaces {
        databases: plan.databases,
        gateway: plan.gateway,
        issuers: config.issuers,
        seal_key: plan.seal_key,
        key_life: plan.key_life,
        password,
        gateway_bind: runs(Surface::Gateway)
            .then(|| command.gateway.unwrap_or(config.gateway.bind)),
        console,
        callbacks,
        worker: runs(Surface::Worker).then_some(plan.worker),
        functions,
        crons: runs(Surface::Maintenance).then_some(crons),
        replication: runs(Surface::Replication).then_some(plan.replication),
        feed_bounds: plan.feed_bounds,
        metrics_bind: command.metrics.unwrap_or(config.metrics.bind),
        listen: plan.listen,
        shutdown: Duration::from_secs(config.gateway.shutdown_seconds),
        old_servers: OldServers::Refuse(
            config
                .databases
                .into_iter()
                .filter_map(|(name, section)| Some((name, section.accept_server_version?)))
                .collect(),
        ),
    };
    let stop = signalled();
    tokio::pin!(stop);
    let running = tokio::select! {
        // Looked at first: from now on no signal gets lost, and none ends the process by itself.
        biased;
        signal = &mut stop => {
            signal?;
            return Ok(ExitCode::SUCCESS);
        }
        running = surfaces.start() => running?,
    };
    let address = |address: Option<SocketAddr>| address.map(tracing::field::display);
    let ready = async {
        tracing::info!(
            gateway = address(running.gateway), console = address(running.console),
            callbacks = address(running.callbacks), metrics = %running.metrics, "ready"
        );
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        signal = &mut stop => signal?,
        () = ready => {}
    }
    Ok(if running.stop().await {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
