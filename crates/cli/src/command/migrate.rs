//! `rolegate migrate`.

use std::process::ExitCode;

use clap::Args;
use rolegate_roles::migrate;

use super::connect::Target;
use crate::logging::say;

/// Makes or updates our schema in a database.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    target: Target,
    /// Prints what would run, and runs nothing.
    #[arg(long, conflicts_with = "status")]
    dry_run: bool,
    /// Prints what was applied and what is pending.
    #[arg(long)]
    status: bool,
}

pub(crate) async fn run(command: Migrate) -> anyhow::Result<ExitCode> {
    let names = command.target.names()?;
    let mut client = command.target.connect_as(&names.role("migrator")).await?;
    if command.dry_run {
        say(migrate::dry_run(&mut client, &names).await?);
        return Ok(ExitCode::SUCCESS);
    }
    let rows = if command.status {
        migrate::status(&mut client, &names).await?
    } else {
        migrate::run(&mut client, &names).await?
    };
    if rows.is_empty() {
        say("up to date");
    }
    for row in rows {
        let state = if row.applied { "applied" } else { "pending" };
        say(format_args!("V{} {} {state}", row.version, row.name));
    }
    Ok(ExitCode::SUCCESS)
}
