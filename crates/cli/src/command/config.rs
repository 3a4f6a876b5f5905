//! `rolegate config`: what is in force and where it comes from.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use figment::value::{Dict, Value};

use crate::config::{self, Config, Loaded, Outcome};
use crate::logging::say;

const CHECK_EXAMPLES: &str = "\
Examples:
  rolegate config check
  rolegate --config staging.toml config check
  ROLEGATE_GATEWAY__BIND=127.0.0.1:9000 rolegate config check";

/// The configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Checks the configuration and prints every value with its source.
    ///
    /// Reads the file and the environment like `serve`, and the files they name; connects nowhere.
    /// Environment variables of other systems are listed with what became of them. Secrets are not
    /// shown.
    #[command(after_help = CHECK_EXAMPLES)]
    Check,
    /// Prints the JSON schema of the configuration file, for editors.
    Schema,
    /// Prints the reference of all keys, as Markdown.
    Reference,
}

pub(crate) fn run(command: &ConfigCommand, named: Option<&Path>) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check => check(&config::load(named)?)?,
        ConfigCommand::Schema => {
            say(serde_json::to_string_pretty(&schemars::schema_for!(
                Config
            ))?);
        }
        ConfigCommand::Reference => say(config::reference_page().trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

fn check(loaded: &Loaded) -> anyhow::Result<()> {
    // Values with all defaults, also those inside of databases and issuers; and the same tree as
    // it was written, whose values know where they are from.
    let effective = Value::serialize(&loaded.config)?;
    let written = Value::from(loaded.figment.extract::<figment::value::Dict>()?);
    let sections = written.as_dict().into_iter().flatten();
    let written: Dict = sections
        .filter_map(|(key, _)| Some((key.clone(), loaded.figment.find_value(key).ok()?)))
        .collect();
    let mut lines = Vec::new();
    walk(
        &effective,
        Some(&written.into()),
        "",
        &mut |path, value, written| {
            let source = source(loaded, path, written);
            lines.push((path.to_owned(), shown(path, value), source));
        },
    );
    let width = lines.iter().map(|(path, ..)| path.len()).max().unwrap_or(0);
    for (path, value, source) in lines {
        say(format_args!("{path:width$}  {value}  ({source})"));
    }
    if !loaded.notes.is_empty() {
        say("\nvariables of other systems:");
    }
    for note in &loaded.notes {
        let outcome = match &note.outcome {
            Outcome::ReadAs(ours) => format!("read as {ours}; use that, or {}", variable(ours)),
            Outcome::Ignored(why) | Outcome::Never(why) => format!("not read: {why}"),
            Outcome::NotYet(surface) => format!("not yet: it belongs to {surface}"),
        };
        say(format_args!(
            "{} ({}): {outcome}",
            note.variable, note.peers
        ));
    }
    config::plan(&loaded.config)?;
    config::functions(&loaded.config)?;
    config::crons(&loaded.config)?;
    Ok(())
}

/// Where a value comes from.
pub(super) fn source(loaded: &Loaded, path: &str, written: Option<&Value>) -> String {
    let metadata = written.and_then(|value| loaded.figment.get_metadata(value.tag()));
    let Some(metadata) = metadata else {
        return "default".to_owned();
    };
    match &metadata.source {
        Some(figment::Source::File(file)) => file.display().to_string(),
        // Variables of others, with their names.
        _ if metadata.name.starts_with("environment ") => metadata.name.to_string(),
        _ if metadata.name.contains("environment") => format!("environment {}", variable(path)),
        _ => "default".to_owned(),
    }
}

/// Our variable for a key; for one in a list, that of the list.
fn variable(path: &str) -> String {
    let is_place = |part: &&str| part.parse::<usize>().is_err();
    let parts = path.split('.').map(|part| part.trim_end_matches("[]"));
    let list = path.contains("[]");
    let parts: Vec<&str> = if list {
        parts.take(1).collect()
    } else {
        parts.take_while(is_place).collect()
    };
    format!("ROLEGATE_{}", parts.join("__").to_uppercase())
}

/// Visits every leaf, with the same leaf of the other tree.
fn walk(
    value: &Value,
    written: Option<&Value>,
    path: &str,
    visit: &mut impl FnMut(&str, &Value, Option<&Value>),
) {
    match value {
        Value::Dict(_, entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let separator = if path.is_empty() { "" } else { "." };
                let written = written
                    .and_then(Value::as_dict)
                    .and_then(|dict| dict.get(key));
                walk(value, written, &format!("{path}{separator}{key}"), visit);
            }
        }
        Value::Array(_, items) if items.iter().any(|item| matches!(item, Value::Dict(..))) => {
            for (i, item) in items.iter().enumerate() {
                let written = written
                    .and_then(Value::as_array)
                    .and_then(|items| items.get(i));
                walk(item, written, &format!("{path}.{i}"), visit);
            }
        }
        value => visit(path, value, written),
    }
}

/// A value without its secrets.
fn shown(path: &str, value: &Value) -> String {
    match value {
        Value::String(_, text) => shown_text(path, text),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, number) => number
            .to_u128()
            .map(|number| number.to_string())
            .or_else(|| number.to_i128().map(|number| number.to_string()))
            .or_else(|| number.to_f64().map(|number| number.to_string()))
            .unwrap_or_default(),
        Value::Array(_, items) => {
            let items: Vec<String> = items.iter().map(|item| shown(path, item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Dict(..) => "{}".to_owned(),
        _ => "-".to_owned(),
    }
}

/// Hides secrets, also those that were written where none belongs.
fn shown_text(path: &str, text: &str) -> String {
    const HIDDEN: &str = "(secret)";
    let key = path.rsplit('.').next().unwrap_or_default();
    let names_a_file = key.ends_with("_file") || path.contains("_files.");
    let word = |text: &str, word: &str| text.to_lowercase().contains(word);
    if names_a_file {
        return if Path::new(text).exists() {
            format!("{text:?}")
        } else {
            "(not a file)".to_owned()
        };
    }
    if word(key, "secret")
        || (word(key, "password") && !word(key, "password_files"))
        || word(text, "private key")
        || word(text, "password=")
    {
        return HIDDEN.to_owned();
    }
    // Keys of functions are often in their queries.
    if key == "url"
        && path.starts_with("worker.http.")
        && let Some((address, _)) = text.split_once('?')
    {
        return format!("{:?}", [address, "?", HIDDEN].concat());
    }
    // User and password of a URL; a password may have slashes and at signs in it.
    match (text.find("://"), text.rfind('@')) {
        (Some(start), Some(end)) if start < end => {
            format!("{:?}", [&text[..start + 3], HIDDEN, &text[end..]].concat())
        }
        _ => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_they_were_written() {
        for (path, text) in [
            ("issuers.0.keys.shared_secret", "hunter2"),
            ("databases.app.url", "postgresql://me:hunter2@db/app"),
            ("databases.app.url", "postgresql://me:hunt/@er2@db/app"),
            ("databases.app.url", "postgresql://db/app?password=hunter2"),
            ("databases.app.url", "host=db password=hunter2"),
            ("databases.app.password_files.rolegate_gateway", "hunter2"),
            ("signing.seal_key_file", "hunter2"),
            ("worker.key_files.a", "hunter2"),
            ("worker.http.a.header_files.Authorization", "hunter2"),
            ("worker.http.a.url", "https://f.example/x?code=hunter2"),
            (
                "issuers.0.keys.public_key",
                "-----BEGIN PRIVATE KEY-----\nhunter2",
            ),
        ] {
            let shown = shown_text(path, text);
            assert!(!shown.contains("hunt"), "{path}: {shown}");
            assert!(!shown.contains("er2"), "{path}: {shown}");
        }
        assert_eq!(
            shown_text("databases.app.url", "postgresql://db/app"),
            "\"postgresql://db/app\""
        );
    }

    #[test]
    fn a_key_has_a_variable() {
        assert_eq!(variable("gateway.bind"), "ROLEGATE_GATEWAY__BIND");
        assert_eq!(variable("issuers[].keys.shared_secret"), "ROLEGATE_ISSUERS");
        assert_eq!(variable("issuers.0.name"), "ROLEGATE_ISSUERS");
    }
}
