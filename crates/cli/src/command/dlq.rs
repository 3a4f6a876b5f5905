//! `rolegate dlq`: as the operator's own login.

use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};

use super::connect::Target;
use super::rows::{Rows, until_none, value};
use crate::logging::say;

const LIST_EXAMPLES: &str = "\
Examples:
  rolegate dlq list --data-dir .rolegate
  rolegate dlq list --queue mail --json --database postgresql://me@db.example/app";

const RETRY_EXAMPLES: &str = "\
Examples:
  rolegate dlq retry --queue mail --kind send_email --data-dir .rolegate
  rolegate dlq retry --all --database postgresql://me@db.example/app

A single one, with changes if you like, is retried by `rolegate job retry`.";

const PURGE_EXAMPLES: &str = "\
Examples:
  rolegate dlq purge --queue mail --before '2026-10-01' --data-dir .rolegate
  rolegate dlq purge --all --database postgresql://me@db.example/app";

/// Dead letters: jobs that failed for good and are kept for people.
#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// Lists dead letters, the newest first.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// In this queue.
        #[arg(long, value_name = "QUEUE")]
        queue: Option<String>,
        /// Of this kind.
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// With this tag.
        #[arg(long, value_name = "TAG")]
        tag: Option<String>,
        /// Below this job.
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
        /// How many at most.
        #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..))]
        max: i32,
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Puts dead letters back in their queues, and prints how many.
    #[command(after_help = RETRY_EXAMPLES)]
    Retry {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        target: Target,
    },
    /// Forgets dead letters, and prints how many.
    #[command(after_help = PURGE_EXAMPLES)]
    #[command(group = ArgGroup::new("purged").required(true).multiple(true).args(["queue", "kind", "tag", "all", "before"]))]
    Purge {
        #[command(flatten)]
        which: Purged,
        /// Only what ended before this time, as PostgreSQL reads it.
        #[arg(long, value_name = "TIME")]
        before: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

/// Which dead letters; one of these has to be given.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Which {
    /// Those of this queue.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Those of this kind.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Those with this tag.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// All there are.
    #[arg(long, conflicts_with_all = ["queue", "kind", "tag"])]
    all: bool,
}

/// Which dead letters are forgotten.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Purged {
    /// Those of this queue.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Those of this kind.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Those with this tag.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// All there are.
    #[arg(long, conflicts_with_all = ["queue", "kind", "tag", "before"])]
    all: bool,
}

pub(crate) async fn run(command: Dlq) -> anyhow::Result<ExitCode> {
    match command {
        Dlq::List {
            queue,
            kind,
            tag,
            before,
            max,
            json,
            target,
        } => {
            let rows = Rows {
                source: "rolegate.dead_letters($1, $2, $3, $4, $5)",
                columns: &[
                    ("id", "t.id"),
                    ("queue", "t.queue"),
                    ("kind", "t.kind"),
                    ("attempt", "t.attempt || '/' || t.max_attempts"),
                    ("ended", "t.ended_at"),
                    ("reason", "t.reason"),
                    ("error", "t.error #>> '{}'"),
                    ("enqueued by", "t.enqueued_by"),
                ],
                json,
            };
            rows.pages(&target, &[&queue, &kind, &tag], before, max)
                .await?;
        }
        Dlq::Retry { which, target } => {
            // Those there are now: what fails again meanwhile is not retried again.
            let now = "select pg_catalog.clock_timestamp()::text";
            let now: String = value(&target, now, &[]).await?;
            let sql = "select rolegate.retry_dead_letters($1, $2, $3, $4::text::timestamptz)";
            say(until_none(&target, sql, &[&which.queue, &which.kind, &which.tag, &now]).await?);
        }
        Dlq::Purge {
            which,
            before,
            target,
        } => {
            let sql = "select rolegate.purge_dead_letters($1, $2, $3, $4::text::timestamptz)";
            say(until_none(
                &target,
                sql,
                &[&which.queue, &which.kind, &which.tag, &before],
            )
            .await?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
