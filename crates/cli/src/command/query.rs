//! `rolegate query`: asks a gateway, as anybody can.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand};
use rolegate_query::PurgeKeys;
use rolegate_roles::explain::name_parts;
use serde_json::{Value, json};

use crate::config;
use crate::development::Record;
use crate::logging::say;

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  rolegate query explain 'select id from item where id = $1' --param 7 --data-dir .rolegate
  rolegate query explain 'select amount from app.expense_claim' --data-dir .rolegate --as alice
  rolegate query explain 'table item' --url https://api.example --token-file alice.token

Exit code 2 if it is refused.";

const PURGE_KEY_EXAMPLES: &str = "\
Examples:
  rolegate query purge-key api.rate
  rolegate query purge-key api.rate 'api.\"Order\"' --json
  rolegate --config rolegate.toml query purge-key --database app

The first gives two lines, and both keys are to be purged.";

/// SQL over HTTP.
#[derive(Debug, Subcommand)]
pub(crate) enum Query {
    /// Says who gets an answer to a query, what it reads, and whether the answer can be kept. Nothing is run.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Prints the keys by which copies of answers are purged at a CDN: of those that read a table or a view, or of all.
    ///
    /// Made from the configuration alone, which is read as `serve` reads it; nothing is connected to. So a name that is
    /// that of no table has a key, too. Answers that read too many tables have one key for all of them, which is
    /// printed with each.
    #[command(after_help = PURGE_KEY_EXAMPLES)]
    PurgeKey(PurgeKey),
}

/// Of which answers.
#[derive(Debug, Args)]
pub(crate) struct PurgeKey {
    /// Tables and views, as `schema.name`; without any the key of all answers of the database.
    #[arg(value_name = "RELATION")]
    relations: Vec<String>,
    /// The database's name in the configuration; needed if there is more than one.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// As a JSON object.
    #[arg(long)]
    json: bool,
}

/// What to explain, and to whom.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("gateway").required(true).args(["url", "data_dir"]))]
pub(crate) struct Explain {
    /// The query.
    sql: String,
    /// Value of $1, $2, ... as JSON; what is not JSON is text. Once for each.
    #[arg(long = "param", value_name = "VALUE")]
    params: Vec<String>,
    /// The database's name at the gateway; needed if there is more than one.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// The gateway.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File with the bearer token; without one nobody in particular asks.
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// The gateway of `rolegate dev --data-dir DIR`.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// One of its people.
    #[arg(long = "as", value_name = "PERSON", requires = "data_dir")]
    person: Option<String>,
}

/// `config`: the file that was named.
pub(crate) async fn run(command: Query, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    match command {
        Query::Explain(command) => explain(command).await,
        Query::PurgeKey(command) => purge_key(&command, config),
    }
}

fn purge_key(command: &PurgeKey, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let config = config::load(config)?.config;
    let mut names = config.databases.keys();
    let name = match (&command.database, names.next(), names.next()) {
        (Some(name), ..) => name,
        (None, Some(only), None) => only,
        _ => anyhow::bail!("--database has to say which of the configured databases is meant"),
    };
    let section = config.databases.get(name);
    let section = section.context("--database: no database of this name is configured")?;
    let keys =
        config::purge_keys(name, &section.query).with_context(|| format!("databases.{name}"))?;
    let mut lines = Vec::new();
    for relation in &command.relations {
        let parts = name_parts(relation)?;
        let [schema, table] = &*parts else {
            anyhow::bail!("{relation:?} needs its schema: schema.name");
        };
        lines.push((keys.of_relation(schema, table), relation.clone()));
    }
    if lines.is_empty() {
        lines.push((keys.of_database(), "all answers".to_owned()));
    } else {
        let many = format!("answers that read more than {} of them", PurgeKeys::MOST);
        lines.push((keys.of_many(), many));
    }
    if command.json {
        let keys: Vec<&String> = lines.iter().map(|(key, _)| key).collect();
        say(json!({ "header": section.query.purge_key_header, "keys": keys }));
    } else {
        for (key, of) in lines {
            say(format_args!("{key}\t{of}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn explain(command: Explain) -> anyhow::Result<ExitCode> {
    let (url, token) = gateway(&command)?;
    let params: Vec<Value> = command
        .params
        .iter()
        .map(|text| serde_json::from_str(text).unwrap_or_else(|_| json!(text)))
        .collect();
    let mut body = json!({ "sql": command.sql, "params": params });
    if let Some(database) = command.database {
        body["database"] = database.into();
    }
    let url = format!("{}/query/explain", url.trim_end_matches('/'));
    let mut request = reqwest::Client::new().post(&url).json(&body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.with_context(|| url.clone())?;
    let status = answer.status();
    let text = answer.text().await.with_context(|| url.clone())?;
    let answer: Value = serde_json::from_str(&text)
        .with_context(|| format!("{url}: {status}, and no JSON: is it a gateway?"))?;
    say(serde_json::to_string_pretty(&answer)?);
    Ok(if status.is_success() {
        ExitCode::SUCCESS
    } else if status.is_client_error() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    })
}

/// Where to ask, and with which token.
fn gateway(command: &Explain) -> anyhow::Result<(String, Option<String>)> {
    if let Some(directory) = &command.data_dir {
        return of_development(directory, command.person.as_deref());
    }
    let token = command
        .token_file
        .as_ref()
        .map(|file| {
            let text = std::fs::read_to_string(file);
            text.with_context(|| file.display().to_string())
        })
        .transpose()?;
    let token = token.map(|text| text.trim().to_owned());
    Ok((command.url.clone().unwrap_or_default(), token))
}

fn of_development(
    directory: &Path,
    person: Option<&str>,
) -> anyhow::Result<(String, Option<String>)> {
    let record = Record::read(directory)?;
    let token = person
        .map(|name| {
            let person = record.users.get(name);
            let person = person.with_context(|| format!("there is no {name} in dev.json"))?;
            Ok::<_, anyhow::Error>(person.token.clone())
        })
        .transpose()?;
    Ok((record.gateway_url, token))
}
