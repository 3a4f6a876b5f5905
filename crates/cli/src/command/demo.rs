//! `rolegate demo`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use rolegate_pg::cluster::Source;

use crate::config::{Log, LogFormat};
use crate::development::{Development, Postgres};
use crate::logging::say;
use crate::story;

/// Starts a fresh development server with the expenses example, plays the story by real HTTP
/// calls, and asserts every step. The exit code says whether all held.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keeps the installation in this directory; otherwise it is removed at the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where PostgreSQL comes from: auto, system (optionally system:MAJOR), or wheel.
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = super::dev::parse_source)]
    postgres: Source,
    /// Level of the log on standard error: off, error, warn, info, debug, or a filter.
    #[arg(long, value_name = "LEVEL", default_value = "off")]
    log_level: String,
}

pub(crate) async fn run(command: Demo) -> anyhow::Result<ExitCode> {
    crate::logging::start(&Log {
        format: LogFormat::Text,
        level: command.log_level,
    })?;
    let temporary = tempfile::tempdir()?;
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let development = Development {
        data_dir: command
            .data_dir
            .unwrap_or_else(|| temporary.path().join("demo")),
        postgres: Postgres::Private(command.postgres),
        yes: false,
        example: Some("expenses".to_owned()),
        gateway: any_port,
        console: any_port,
        callbacks: any_port,
        metrics: any_port,
        functions: Vec::new(),
        allowed_origins: Vec::new(),
    };
    let installation = development.start().await?;
    say(format_args!(
        "PostgreSQL {}, gateway {}",
        installation.record.postgres_version, installation.record.gateway_url
    ));
    let held = story::play(&installation).await;
    let stopped = installation.stop().await?;
    let steps = held?;
    anyhow::ensure!(stopped, "the server did not stop cleanly");
    say(format_args!("all {steps} steps held; stopped cleanly"));
    Ok(ExitCode::SUCCESS)
}
