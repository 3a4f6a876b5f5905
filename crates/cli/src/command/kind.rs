//! `rolegate kind`: kinds of jobs, and what people are told about them.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::connect::Target;
use super::describe::Describe;
use super::rows::Rows;
use crate::logging::say;

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

const SET_EXAMPLES: &str = "\
Examples:
  rolegate kind set send_email --backoff 10s --max-backoff 1h --data-dir .rolegate
  rolegate kind set send_email --backoff none --max-backoff none --data-dir .rolegate

What is not named stays as it is. It counts before what the queue says, and a job may say something else.";

const SETTINGS_EXAMPLES: &str = "\
Examples:
  rolegate kind settings --data-dir .rolegate";

/// Kinds of jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Kind {
    /// Lists kinds, and what is known about them.
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Says what people are told about a kind.
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe(Describe),
    /// Says how long jobs of a kind wait that failed.
    #[command(after_help = SET_EXAMPLES)]
    Set(Set),
    /// Lists kinds of which that was said.
    #[command(after_help = SETTINGS_EXAMPLES)]
    Settings {
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
}

/// What is said about a kind.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The kind.
    kind: String,
    /// How long a job waits after its first attempt that failed, as `10s`; doubled with each. `none`: what the
    /// queue says.
    #[arg(long, value_name = "TIME")]
    backoff: Option<String>,
    /// The longest it waits for that reason, or `none`.
    #[arg(long, value_name = "TIME")]
    max_backoff: Option<String>,
    #[command(flatten)]
    target: Target,
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
        Kind::Set(set) => set.run().await?,
        Kind::Settings { json, target } => settings(json, &target).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Set {
    async fn run(&self) -> anyhow::Result<()> {
        // Below zero takes it back.
        let time = |given: &Option<String>| match given.as_deref() {
            Some("none") => Ok(Some("-1s".to_owned())),
            Some(time) if time.trim_start().starts_with('-') => {
                anyhow::bail!("{time} is below zero; `none` takes a time back")
            }
            given => Ok(given.map(str::to_owned)),
        };
        let sql = "select rolegate.set_kind($1, $2::text::interval, $3::text::interval)";
        let sql = self.target.names()?.render(sql).into_owned();
        let client = self.target.connect().await?;
        let (backoff, max_backoff) = (time(&self.backoff)?, time(&self.max_backoff)?);
        client
            .execute(&sql, &[&self.kind, &backoff, &max_backoff])
            .await?;
        say("set");
        Ok(())
    }
}

async fn settings(json: bool, target: &Target) -> anyhow::Result<()> {
    let rows = Rows {
        source: "rolegate.kind_settings()",
        columns: &[
            ("kind", "t.kind"),
            ("backoff", "t.backoff"),
            ("max backoff", "t.max_backoff"),
            ("set by", "t.set_by"),
        ],
        json,
    };
    rows.print(target, &[]).await
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
