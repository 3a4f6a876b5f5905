//! `rolegate job`: as the operator's own login, or a producer's.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tokio_postgres::types::ToSql;

use super::connect::Target;
use super::rows::{Rows, value};
use super::tail::Tail;
use crate::logging::say;

const LIST_EXAMPLES: &str = "\
Examples:
  rolegate job list --state failed --data-dir .rolegate
  rolegate job list --queue mail --kind send_email --max 500 --json \\
      --database postgresql://me@db.example/app
  rolegate job list --tag invoice-4711 --data-dir .rolegate

Operators and viewers see all jobs, others those of roles whose rights they have. Where the list goes on
is said on standard error.";

const SHOW_EXAMPLES: &str = "\
Examples:
  rolegate job show 4711 --data-dir .rolegate
  rolegate job show 4711 --json --database postgresql://me@db.example/app";

const ENQUEUE_EXAMPLES: &str = "\
Examples:
  rolegate job enqueue send_email --args '{\"to\": \"a@b.c\"}' --data-dir .rolegate
  rolegate job enqueue app.clean_up --queue slow --run-at '2026-12-24 18:00+01' --unique-key daily \\
      --database postgresql://me@db.example/app";

const RETRY_EXAMPLES: &str = "\
Examples:
  rolegate job retry 4711 --data-dir .rolegate
  rolegate job retry 4711 --args '{\"to\": \"a@b.d\"}' --database postgresql://me@db.example/app";

const CANCEL_EXAMPLES: &str = "\
Examples:
  rolegate job cancel 4711 4712 --reason 'sent by hand' --data-dir .rolegate";

const TAIL_EXAMPLES: &str = "\
Examples:
  rolegate job tail --data-dir .rolegate
  rolegate job tail --queue mail --state failed --json --database postgresql://me@db.example/app

Looks once a second whether anything was committed, and lists then. What happens to a job between two looks
is not seen, only what it came to.";

const MOVE_EXAMPLES: &str = "\
Examples:
  rolegate job move 4711 --priority 1 --data-dir .rolegate
  rolegate job move 4711 --run-at now --database postgresql://me@db.example/app";

/// Jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Lists jobs, those that came to their lane last first.
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Prints jobs as they come, and when their state changes, until it is interrupted.
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(Tail),
    /// Prints all there is to know of a job.
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Its id.
        id: i64,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Enqueues a job, and prints its id.
    #[command(after_help = ENQUEUE_EXAMPLES)]
    Enqueue(Box<Enqueue>),
    /// Runs a job again that failed, was cancelled or waits for a callback, with all its attempts.
    #[command(after_help = RETRY_EXAMPLES)]
    Retry {
        /// Its id.
        id: i64,
        #[command(flatten)]
        place: Place,
        /// Other arguments, as JSON.
        #[arg(long, value_name = "JSON")]
        args: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Cancels jobs that have not ended.
    #[command(after_help = CANCEL_EXAMPLES)]
    Cancel {
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<i64>,
        /// Why; kept with the job.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Moves a job that waits to another queue, priority or time.
    #[command(after_help = MOVE_EXAMPLES)]
    Move {
        /// Its id.
        id: i64,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        target: Target,
    },
}

/// Which jobs, and how many.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// In this state: scheduled, available, running, `waiting_external`, retryable, completed, failed or
    /// cancelled.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// In this queue.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Of this kind.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// With this tag.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Below this place, where a list before has ended.
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
    /// How many at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..))]
    max: i32,
    /// As JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Where a job goes.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Another queue.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Another priority: 1 (first) to 4.
    #[arg(long, value_name = "NUMBER")]
    priority: Option<i32>,
    /// Not before this time, as PostgreSQL reads it.
    #[arg(long, value_name = "TIME")]
    run_at: Option<String>,
}

/// What a job is.
#[derive(Debug, Args)]
pub(crate) struct Enqueue {
    /// What is to be done; the name of a SQL function runs that function.
    kind: String,
    #[command(flatten)]
    target: Target,
    /// Arguments, as JSON.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    args: String,
    /// Queue it goes to.
    #[arg(long, value_name = "QUEUE", default_value = "default")]
    queue: String,
    /// Not before this time, as PostgreSQL reads it.
    #[arg(long, value_name = "TIME")]
    run_at: Option<String>,
    /// 1 (first) to 4.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    priority: i32,
    /// Attempts it has.
    #[arg(long, value_name = "NUMBER", default_value_t = 25)]
    max_attempts: i32,
    /// There is no second one of the kind with this key until it has ended.
    #[arg(long, value_name = "KEY")]
    unique_key: Option<String>,
    /// Of the queue's jobs with this key one runs at a time, in their order.
    #[arg(long, value_name = "KEY", conflicts_with = "limit_key")]
    ordering_key: Option<String>,
    /// The queue's limits for each key count the jobs with this one together.
    #[arg(long, value_name = "KEY")]
    limit_key: Option<String>,
    /// How long it waits after its first attempt that failed, as `10s`; doubled with each.
    #[arg(long, value_name = "TIME")]
    backoff: Option<String>,
    /// The longest it waits for that reason.
    #[arg(long, value_name = "TIME")]
    max_backoff: Option<String>,
    /// A mark to find it by, once for each.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Option<Vec<String>>,
}

pub(crate) async fn run(command: Job) -> anyhow::Result<ExitCode> {
    match command {
        Job::List(list) => list.print().await?,
        Job::Tail(tail) => tail.follow().await?,
        Job::Show { id, json, target } => show(id, json, &target).await?,
        Job::Enqueue(job) => say(job.enqueue().await?),
        Job::Retry {
            id,
            place,
            args,
            target,
        } => {
            // Times and JSON as text: the server reads them, and no number is changed on the way.
            let sql = "select rolegate.retry($1, $2, $3, $4::text::timestamptz, $5::text::jsonb)";
            let Place {
                queue,
                priority,
                run_at,
            } = place;
            if !value(&target, sql, &[&id, &queue, &priority, &run_at, &args]).await? {
                anyhow::bail!(
                    "job {id} has not failed, was not cancelled and waits for no callback, or is not there"
                );
            }
            say("retried");
        }
        Job::Cancel {
            ids,
            reason,
            target,
        } => return cancel(&ids, reason.as_deref(), &target).await,
        Job::Move { id, place, target } => {
            let sql = "select rolegate.move_job($1, $2, $3, $4::text::timestamptz)";
            let Place {
                queue,
                priority,
                run_at,
            } = place;
            if !value(&target, sql, &[&id, &queue, &priority, &run_at]).await? {
                anyhow::bail!("job {id} does not wait, or is not there");
            }
            say("moved");
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl List {
    async fn print(&self) -> anyhow::Result<()> {
        let rows = Rows {
            source: "rolegate.list_jobs($1, $2, $3, $4, $5, $6)",
            columns: &[
                ("id", "t.id"),
                ("state", "t.state"),
                ("queue", "t.queue"),
                ("kind", "t.kind"),
                ("priority", "t.priority"),
                ("attempt", "t.attempt || '/' || t.max_attempts"),
                ("enqueued", "t.enqueued_at"),
                ("runs at", "t.run_at"),
                ("reason", "t.reason"),
                ("enqueued by", "t.enqueued_by"),
            ],
            json: self.json,
        };
        let filters: [&(dyn ToSql + Sync); 4] = [&self.state, &self.queue, &self.kind, &self.tag];
        rows.pages(&self.target, &filters, self.before, self.max)
            .await
    }
}

async fn show(id: i64, json: bool, target: &Target) -> anyhow::Result<()> {
    let client = target.connect().await?;
    let sql = if json {
        "select pg_catalog.to_jsonb(j)::text from rolegate.job($1) j"
    } else {
        "select e.key || e'\\t' || e.value from rolegate.job($1) j, \
         pg_catalog.json_each_text(pg_catalog.to_json(j)) with ordinality e (key, value, nth) \
         where e.value is not null order by e.nth"
    };
    let sql = target.names()?.render(sql).into_owned();
    let rows = client.query(&sql, &[&id]).await?;
    if rows.is_empty() {
        anyhow::bail!("there is no job {id} that you may see");
    }
    for row in rows {
        say(row.try_get::<_, &str>(0)?);
    }
    Ok(())
}

impl Enqueue {
    async fn enqueue(&self) -> anyhow::Result<i64> {
        let sql = "select rolegate.enqueue($1, $2::text::jsonb, queue => $3, \
            run_at => $4::text::timestamptz, priority => $5, max_attempts => $6, unique_key => $7, \
            tags => $8, ordering_key => $9, limit_key => $10, \
            backoff => $11::text::interval, max_backoff => $12::text::interval)";
        value(
            &self.target,
            sql,
            &[
                &self.kind,
                &self.args,
                &self.queue,
                &self.run_at,
                &self.priority,
                &self.max_attempts,
                &self.unique_key,
                &self.tags,
                &self.ordering_key,
                &self.limit_key,
                &self.backoff,
                &self.max_backoff,
            ],
        )
        .await
    }
}

/// Each by itself, so that one that has ended does not hold up the others.
async fn cancel(ids: &[i64], reason: Option<&str>, target: &Target) -> anyhow::Result<ExitCode> {
    let client = target.connect().await?;
    let sql = target
        .names()?
        .render("select rolegate.cancel($1, $2)")
        .into_owned();
    let mut missed = Vec::new();
    for id in ids {
        if client.query_one(&sql, &[id, &reason]).await?.try_get(0)? {
            say(format_args!("{id} cancelled"));
        } else {
            missed.push(id.to_string());
        }
    }
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::bail!("ended already, or not there: {}", missed.join(", "))
}
