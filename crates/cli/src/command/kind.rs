//! `rolegate kind`: kinds of jobs, and what people are told about them.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::connect::Target;
use super::describe::Describe;
use super::rows::Rows;

const LIST_EXAMPLES: &str = "\
Examples:
  rolegate kind list --data-dir .rolegate
  rolegate kind list --json --database postgresql://me@db.example/app

Kinds that a worker declared or somebody described. `drift` counts workers that are there and declare
something else than what is shown.";

const DESCRIBE_EXAMPLES: &str = "\
Examples:
  rolegate kind describe send_email --owner 'team mail' --docs-url https://wiki.example/mail \\
      --data-dir .rolegate
  rolegate kind describe send_email --owner '' --database postgresql://me@db.example/app
  rolegate kind describe send_email --forget --data-dir .rolegate

What is not named stays as it is, and an empty value takes it back. It counts more than what workers
declare.";

/// Kinds of jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Kind {
    /// Lists kinds, and what is known about them.
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Says what people are told about a kind.
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe(Describe),
}

/// How to show it.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Those after this name.
    #[arg(long, value_name = "NAME", default_value = "")]
    after: String,
    /// Kinds to list, at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    max: i32,
    /// As JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(command: Kind) -> anyhow::Result<ExitCode> {
    match command {
        Kind::List(list) => list.run().await?,
        Kind::Describe(describe) => describe.run("kind").await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl List {
    async fn run(&self) -> anyhow::Result<()> {
        let rows = Rows {
            source: "rolegate.descriptors('kind', $1, $2)",
            columns: &[
                ("kind", "t.name"),
                ("name", "t.display_name"),
                ("owner", "t.owner"),
                ("description", "t.description"),
                ("docs", "t.docs_url"),
                (
                    "tags",
                    "nullif(pg_catalog.array_to_string(t.tags, ', '), '')",
                ),
                ("said by", "t.source || ': ' || t.set_by"),
                ("workers", "t.declared_by"),
                ("drift", "pg_catalog.jsonb_array_length(t.drift)"),
            ],
            json: self.json,
        };
        rows.print(&self.target, &[&self.after, &self.max]).await
    }
}
