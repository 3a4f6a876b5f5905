//! `rolegate queue`: as the operator's own login.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::connect::Target;
use super::describe::Describe;
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

const LIMITS_EXAMPLES: &str = "\
Examples:
  rolegate queue limits mail --rate 50 --burst 10 --data-dir .rolegate
  rolegate queue limits reports --concurrency 4 --key-concurrency 1 --data-dir .rolegate
  rolegate queue limits reports --concurrency 0 --database postgresql://me@db.example/app

All workers keep them together. What is not named stays as it is; 0 takes a limit away.";

const RETENTION_EXAMPLES: &str = "\
Examples:
  rolegate queue retention --data-dir .rolegate
  rolegate queue retention --completed '7 days' --dead-letters '90 days' \\
      --database postgresql://me@db.example/app

For all queues. Times are intervals, as PostgreSQL reads them.";

const KEYS_EXAMPLES: &str = "\
Examples:
  rolegate queue keys mail --data-dir .rolegate";

const DRAIN_EXAMPLES: &str = "\
Examples:
  rolegate queue drain mail --data-dir .rolegate

Jobs that run, or wait for a callback, go on. What is enqueued meanwhile is cancelled, too.";

const DESCRIBE_EXAMPLES: &str = "\
Examples:
  rolegate queue describe mail --display-name 'E-mail' --owner 'team mail' --data-dir .rolegate
  rolegate queue describe mail --tag slow --tag customers --database postgresql://me@db.example/app
  rolegate queue describe mail --forget --data-dir .rolegate

What is not named stays as it is, and an empty value takes it back. It counts more than what workers
declare; `rolegate queue list --json` shows both.";

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
    /// Changes how many jobs of a queue run at a time and begin in a second, in all workers together.
    #[command(after_help = LIMITS_EXAMPLES)]
    Limits {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        limits: QueueLimits,
    },
    /// Lists the ordering and limit keys of a queue: how many of their jobs run, and wait for that.
    #[command(after_help = KEYS_EXAMPLES)]
    Keys {
        /// The queue.
        name: String,
        /// Keys to list, at most.
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        max: i32,
        #[command(flatten)]
        shown: Shown,
    },
    /// Shows how long ended jobs are kept, after changing what is named.
    #[command(after_help = RETENTION_EXAMPLES)]
    Retention(Retention),
    /// Says what people are told about a queue.
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe(Describe),
    /// Cancels everything that waits in a queue, and prints how many jobs that were.
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(Named),
}

/// See `rolegate.set_queue_limits`.
#[derive(Debug, Args)]
pub(crate) struct QueueLimits {
    /// Jobs that run at a time.
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<i32>,
    /// Jobs that begin in a second.
    #[arg(long, value_name = "NUMBER")]
    rate: Option<f64>,
    /// Jobs that begin at once after a pause; without it, those of a second.
    #[arg(long, value_name = "NUMBER")]
    burst: Option<i32>,
    /// Jobs of one limit key that run at a time.
    #[arg(long, value_name = "NUMBER")]
    key_concurrency: Option<i32>,
    /// Jobs of one limit key that begin in a second.
    #[arg(long, value_name = "NUMBER")]
    key_rate: Option<f64>,
    /// Jobs of one limit key that begin at once after a pause.
    #[arg(long, value_name = "NUMBER")]
    key_burst: Option<i32>,
}

/// See `rolegate.set_job_retention`.
#[derive(Debug, Args)]
pub(crate) struct Retention {
    /// Jobs that completed.
    #[arg(long, value_name = "TIME")]
    completed: Option<String>,
    /// Jobs that failed or were cancelled.
    #[arg(long, value_name = "TIME")]
    failed: Option<String>,
    /// Dead letters.
    #[arg(long, value_name = "TIME")]
    dead_letters: Option<String>,
    #[command(flatten)]
    shown: Shown,
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
        Queue::Limits { named, limits } => {
            let sql = "select rolegate.set_queue_limits($1, $2, $3, $4, $5, $6, $7)";
            let Named { name, target } = named;
            let client = target.connect().await?;
            let sql = target.names()?.render(sql).into_owned();
            let QueueLimits {
                concurrency,
                rate,
                burst,
                key_concurrency,
                key_rate,
                key_burst,
            } = limits;
            client
                .execute(
                    &sql,
                    &[
                        &name,
                        &concurrency,
                        &rate,
                        &burst,
                        &key_concurrency,
                        &key_rate,
                        &key_burst,
                    ],
                )
                .await?;
            say("changed");
        }
        Queue::Describe(describe) => describe.run("queue").await?,
        Queue::Retention(retention) => retention.run().await?,
        Queue::Keys { name, max, shown } => keys(&name, max, &shown).await?,
        Queue::Drain(named) => {
            let sql = "select rolegate.drain_queue($1)";
            say(until_none(&named.target, sql, &[&named.name]).await?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(shown: &Shown) -> anyhow::Result<()> {
    let rows = Rows {
        source: "(select q.*, d.display_name, d.description, d.owner, d.docs_url, d.tags, d.drift \
            from rolegate.queues() q \
            left join rolegate.descriptors('queue') d on d.name = q.queue order by q.queue)",
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
            ("blocked", "t.blocked"),
            ("limits", LIMITS),
        ],
        json: shown.json,
    };
    rows.print(&shown.target, &[]).await
}

const LIMITS: &str = "(select pg_catalog.string_agg(l.key || '=' || l.value, ' ' order by l.key) \
    from pg_catalog.jsonb_each_text(t.limits) l)";

const COUNTS: [&str; 6] = [
    "t.available || case when 'available' = any (t.at_least) then '+' else '' end",
    "t.running || case when 'running' = any (t.at_least) then '+' else '' end",
    "t.scheduled || case when 'scheduled' = any (t.at_least) then '+' else '' end",
    "t.retryable || case when 'retryable' = any (t.at_least) then '+' else '' end",
    "t.waiting_external || case when 'waiting_external' = any (t.at_least) then '+' else '' end",
    "t.dead_letters || case when 'dead_letters' = any (t.at_least) then '+' else '' end",
];

impl Retention {
    async fn run(&self) -> anyhow::Result<()> {
        let Self {
            completed,
            failed,
            dead_letters,
            shown,
        } = self;
        if completed.is_some() || failed.is_some() || dead_letters.is_some() {
            let client = shown.target.connect().await?;
            let sql = "select rolegate.set_job_retention($1::text::interval, $2::text::interval, \
                $3::text::interval)";
            let sql = shown.target.names()?.render(sql).into_owned();
            client
                .execute(&sql, &[completed, failed, dead_letters])
                .await?;
        }
        let rows = Rows {
            source: "rolegate.job_retention()",
            columns: &[
                ("completed", "t.completed"),
                ("failed", "t.failed"),
                ("dead letters", "t.dead_letters"),
                ("segments at most", "t.max_segments"),
            ],
            json: shown.json,
        };
        rows.print(&shown.target, &[]).await
    }
}

async fn keys(queue: &str, max: i32, shown: &Shown) -> anyhow::Result<()> {
    let rows = Rows {
        source: "rolegate.queue_keys($1, $2)",
        columns: &[
            ("ordering key", "t.ordering_key"),
            ("limit key", "t.limit_key"),
            ("placed", "t.placed"),
            ("waiting", "t.waiting"),
            ("oldest", "t.oldest_waiting"),
        ],
        json: shown.json,
    };
    rows.print(&shown.target, &[&queue, &max]).await
}

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
