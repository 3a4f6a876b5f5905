//! `rolegate replication`: the change stream, for its administrator.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use rolegate_pg::EngineSql;
use rolegate_replication::publication::{self, Installation, Tables};
use rolegate_replication::slot::{self, Overview};
use rolegate_roles::names::Names;
use tokio_postgres::Client;

use super::connect::Target;
use crate::logging::say;

const SYNC_EXAMPLES: &str = "\
Examples:
  rolegate replication sync --database postgresql://postgres@db/app
  rolegate replication sync --expose api --expose reports --dry-run \\
      --database postgresql://postgres@db/app
  rolegate replication sync --data-dir .rolegate

Again after tables were made: only what is missing is done. Next: rolegate serve replication";

const STATUS_EXAMPLES: &str = "\
Examples:
  rolegate replication status --database postgresql://OPERATOR@db/app
  rolegate replication status --json --data-dir .rolegate
  rolegate replication status --database postgresql://OPERATOR@db1/app \\
      --standby postgresql://OPERATOR@db2/app

Exit code 2 if no changes arrive.";

const RESYNC_EXAMPLES: &str = "\
Examples:
  rolegate replication resync --database postgresql://OPERATOR@db/app
  rolegate replication resync --reason 'restored from the backup of Monday' --data-dir .rolegate";

const DROP_EXAMPLES: &str = "\
Examples:
  rolegate replication drop --database postgresql://postgres@db/app
  rolegate replication drop --database postgresql://postgres@db1/app \\
      --standby postgresql://postgres@db2/app

`rolegate replication sync` makes the publication again, and whoever reads makes the slot.";

/// The change stream.
#[derive(Debug, Subcommand)]
pub(crate) enum Replication {
    /// Publishes the tables of the exposed schemas, and says which it leaves out and why.
    ///
    /// The login is a superuser: event triggers need one, and so does publishing tables of others. A table is
    /// published if it has a usable replica identity, because one without takes no updates any more
    /// when it is published; if it loses it later, it is taken out in the same transaction.
    #[command(after_help = SYNC_EXAMPLES)]
    Sync {
        #[command(flatten)]
        target: Target,
        /// An exposed schema; can be repeated.
        #[arg(long, value_name = "SCHEMA", default_value = "api")]
        expose: Vec<String>,
        /// Says what would change, and changes nothing.
        #[arg(long)]
        dry_run: bool,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Says how the stream stands: settings, publication, slot, epoch, and who reads.
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        standby: Standby,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Begins a new epoch: whatever was made from the stream counts as unknown from then on.
    ///
    /// Needed after the server's files were put back to an earlier state, which the server itself cannot
    /// tell. The login is an operator.
    #[command(after_help = RESYNC_EXAMPLES)]
    Resync {
        #[command(flatten)]
        target: Target,
        /// Why, for whoever looks at the epoch later.
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "rolegate replication resync"
        )]
        reason: String,
    },
    /// Removes slot, publication and event triggers: nothing is kept for the stream any more.
    ///
    /// The login is a superuser. Processes that read stay, and wait for the publication.
    #[command(after_help = DROP_EXAMPLES)]
    Drop {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        standby: Standby,
    },
}

/// The server that decodes, if it is another one.
#[derive(Debug, Args)]
pub(crate) struct Standby {
    /// The same database on a standby, where the slot is or was; the same password file.
    #[arg(long, value_name = "URL")]
    standby: Option<String>,
}

impl Standby {
    async fn connect(&self, target: &Target) -> anyhow::Result<Option<Client>> {
        match &self.standby {
            Some(url) => Ok(Some(target.connect_to(url).await.context("--standby")?)),
            None => Ok(None),
        }
    }
}

pub(crate) async fn run(command: Replication) -> anyhow::Result<ExitCode> {
    match command {
        Replication::Sync {
            target,
            expose,
            dry_run,
            json,
        } => {
            let of = installation(&target.names()?);
            let mut client = target.connect().await?;
            let tables = if dry_run {
                publication::look(&mut client, &of, &expose).await?
            } else {
                publication::sync(&mut client, &of, &expose).await?
            };
            if json {
                say(serde_json::to_value(tables)?);
            } else {
                show_tables(&tables);
            }
        }
        Replication::Status {
            target,
            standby,
            json,
        } => return status(&target, &standby, json).await,
        Replication::Resync { target, reason } => {
            let names = target.names()?;
            let sql = EngineSql::new(names.schema()).of("select rolegate.renew_change_epoch($1)");
            let row = target.connect().await?.query_one(&sql, &[&reason]).await?;
            say(format_args!("the epoch is {}", row.try_get::<_, &str>(0)?));
        }
        Replication::Drop { target, standby } => {
            let names = target.names()?;
            let mut client = target.connect().await?;
            let standby = standby.connect(&target).await?;
            publication::remove(&mut client, &installation(&names)).await?;
            let there = slot::drop(&client, names.role_prefix()).await?;
            say(if there {
                "dropped slot, publication and event triggers"
            } else {
                "dropped publication and event triggers; there was no slot"
            });
            if let Some(standby) = standby {
                let there = slot::drop(&standby, names.role_prefix()).await?;
                say(if there {
                    "dropped the slot on the standby"
                } else {
                    "there was no slot on the standby"
                });
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whose publication it is.
pub(crate) fn installation(names: &Names) -> Installation {
    Installation {
        schema: names.schema().to_owned(),
        owner: names.role("owner"),
    }
}

fn show_tables(tables: &Tables) {
    for (word, tables) in [
        ("kept", &tables.kept),
        ("added", &tables.added),
        ("removed", &tables.removed),
    ] {
        for table in tables {
            say(format_args!("{word}\t{table}"));
        }
    }
    for left in &tables.left_out {
        say(format_args!("left out\t{}: {}", left.table, left.reason));
    }
}

async fn status(target: &Target, standby: &Standby, json: bool) -> anyhow::Result<ExitCode> {
    let names = target.names()?;
    let client = target.connect().await?;
    let standby = standby.connect(target).await?;
    let of = installation(&names);
    let overview = slot::overview(&client, standby.as_ref(), &of, names.role_prefix())
        .await
        .context(
            "the change stream cannot be looked at; is the schema there (rolegate migrate)?",
        )?;
    let well = overview.is_well();
    if json {
        say(serde_json::to_value(overview)?);
    } else {
        show(&overview);
    }
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

fn show(overview: &Overview) {
    let line = |name: &str, value: &str| say(format_args!("{name}\t{value}"));
    line("wal_level", &overview.wal_level);
    line("max_slot_wal_keep_size", &overview.max_slot_wal_keep_size);
    line(
        "published",
        if overview.published {
            "yes"
        } else {
            "no: rolegate replication sync"
        },
    );
    let bytes = |bytes: Option<i64>| bytes.map_or("unknown".to_owned(), |n| n.to_string());
    if let Some(standby) = &overview.standby {
        let is = |is: bool, word: &'static str, not: &'static str| if is { word } else { not };
        let recovers = is(standby.in_recovery, "yes", "no: it was promoted");
        line("standby", recovers);
        let feeds_back = is(standby.hot_standby_feedback, "on", "off");
        line("hot_standby_feedback", feeds_back);
        line("standby_late_bytes", &bytes(standby.late_bytes));
    }
    match &overview.slot {
        None => line("slot", "none"),
        Some(slot) => {
            line("slot", &slot.name);
            line("active", if slot.active { "yes" } else { "no" });
            line(
                "wal_status",
                slot.wal_status.as_deref().unwrap_or("unknown"),
            );
            line("retained_bytes", &bytes(slot.retained_bytes));
            line("behind_bytes", &bytes(slot.behind_bytes));
            let room = slot
                .room_bytes
                .map_or("unlimited".to_owned(), |n| n.to_string());
            line("room_bytes", &room);
        }
    }
    line("epoch", overview.epoch.as_deref().unwrap_or("none"));
    line("reason", overview.reason.as_deref().unwrap_or("none"));
    line("position", &overview.position);
    let reader = overview.reader.as_deref().unwrap_or("nobody");
    line(
        "reader",
        &format!("{reader}{}", if overview.reads { "" } else { " (not now)" }),
    );
    line("relay", overview.relay.as_deref().unwrap_or("none"));
}
