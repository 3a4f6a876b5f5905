//! `rolegate config`: what is in force and where it comes from.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use figment::value::Value;

use crate::config::{self, Config, Loaded};
use crate::logging::say;

/// The configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Checks the configuration and prints every value with its source.
    Check,
    /// Prints the JSON schema of the configuration file.
    Schema,
}

pub(crate) fn run(command: &ConfigCommand, named: Option<&Path>) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check => check(&config::load(named)?),
        ConfigCommand::Schema => {
            say(serde_json::to_string_pretty(&schemars::schema_for!(
                Config
            ))?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let root = Value::from(loaded.figment.extract::<figment::value::Dict>()?);
    let mut lines = Vec::new();
    walk(&root, "", &mut |path, value| {
        let source = loaded.figment.find_metadata(path).map_or_else(
            || "default".to_owned(),
            |metadata| match &metadata.source {
                Some(figment::Source::File(file)) => file.display().to_string(),
                _ if metadata.name.contains("environment") => "environment".to_owned(),
                _ => "default".to_owned(),
            },
        );
        lines.push((path.to_owned(), value, source));
    });
    let width = lines.iter().map(|(path, ..)| path.len()).max().unwrap_or(0);
    for (path, value, source) in lines {
        say(format_args!("{path:width$}  {value}  ({source})"));
    }
    config::plan(&loaded.config)?;
    Ok(ExitCode::SUCCESS)
}

/// Visits every leaf; secrets are not shown.
fn walk(value: &Value, path: &str, visit: &mut impl FnMut(&str, String)) {
    match value {
        Value::Dict(_, entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                walk(value, &path, visit);
            }
        }
        _ if path.ends_with("shared_secret") => visit(path, "(secret)".to_owned()),
        Value::Array(_, items) if items.iter().any(|item| matches!(item, Value::Dict(..))) => {
            for (i, item) in items.iter().enumerate() {
                walk(item, &format!("{path}.{i}"), visit);
            }
        }
        value => visit(path, plain(value)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, number) => number
            .to_u128()
            .map(|number| number.to_string())
            .or_else(|| number.to_i128().map(|number| number.to_string()))
            .or_else(|| number.to_f64().map(|number| number.to_string()))
            .unwrap_or_default(),
        Value::Array(_, items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        _ => "-".to_owned(),
    }
}
