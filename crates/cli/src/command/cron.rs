//! `rolegate cron`: as the operator's own login.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use rolegate_jobs::cron::Schedule;
use rolegate_model::{Clock as _, SystemClock};
use serde_json::Value;

use super::connect::Target;
use crate::logging::{note, say};

const SET_EXAMPLES: &str = "\
Examples:
  rolegate cron set nightly '30 2 * * *' app.clean_up --time-zone Europe/Berlin --data-dir .rolegate
  rolegate cron set poll '*/10 * * * * *' poll --args '{\"source\": 7}' --only-one \\
      --database postgresql://me@db.example/app
  rolegate cron set reports @monthly app.report --run-as reporting --catch-up --data-dir .rolegate

An entry of this name is changed. Five fields, six with seconds in front, or a nickname.";

const LIST_EXAMPLES: &str = "\
Examples:
  rolegate cron list --data-dir .rolegate
  rolegate cron list --json --database postgresql://me@db.example/app";

const PAUSE_EXAMPLES: &str = "\
Examples:
  rolegate cron pause nightly --data-dir .rolegate";

const RESUME_EXAMPLES: &str = "\
Examples:
  rolegate cron resume nightly --data-dir .rolegate";

const TRIGGER_EXAMPLES: &str = "\
Examples:
  rolegate cron trigger nightly --database postgresql://me@db.example/app";

const REMOVE_EXAMPLES: &str = "\
Examples:
  rolegate cron remove nightly --data-dir .rolegate";

const ALLOW_EXAMPLES: &str = "\
Examples:
  rolegate cron allow janitor --data-dir .rolegate

Needed once for every role that entries of the configuration run as. You have to be a member of it.";

const FORBID_EXAMPLES: &str = "\
Examples:
  rolegate cron forbid janitor --data-dir .rolegate";

const ROLES_EXAMPLES: &str = "\
Examples:
  rolegate cron roles --data-dir .rolegate";

/// Jobs by the clock.
#[derive(Debug, Subcommand)]
pub(crate) enum Cron {
    /// Declares an entry, after a look at its expression and time zone.
    #[command(after_help = SET_EXAMPLES)]
    Set(Box<Set>),
    /// Lists all entries, with their next times and problems.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Pauses an entry. Times that pass meanwhile never fire.
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(Named),
    /// Lets a paused entry go on.
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(Named),
    /// Makes a job of an entry now, paused or not, and prints its id.
    #[command(after_help = TRIGGER_EXAMPLES)]
    Trigger(Named),
    /// Removes an entry. Jobs it has made stay.
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove(Named),
    /// Allows entries that the configuration or a program declares to run as a role.
    #[command(after_help = ALLOW_EXAMPLES)]
    Allow(Named),
    /// Takes that back: such entries fire no more.
    #[command(after_help = FORBID_EXAMPLES)]
    Forbid(Named),
    /// Lists the roles as which declared entries may run.
    #[command(after_help = ROLES_EXAMPLES)]
    Roles {
        #[command(flatten)]
        target: Target,
    },
}

/// An entry or a role by its name.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name.
    name: String,
    #[command(flatten)]
    target: Target,
}

/// What an entry says.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Its name.
    name: String,
    /// When: `MINUTE HOUR DAY MONTH WEEKDAY`, seconds in front if there are six, or `@daily` and the like.
    expression: String,
    /// What kind of job; the name of a SQL function runs that function.
    kind: String,
    #[command(flatten)]
    target: Target,
    /// Arguments of the jobs, as JSON.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    args: String,
    /// Queue of the jobs.
    #[arg(long, value_name = "QUEUE", default_value = "default")]
    queue: String,
    /// Time zone of the expression, by its IANA name.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    time_zone: String,
    /// Priority of the jobs: 1 (first) to 4.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    priority: i32,
    /// Attempts a job has.
    #[arg(long, value_name = "NUMBER", default_value_t = 25)]
    max_attempts: i32,
    /// Fires all times that passed while no maintenance ran, at most the last 1,000; otherwise the last one.
    #[arg(long)]
    catch_up: bool,
    /// Makes no job while the one before has not ended.
    #[arg(long)]
    only_one: bool,
    /// Role the jobs run as, which you are a member of; otherwise yourself.
    #[arg(long, value_name = "ROLE")]
    run_as: Option<String>,
}

pub(crate) async fn run(command: Cron) -> anyhow::Result<ExitCode> {
    match command {
        Cron::Set(command) => set(&command).await?,
        Cron::List { json, target } => list(&target, json).await?,
        Cron::Pause(named) => {
            let paused = named.ask("select rolegate.pause_cron($1)").await?;
            say(if paused {
                "paused"
            } else {
                "was paused already"
            });
        }
        Cron::Resume(named) => {
            let resumed = named.ask("select rolegate.resume_cron($1)").await?;
            say(if resumed { "resumed" } else { "was not paused" });
        }
        Cron::Trigger(named) => {
            let job: Option<i64> = named.value("select rolegate.trigger_cron($1)").await?;
            let job = job.context("its job before has not ended, and it is to be the only one")?;
            say(job);
        }
        Cron::Remove(named) => {
            if !named.ask("select rolegate.remove_cron($1)").await? {
                anyhow::bail!("there is no such entry");
            }
            say("removed");
        }
        Cron::Allow(role) => {
            let allowed = role.ask("select rolegate.allow_declared_cron($1)").await?;
            say(if allowed {
                "allowed"
            } else {
                "was allowed already"
            });
        }
        Cron::Forbid(role) => {
            let allowed = role.ask("select rolegate.forbid_declared_cron($1)").await?;
            say(if allowed {
                "forbidden"
            } else {
                "was not allowed"
            });
        }
        Cron::Roles { target } => roles(&target).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Named {
    async fn ask(&self, sql: &str) -> anyhow::Result<bool> {
        self.value(sql).await
    }

    async fn value<T>(&self, sql: &str) -> anyhow::Result<T>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let client = self.target.connect().await?;
        let sql = self.target.names()?.render(sql).into_owned();
        Ok(client.query_one(&sql, &[&self.name]).await?.try_get(0)?)
    }
}

async fn set(command: &Set) -> anyhow::Result<()> {
    let schedule = Schedule::parse(&command.expression, &command.time_zone)?;
    let next = schedule.next(SystemClock.now())?;
    let args: Value = serde_json::from_str(&command.args).context("--args")?;
    let client = command.target.connect().await?;
    let sql = command
        .target
        .names()?
        .render(
            "select rolegate.set_cron($1, $2, $3, $4, queue => $5, time_zone => $6, \
             priority => $7, max_attempts => $8, missed => $9, only_one => $10, run_as => $11)",
        )
        .into_owned();
    let missed = if command.catch_up {
        "catch_up"
    } else {
        "coalesce"
    };
    let row = client
        .query_one(
            &sql,
            &[
                &command.name,
                &command.expression,
                &command.kind,
                &args,
                &command.queue,
                &command.time_zone,
                &command.priority,
                &command.max_attempts,
                &missed,
                &command.only_one,
                &command.run_as,
            ],
        )
        .await?;
    say(if row.try_get(0)? { "made" } else { "changed" });
    note(format_args!("fires next at {next}"));
    Ok(())
}

async fn roles(target: &Target) -> anyhow::Result<()> {
    let client = target.connect().await?;
    let names = target.names()?;
    let sql = names.render(
        "select r.role_name, r.allowed_by, r.allowed_at::text from rolegate.declared_cron_roles() r",
    );
    say("role\tallowed by\tat");
    for row in client.query(&*sql, &[]).await? {
        let columns = (0..3)
            .map(|i| row.try_get::<_, &str>(i))
            .collect::<Result<Vec<_>, _>>()?;
        say(columns.join("\t"));
    }
    Ok(())
}

async fn list(target: &Target, json: bool) -> anyhow::Result<()> {
    let client = target.connect().await?;
    let names = target.names()?;
    if json {
        let sql = names.render("select pg_catalog.to_jsonb(c)::text from rolegate.list_crons() c");
        for row in client.query(&*sql, &[]).await? {
            say(row.try_get::<_, &str>(0)?);
        }
        return Ok(());
    }
    let sql = names.render(
        "select c.name, c.expression, c.time_zone, c.kind, c.queue, c.runs_as, \
         case when c.problem is not null then 'problem: ' || c.problem \
              when c.paused_at is not null then 'paused by ' || c.paused_by else 'active' end, \
         coalesce(c.last_fire::text, 'never'), coalesce(c.next_fire::text, '-') \
         from rolegate.list_crons() c",
    );
    say("name\texpression\ttime zone\tkind\tqueue\truns as\tstate\tlast\tnext");
    for row in client.query(&*sql, &[]).await? {
        let columns = (0..9)
            .map(|i| row.try_get::<_, &str>(i))
            .collect::<Result<Vec<_>, _>>()?;
        say(columns.join("\t"));
    }
    Ok(())
}
