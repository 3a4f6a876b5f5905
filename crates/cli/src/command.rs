//! The commands.

mod audit;
mod batch;
mod completions;
mod config;
mod connect;
mod cron;
mod demo;
mod describe;
mod dev;
mod dlq;
mod explain;
mod job;
mod keys;
mod kind;
mod maintenance;
mod migrate;
mod query;
mod queue;
mod replication;
mod roles;
mod rows;
mod serve;
mod tail;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use connect::open;
pub(crate) use replication::installation;

const START: &str = "\
Start here:
  rolegate demo                     Plays a story against a private PostgreSQL, asserting every step
  rolegate dev --example expenses   The same server to try things on; people and tokens are in
                                    .rolegate/dev.json

Exit codes:
  0   Done
  1   It failed; the reason is on standard error
  2   The answer is no: findings of audit, failed checks of verify, what explain says is denied
  64  The command line is wrong
  130 A second signal ended a server that was stopping";

const SERVE_EXAMPLES: &str = "\
Examples:
  rolegate config check && rolegate serve
  rolegate serve gateway console
  rolegate serve worker maintenance
  rolegate --config /etc/rolegate/staging.toml serve --gateway 127.0.0.1:9000

Without a configuration of your own, `rolegate dev` is the way to start.";

const DEV_EXAMPLES: &str = "\
Examples:
  rolegate dev --example expenses
  rolegate dev --gateway 127.0.0.1:0 --console 127.0.0.1:0 --metrics 127.0.0.1:0
  rolegate dev --postgres wheel --data-dir /var/lib/rolegate-dev
  rolegate dev --postgres postgresql://postgres@127.0.0.1/app   (password in PGPASSWORD)

It runs until Ctrl-C. With --data-dir, other commands find its database:
  rolegate roles admit carol --data-dir .rolegate";

const DEMO_EXAMPLES: &str = "\
Examples:
  rolegate demo
  rolegate demo --postgres wheel --data-dir /tmp/demo";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  rolegate migrate --database postgresql://db.example/app --password-file migrator.pw
  rolegate migrate --database postgresql://db.example/app --status
  rolegate migrate --data-dir .rolegate --dry-run";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  rolegate explain --as alice --function api.submit_claim --data-dir .rolegate
  rolegate explain --as alice --table app.expense_claim --key id=1 --data-dir .rolegate
  rolegate explain --as bob --table app.expense_claim --privilege update --column status \\
      --claims '{\"org_id\": 7}' --database postgresql://me@db.example/app

Exit code 2 if it is denied.";

const AUDIT_EXAMPLES: &str = "\
Examples:
  rolegate audit --data-dir .rolegate
  rolegate audit --database postgresql://me@db.example/app --expose api --expose reports \\
      --allow audit-allow.toml --format sarif > audit.sarif
  rolegate audit --config staging.toml --database postgresql://me@db.example/app

Exit code 2 if there are findings that the file does not allow.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  rolegate completions bash > ~/.local/share/bash-completion/completions/rolegate
  rolegate completions zsh > ~/.zfunc/_rolegate";

/// PostgreSQL as an application backend: the database's own roles decide everything.
#[derive(Debug, Parser)]
#[command(
    name = "rolegate",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = START
)]
pub(crate) struct Arguments {
    /// Configuration file of `serve`, `audit` and `config`; otherwise `rolegate.toml` or
    /// `/etc/rolegate/rolegate.toml` if there is one.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ROLEGATE_CONFIG",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs surfaces (the gateway, the console) as configured, until SIGTERM.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(serve::Serve),
    /// Runs everything on loopback with a private PostgreSQL cluster, to try things on.
    ///
    /// Makes roles, schema, people and tokens, runs all surfaces, and prints `ready` when they
    /// answer. Addresses, people, passwords and tokens are in `dev.json` in the data directory.
    #[command(after_help = DEV_EXAMPLES)]
    Dev(dev::Dev),
    /// Plays the expenses story against a fresh development server and asserts every step.
    ///
    /// By real HTTP calls. The exit code says whether all held.
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(demo::Demo),
    /// Makes or updates our schema in a database, as `rolegate_migrator`.
    ///
    /// It is this login that connects, whoever the URL names; `rolegate roles bootstrap` made it.
    /// Only what is missing is done.
    #[command(after_help = MIGRATE_EXAMPLES)]
    Migrate(migrate::Migrate),
    /// The role model: bootstrap a database, verify it, admit roles and dismiss them.
    #[command(subcommand)]
    Roles(roles::Roles),
    /// API tokens: mint, list, revoke, import.
    #[command(subcommand)]
    Token(token::Token),
    /// Our own keys: rotate the one that signs tokens of password logins.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Jobs by the clock: declare entries, list them, pause, trigger and remove them.
    #[command(subcommand)]
    Cron(cron::Cron),
    /// Jobs: list, show, enqueue, retry, cancel, move.
    #[command(subcommand)]
    Job(job::Job),
    /// Queues: list, create, pause, resume, set, describe, drain; and the workers.
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Kinds of jobs: list, describe.
    #[command(subcommand)]
    Kind(kind::Kind),
    /// Dead letters, jobs that failed for good: list, retry, purge.
    #[command(subcommand)]
    Dlq(dlq::Dlq),
    /// What is done to many jobs at once: preview, submit, list, stop.
    #[command(subcommand)]
    Batch(batch::Batch),
    /// The upkeep of the queue, without a configuration: once, or until SIGTERM.
    ///
    /// As `rolegate_maintenance`: it is this login that connects, whoever the URL names.
    #[command(subcommand)]
    Maintenance(maintenance::Maintenance),
    /// The change stream: publish tables, see how it stands, begin a new epoch, remove it.
    #[command(subcommand)]
    Replication(replication::Replication),
    /// Queries: who gets an answer, what it reads, whether it can be kept; keys to purge copies by.
    #[command(subcommand)]
    Query(query::Query),
    /// Says whether a role may do something, and what decides it.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(explain::Explain),
    /// Looks for what is reachable that should not be.
    ///
    /// Issuers and the password check of the gateway are judged by the configuration, which is read
    /// as `serve` reads it, but with --data-dir only if --config names it.
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit(audit::Audit),
    /// The configuration: check it, or print its schema or reference.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Prints a completion script for a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(completions::Completions),
}

/// Runs a command.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { config, command } = arguments;
    let named = config.as_deref();
    // Commands that need no database need no runtime either.
    match command {
        Command::Config(command) => return config::run(&command, named),
        Command::Completions(command) => return Ok(completions::run(&command)),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match command {
            Command::Serve(command) => serve::run(command, named).await,
            Command::Dev(command) => dev::run(command).await,
            Command::Demo(command) => demo::run(command).await,
            Command::Migrate(command) => migrate::run(command).await,
            Command::Roles(command) => roles::run(command).await,
            Command::Token(command) => token::run(command).await,
            Command::Keys(command) => keys::run(command).await,
            Command::Cron(command) => cron::run(command).await,
            Command::Job(command) => job::run(command).await,
            Command::Queue(command) => queue::run(command).await,
            Command::Kind(command) => kind::run(command).await,
            Command::Dlq(command) => dlq::run(command).await,
            Command::Batch(command) => batch::run(command).await,
            Command::Maintenance(command) => maintenance::run(command).await,
            Command::Replication(command) => replication::run(command).await,
            Command::Query(command) => query::run(command, named).await,
            Command::Explain(command) => explain::run(command).await,
            Command::Audit(command) => audit::run(command, named).await,
            Command::Config(_) | Command::Completions(_) => Ok(ExitCode::SUCCESS),
        }
    })
}

#[cfg(test)]
mod tests;
