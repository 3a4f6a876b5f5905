//! `rolegate queue`: as the operator's own login.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::connect::Target;
use super::rows::{Rows, until_none, value};
use crate::logging::say;

const LIST_EXAMPLES: &str = "\
Examples:
  rolegate queue list --data-dir .rolegate
  rolegate queue list --json --database postgresql://me@db.example/app

A count that stands for more is followed by a plus sign, in JSON named in `at_least`.";

const SET_EXAMPLES: &str = "\
Examples:
  rolegate queue set mail --dead-letters true --backoff 10s --max-backoff 1h --data-dir .rolegate
  rolegate queue set bulk --aging 0 --database postgresql://me@db.example/app

What is not named stays as it is. Times are intervals, as PostgreSQL reads them.";

const DRAIN_EXAMPLES: &str = "\
Examples:
  rolegate queue drain mail --data-dir .rolegate

Jobs that run, or wait for a callback, go on. What is enqueued meanwhile is cancelled, too.";

const WORKERS_EXAMPLES: &str = "\
Examples:
  rolegate queue workers --data-dir .rolegate";

const CREATE_EXAMPLES: &str = "\
Examples:
  rolegate queue create mail --data-dir .rolegate";

const PAUSE_EXAMPLES: &str = "\
Examples:
  rolegate queue pause mail --database postgresql://me@db.example/app";

const RESUME_EXAMPLES: &str = "\
Examples:
  rolegate queue resume mail --data-dir .rolegate";

/// Queues.
#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Lists queues, how much is in them and how long the first job has waited.
    #[command(after_help = LIST_EXAMPLES)]
    List(Shown),
    /// Lists the workers, and how many jobs each runs.
    #[command(after_help = WORKERS_EXAMPLES)]
    Workers(Shown),
    /// Makes a queue.
    #[command(after_help = CREATE_EXAMPLES)]
    Create(Named),
    /// Lets nothing more of a queue be claimed; what runs goes on.
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(Named),
    /// Lets a paused queue go on.
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(Named),
    /// Changes settings of a queue.
    #[command(after_help = SET_EXAMPLES)]
    Set {
        #[command(flatten)]
        named: Named,
        /// Waiting this long counts as one level of priority; 0: never.
        #[arg(long, value_name = "TIME")]
        aging: Option<String>,
        /// Whether jobs that failed for good are kept for people.
        #[arg(long, value_name = "BOOL")]
        dead_letters: Option<bool>,
        /// How long the first failure waits; each further one twice as long.
        #[arg(long, value_name = "TIME")]
        backoff: Option<String>,
        /// The longest such wait.
        #[arg(long, value_name = "TIME")]
        max_backoff: Option<String>,
    },
    /// Cancels everything that waits in a queue, and prints how many jobs that were.
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(Named),
}

/// How to show it.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// As JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// A queue by its name.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name.
    name: String,
    #[command(flatten)]
    target: Target,
}

impl Named {
    async fn ask(&self, sql: &str) -> anyhow::Result<bool> {
        value(&self.target, sql, &[&self.name]).await
    }
}

pub(crate) async fn run(command: Queue) -> anyhow::Result<ExitCode> {
    match command {
        Queue::List(shown) => list(&shown).await?,
        Queue::Workers(shown) => workers(&shown).await?,
        Queue::Create(named) => {
            let made = named.ask("select rolegate.create_queue($1)").await?;
            say(if made { "made" } else { "was there already" });
        }
        Queue::Pause(named) => {
            let paused = named.ask("select rolegate.pause_queue($1)").await?;
            say(if paused {
                "paused"
            } else {
                "was paused already"
            });
        }
        Queue::Resume(named) => {
            let resumed = named.ask("select rolegate.resume_queue($1)").await?;
            say(if resumed { "resumed" } else { "was not paused" });
        }
        Queue::Set {
            named,
            aging,
            dead_letters,
            backoff,
            max_backoff,
        } => {
            let sql = "select rolegate.set_queue($1, $2::text::interval, $3, $4::text::interval, \
                $5::text::interval)";
            let Named { name, target } = named;
            let client = target.connect().await?;
            let sql = target.names()?.render(sql).into_owned();
            client
                .execute(
                    &sql,
                    &[&name, &aging, &dead_letters, &backoff, &max_backoff],
                )
                .await?;
            say("changed");
        }
        Queue::Drain(named) => {
            let sql = "select rolegate.drain_queue($1)";
            say(until_none(&named.target, sql, &[&named.name]).await?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(shown: &Shown) -> anyhow::Result<()> {
    let rows = Rows {
        source: "rolegate.queues()",
        columns: &[
            ("queue", "t.queue"),
            (
                "state",
                "case when t.paused_at is null then 'active' else 'paused by ' || t.paused_by end",
            ),
            ("available", COUNTS[0]),
            ("running", COUNTS[1]),
            ("scheduled", COUNTS[2]),
            ("retryable", COUNTS[3]),
            ("waiting", COUNTS[4]),
            ("dead letters", COUNTS[5]),
            ("oldest", "t.oldest_available"),
            ("keeps dead letters", "t.dead_letters_kept"),
        ],
        json: shown.json,
    };
    rows.print(&shown.target, &[]).await
}

const COUNTS: [&str; 6] = [
    "t.available || case when 'available' = any (t.at_least) then '+' else '' end",
    "t.running || case when 'running' = any (t.at_least) then '+' else '' end",
    "t.scheduled || case when 'scheduled' = any (t.at_least) then '+' else '' end",
    "t.retryable || case when 'retryable' = any (t.at_least) then '+' else '' end",
    "t.waiting_external || case when 'waiting_external' = any (t.at_least) then '+' else '' end",
    "t.dead_letters || case when 'dead_letters' = any (t.at_least) then '+' else '' end",
];

async fn workers(shown: &Shown) -> anyhow::Result<()> {
    let rows = Rows {
        source: "rolegate.workers()",
        columns: &[
            ("id", "t.id"),
            ("name", "t.name"),
            ("version", "t.version"),
            ("queues", "pg_catalog.array_to_string(t.queues, ', ')"),
            ("started", "t.started_at"),
            ("seen", "t.seen_at"),
            ("running", "t.running"),
            ("oldest since", "t.oldest_claimed_at"),
        ],
        json: shown.json,
    };
    rows.print(&shown.target, &[]).await
}
