//! `rolegate audit`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use figment::value::Value;
use rolegate_auth::issuer::Audiences;
use rolegate_pg::wire::TlsMode;
use rolegate_roles::audit::{self, AllowList, AuditOptions};

use super::connect::Target;
use super::roles::Mode;
use crate::config::{self, Loaded};
use crate::logging::say;

/// Looks for what is reachable that should not be. Exit code 2 if there are findings.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    target: Target,
    /// Exposed schema, once for each.
    #[arg(long = "expose", value_name = "SCHEMA", default_value = "api")]
    schemas: Vec<String>,
    /// How roles run: assume mode has findings of its own.
    #[arg(long, default_value = "login")]
    mode: Mode,
    /// TOML file with findings that are accepted, each with a reason.
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// Judges the server version as for a surface that runs SQL text of callers.
    #[arg(long)]
    caller_sql: bool,
    /// Output format.
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Output formats.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// JSON.
    Json,
    /// SARIF 2.1.0.
    Sarif,
}

pub(crate) async fn run(command: Audit, configuration: Option<&Path>) -> anyhow::Result<ExitCode> {
    let names = command.target.names()?;
    let anonymous = names.role("anonymous");
    let mut options = AuditOptions::new(names, command.schemas);
    options.anonymous_role = Some(anonymous);
    options.runs_caller_sql = command.caller_sql;
    options.mode = match command.mode {
        Mode::Login => audit::Mode::Login,
        Mode::Assume => audit::Mode::Assume,
    };
    // A development server has no configuration.
    if configuration.is_some() || !command.target.is_development() {
        options.gateway = gateway(&config::load(configuration)?)?;
    }
    if let Some(path) = &command.allow {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        options.allow_list = AllowList::parse(&text).context("--allow")?;
    }
    let client = command.target.connect().await?;
    let report = audit::run(&client, &options).await?;
    match command.format {
        Format::Text => say(report.render_text()),
        Format::Json => say(serde_json::to_string_pretty(&report.to_json())?),
        Format::Sarif => {
            let sarif = report.to_sarif(env!("CARGO_PKG_VERSION"));
            say(serde_json::to_string_pretty(&sarif)?);
        }
    }
    Ok(if report.failing() {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

/// What is judged of the gateway; `None` if nothing is configured here.
fn gateway(loaded: &Loaded) -> anyhow::Result<Option<audit::Gateway>> {
    let Loaded { config, .. } = loaded;
    if config.databases.is_empty() && config.issuers.is_empty() {
        return Ok(None);
    }
    let written = loaded.figment.find_value("issuers").ok();
    let written = written.as_ref().and_then(Value::as_array);
    let issuers = config.issuers.iter().enumerate().map(|(i, issuer)| {
        let written = written.and_then(|items| items.get(i));
        audit::Issuer {
            name: issuer.name.clone(),
            source: super::config::source(loaded, "issuers", written),
            any_audience: issuer.audiences == Audiences::Any,
        }
    });
    let password_check = config::password_target(&config.login)
        .context("login.address")?
        .map(|(host, _, tls)| audit::PasswordCheck {
            host,
            tls: tls != TlsMode::Disable,
        });
    Ok(Some(audit::Gateway {
        issuers: issuers.collect(),
        password_check,
    }))
}
