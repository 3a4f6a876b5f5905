//! `rolegate batch`: as the operator's own login.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::connect::Target;
use super::rows::{Rows, value};
use crate::logging::say;

const PREVIEW_EXAMPLES: &str = "\
Examples:
  rolegate batch preview cancel --queue mail --kind newsletter --data-dir .rolegate";

const SUBMIT_EXAMPLES: &str = "\
Examples:
  rolegate batch submit cancel --kind newsletter --reason 'sent twice' --data-dir .rolegate
  rolegate batch submit retry --dead-letters --kind send_email --data-dir .rolegate
  rolegate batch submit move --state available --queue mail --to-queue slow \\
      --database postgresql://me@db.example/app

Prints the batch's id. The maintenance does it, wherever that runs; see `rolegate batch list`.";

const LIST_EXAMPLES: &str = "\
Examples:
  rolegate batch list --data-dir .rolegate";

const STOP_EXAMPLES: &str = "\
Examples:
  rolegate batch stop 7 --data-dir .rolegate";

/// What is done to many jobs at once.
#[derive(Debug, Subcommand)]
pub(crate) enum Batch {
    /// Counts the jobs that a batch would look at.
    #[command(after_help = PREVIEW_EXAMPLES)]
    Preview {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        target: Target,
    },
    /// Cancels, retries or moves jobs that are there now.
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit {
        #[command(flatten)]
        which: Which,
        /// Why, for people who look at the jobs.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Lists batches, the newest first.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// How many at most.
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        max: i32,
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Ends a batch where it is; what was done stays done.
    #[command(after_help = STOP_EXAMPLES)]
    Stop {
        /// The batch.
        id: i64,
        #[command(flatten)]
        target: Target,
    },
}

/// An action, and the jobs it is for.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Which {
    /// cancel, retry or move.
    #[arg(value_parser = ["cancel", "retry", "move"])]
    action: String,
    /// In this state.
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
    /// Dead letters only.
    #[arg(long)]
    dead_letters: bool,
    /// Put them in this queue.
    #[arg(long, value_name = "QUEUE")]
    to_queue: Option<String>,
    /// Give them this priority, 1 (first) to 4.
    #[arg(long, value_name = "NUMBER")]
    to_priority: Option<i32>,
}

pub(crate) async fn run(command: Batch) -> anyhow::Result<ExitCode> {
    match command {
        Batch::Preview { which, target } => preview(&which, &target).await?,
        Batch::Submit {
            which,
            reason,
            target,
        } => {
            let sql = "select rolegate.submit_batch($1, $2, $3, $4, $5, $6, $7, $8, $9)";
            let id: i64 = value(
                &target,
                sql,
                &[
                    &which.action,
                    &which.state,
                    &which.queue,
                    &which.kind,
                    &which.tag,
                    &which.dead_letters,
                    &which.to_queue,
                    &which.to_priority,
                    &reason,
                ],
            )
            .await?;
            say(id);
        }
        Batch::List { max, json, target } => {
            let rows = Rows {
                source: "rolegate.batches($1)",
                columns: &[
                    ("id", "t.id"),
                    ("state", "t.state"),
                    ("action", "t.action"),
                    ("looked at", "t.looked_at"),
                    ("changed", "t.changed"),
                    ("refused", "t.refused"),
                    ("jobs", JOBS),
                    ("submitted", "t.submitted_at"),
                    ("by", "t.submitted_by"),
                ],
                json,
            };
            rows.print(&target, &[&max]).await?;
        }
        Batch::Stop { id, target } => {
            let stopped: bool = value(&target, "select rolegate.stop_batch($1)", &[&id]).await?;
            if !stopped {
                anyhow::bail!("batch {id} has ended, or is not there");
            }
            say("stopped");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a batch is for, in one column.
const JOBS: &str = "pg_catalog.concat_ws(' ', case when t.dead_letters then 'dead letters' end, \
    t.only_state, 'queue=' || t.only_queue, 'kind=' || t.only_kind, \
    'tag=' || t.only_tag, 'to ' || t.to_queue, 'to priority ' || t.to_priority)";

async fn preview(which: &Which, target: &Target) -> anyhow::Result<()> {
    let sql = "select pg_catalog.concat(p.jobs, case when p.at_least then '+' end) \
               from rolegate.preview_batch($1, $2, $3, $4, $5, $6, $7, $8) p";
    let jobs: String = value(
        target,
        sql,
        &[
            &which.action,
            &which.state,
            &which.queue,
            &which.kind,
            &which.tag,
            &which.dead_letters,
            &which.to_queue,
            &which.to_priority,
        ],
    )
    .await?;
    say(jobs);
    Ok(())
}
