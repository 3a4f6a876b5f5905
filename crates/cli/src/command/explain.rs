//! `rolegate explain`.

use std::process::ExitCode;

use clap::{ArgGroup, Args, ValueEnum};
use rolegate_roles::explain::{self, Privilege, Question, Verdict};

use super::connect::Target;
use crate::logging::say;

/// Says whether a role may do something, and the chain that decides it. Exit code 2 if it may not.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["function", "table", "sql"]))]
pub(crate) struct Explain {
    #[command(flatten)]
    target: Target,
    /// The role in question.
    #[arg(long = "as", value_name = "ROLE")]
    role: String,
    /// May it call this function: `schema.name`, or with types `schema.name(int, text)`.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// May it use this table or view: `schema.name`.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// What it would do with the table.
    #[arg(long, default_value = "select", requires = "table")]
    privilege: How,
    /// Column it would read or write, once for each; all by default.
    #[arg(long = "column", value_name = "NAME", requires = "table")]
    columns: Vec<String>,
    /// Which row: `column=value`, once for each column of the key.
    #[arg(long = "key", value_name = "COLUMN=VALUE", requires = "table")]
    key: Vec<String>,
    /// May it run this statement, which is planned and not run.
    #[arg(long, value_name = "SQL")]
    sql: Option<String>,
    /// Claims as JSON, for policies that read `request.jwt.claims`.
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
    /// Prints the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// How a table is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// Read.
    Select,
    /// Add a row.
    Insert,
    /// Change a row.
    Update,
    /// Remove a row.
    Delete,
}

pub(crate) async fn run(command: Explain) -> anyhow::Result<ExitCode> {
    let key = command
        .key
        .iter()
        .map(|pair| {
            pair.split_once('=')
                .map(|(column, value)| (column.to_owned(), value.to_owned()))
                .ok_or_else(|| anyhow::anyhow!("--key {pair:?}: expected COLUMN=VALUE"))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let target = match (command.function, command.table, command.sql) {
        (Some(name), ..) => explain::Target::Function(name),
        (_, Some(name), _) => explain::Target::Table {
            name,
            privilege: match command.privilege {
                How::Select => Privilege::Select,
                How::Insert => Privilege::Insert,
                How::Update => Privilege::Update,
                How::Delete => Privilege::Delete,
            },
            columns: command.columns,
            key,
        },
        (.., Some(sql)) => explain::Target::Sql(sql),
        (None, None, None) => anyhow::bail!("one of --function, --table and --sql is needed"),
    };
    let client = command.target.connect().await?;
    let question = Question {
        role: command.role,
        target,
        claims: command.claims,
    };
    let explanation = explain::explain(&client, &question).await?;
    if command.json {
        say(serde_json::to_string_pretty(&explanation.to_json())?);
    } else {
        say(explanation.render_text());
    }
    Ok(if explanation.verdict == Verdict::Denied {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}
