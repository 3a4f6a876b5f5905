//! `rolegate roles`.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use rolegate_roles::admit::{AdmitMode, admit, revoke_admission};
use rolegate_roles::{bootstrap, verify};

use super::connect::Target;
use crate::logging::say;

/// The role model.
#[derive(Debug, Subcommand)]
pub(crate) enum Roles {
    /// Prints the SQL a superuser runs once for a database, or runs it.
    Bootstrap {
        #[command(flatten)]
        target: Target,
        /// Runs it; the URL's user is a superuser.
        #[arg(long)]
        apply: bool,
    },
    /// Connects as every login of ours and proves that it can do what it must and nothing else.
    Verify {
        #[command(flatten)]
        target: Target,
        /// Prints the checks that passed too.
        #[arg(long)]
        all: bool,
    },
    /// Makes an application role usable.
    Admit {
        /// The role.
        role: String,
        #[command(flatten)]
        target: Target,
        /// How its calls run.
        #[arg(long, default_value = "login")]
        mode: Mode,
        /// Login mode: the operating-system user the gateway runs as.
        #[arg(long, value_name = "USER", required_if_eq("mode", "login"))]
        os_user: Option<String>,
        /// Login mode: name of the map in `pg_hba.conf`.
        #[arg(long, value_name = "NAME", default_value = "rolegate")]
        map: String,
    },
    /// Takes an admission back.
    Revoke {
        /// The role.
        role: String,
        #[command(flatten)]
        target: Target,
    },
}

/// How calls of a role run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// On connections logged in as the role.
    Login,
    /// On connections of the authenticator, which switch to the role.
    Assume,
}

pub(crate) async fn run(command: Roles) -> anyhow::Result<ExitCode> {
    match command {
        Roles::Bootstrap { target, apply } => {
            let names = target.names()?;
            let client = target.connect().await?;
            if apply {
                bootstrap::apply(&client, &names).await?;
                say("done");
            } else {
                let row = client
                    .query_one(
                        "select pg_catalog.current_database()::text, \
                         pg_catalog.current_setting('server_version_num')::int4",
                        &[],
                    )
                    .await?;
                let version = u32::try_from(row.get::<_, i32>(1))?;
                say(bootstrap::sql(&names, version, row.get(0)));
            }
        }
        Roles::Verify { target, all } => return verify(&target, all).await,
        Roles::Admit {
            role,
            target,
            mode,
            os_user,
            map,
        } => {
            let names = target.names()?;
            let mut client = target.connect().await?;
            let mode = match (mode, &os_user) {
                (Mode::Login, Some(os_user)) => AdmitMode::Login { os_user, map: &map },
                (Mode::Login, None) => anyhow::bail!("login mode needs --os-user"),
                (Mode::Assume, _) => AdmitMode::Assume,
            };
            let admission = admit(&mut client, &names, &role, mode).await?;
            say(format_args!("admitted {role}"));
            if let Some(line) = admission.ident_line {
                say("add this line to pg_ident.conf and reload the server:");
                say(line);
            }
            if admission.activity_visible {
                say("a superuser should run: alter role ... set track_activities = off");
            }
        }
        Roles::Revoke { role, target } => {
            let names = target.names()?;
            revoke_admission(&mut target.connect().await?, &names, &role).await?;
            say(format_args!(
                "revoked {role}; remove its line from pg_ident.conf, if it has one"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(target: &Target, all: bool) -> anyhow::Result<ExitCode> {
    let names = target.names()?;
    let report = verify::verify(&names, async |login: String| {
        target.connect_as(&login).await
    })
    .await?;
    for check in &report.checks {
        if all || !check.passed() {
            let login = check.login.as_deref().unwrap_or("catalog");
            let word = if check.passed() { "ok" } else { "FAILED" };
            say(format_args!(
                "{word}  {login}: {} (expected {}, found {})",
                check.what, check.expected, check.found
            ));
        }
    }
    let failures = report.failures().count();
    say(format_args!(
        "{} checks, {failures} failed",
        report.checks.len()
    ));
    Ok(if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}
