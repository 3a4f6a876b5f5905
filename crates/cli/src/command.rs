//! The commands.

mod audit;
mod completions;
mod config;
mod connect;
mod demo;
mod dev;
mod explain;
mod migrate;
mod roles;
mod serve;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use connect::open;

/// PostgreSQL as an application backend: the database's own roles decide everything.
#[derive(Debug, Parser)]
#[command(
    name = "rolegate",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    /// Configuration file; `rolegate.toml` or `/etc/rolegate/rolegate.toml` if there is one.
    #[arg(long, global = true, value_name = "FILE", env = "ROLEGATE_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs surfaces: the gateway, and the metrics and health listener.
    Serve(serve::Serve),
    /// Runs everything on loopback with a private PostgreSQL cluster.
    Dev(dev::Dev),
    /// Plays the expenses story against a fresh development server and asserts every step.
    Demo(demo::Demo),
    /// Makes or updates our schema, as the migrator.
    Migrate(migrate::Migrate),
    /// The role model: bootstrap, verify, admit.
    #[command(subcommand)]
    Roles(roles::Roles),
    /// API tokens: mint, list, revoke, import.
    #[command(subcommand)]
    Token(token::Token),
    /// Says whether a role may do something, and what decides it.
    Explain(explain::Explain),
    /// Looks for what is reachable that should not be.
    Audit(audit::Audit),
    /// The configuration: check it, or print its JSON schema.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Prints shell completions.
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
            Command::Explain(command) => explain::run(command).await,
            Command::Audit(command) => audit::run(command).await,
            Command::Config(_) | Command::Completions(_) => Ok(ExitCode::SUCCESS),
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
