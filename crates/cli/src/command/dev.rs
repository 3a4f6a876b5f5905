//! `rolegate dev`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use rolegate_pg::cluster::Source;

use crate::config::{Log, LogFormat};
use crate::development::Development;
use crate::logging::say;
use crate::process::signalled;

/// Runs everything on loopback: a private PostgreSQL cluster, roles, schema, gateway, console.
/// Prints `ready` when they answer; addresses, people and tokens are in `dev.json` there.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Where cluster, keys and `dev.json` live.
    #[arg(long, value_name = "DIR", default_value = ".rolegate")]
    data_dir: PathBuf,
    /// Address of the gateway; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    gateway: SocketAddr,
    /// Address of the console; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    console: SocketAddr,
    /// Address of metrics and health.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    metrics: SocketAddr,
    /// Loads an example (expenses).
    #[arg(long, value_name = "NAME")]
    example: Option<String>,
    /// Where PostgreSQL comes from: auto, system (optionally system:MAJOR), or wheel.
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = parse_source)]
    postgres: Source,
    /// Level of the log on standard error.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log_level: String,
}

pub(crate) fn parse_source(text: &str) -> Result<Source, String> {
    match text {
        "auto" => Ok(Source::Auto),
        "wheel" => Ok(Source::Wheel),
        "system" => Ok(Source::System { major: None }),
        other => match other.strip_prefix("system:").map(str::parse) {
            Some(Ok(major)) => Ok(Source::System { major: Some(major) }),
            _ => Err("expected auto, system, system:MAJOR or wheel".to_owned()),
        },
    }
}

pub(crate) async fn run(command: Dev) -> anyhow::Result<ExitCode> {
    crate::logging::start(&Log {
        format: LogFormat::Text,
        level: command.log_level,
    })?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line reads the environment"
    )]
    if std::env::var_os("DATABASE_URL").is_some() {
        tracing::warn!("DATABASE_URL is set and ignored: development uses a cluster of its own");
    }
    let development = Development {
        data_dir: command.data_dir,
        source: command.postgres,
        example: command.example,
        gateway: command.gateway,
        console: command.console,
        metrics: command.metrics,
    };
    let installation = development.start().await?;
    let record = &installation.record;
    say(format_args!(
        "gateway  {}/api/{}",
        record.gateway_url, record.database
    ));
    say(format_args!(
        "console  {}/v1/openapi.json",
        record.console_url
    ));
    say(format_args!("metrics  {}/metrics", record.metrics_url));
    say(format_args!("psql     {}", record.database_url));
    say("ready");
    signalled().await?;
    let clean = installation.stop().await?;
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
