//! `rolegate maintenance`: as the login for it.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use rolegate_jobs::maintenance::{self, Connect, MaintenanceConfig};
use rolegate_pg::EngineSql;
use tokio_util::sync::CancellationToken;

use super::connect::Target;
use crate::config::Log;
use crate::logging::say;
use crate::process::signalled;

const TICK_EXAMPLES: &str = "\
Examples:
  rolegate maintenance tick --data-dir .rolegate
  rolegate maintenance tick --json --database postgresql://db.example/app \\
      --password-file maintenance.pw

For hosts that run a command now and then instead of a process: jobs are as late as it is.";

const RUN_EXAMPLES: &str = "\
Examples:
  rolegate maintenance run --data-dir .rolegate
  rolegate maintenance run --database postgresql://db.example/app \\
      --password-file maintenance.pw

As `rolegate serve maintenance`, for one database and without metrics.";

/// The upkeep of the queue.
#[derive(Debug, Subcommand)]
pub(crate) enum Maintenance {
    /// Does what is due, once, and prints what that was.
    #[command(after_help = TICK_EXAMPLES)]
    Tick {
        #[command(flatten)]
        target: Target,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Does what is due, when it is due, until SIGTERM.
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        #[command(flatten)]
        target: Target,
    },
}

pub(crate) async fn run(command: Maintenance) -> anyhow::Result<ExitCode> {
    match command {
        Maintenance::Tick { target, json } => tick(&target, json).await?,
        Maintenance::Run { target } => {
            crate::logging::start(&Log::default())?;
            let config = config(&target)?;
            let stop = CancellationToken::new();
            let work = maintenance::run(config, stop.clone());
            tokio::pin!(work);
            tokio::select! {
                signal = signalled() => {
                    signal?;
                    stop.cancel();
                    work.await;
                }
                () = &mut work => {}
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn tick(target: &Target, json: bool) -> anyhow::Result<()> {
    let report = maintenance::tick(config(target)?)
        .await
        .context("maintenance")?;
    let report = serde_json::to_value(report)?;
    if json {
        say(report);
        return Ok(());
    }
    for (what, number) in report.as_object().into_iter().flatten() {
        say(format_args!("{what}\t{number}"));
    }
    Ok(())
}

fn config(target: &Target) -> anyhow::Result<MaintenanceConfig> {
    let names = target.names()?;
    let (endpoint, login) = target.login(&names.role("maintenance"))?;
    let database = endpoint.database.clone();
    let sql = EngineSql::new(names.schema());
    let connect = Connect { endpoint, login };
    Ok(MaintenanceConfig::new(&database, connect, sql))
}
