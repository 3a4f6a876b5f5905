//! `rolegate roles`.

mod rebind;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use rolegate_roles::admit::{AdmitMode, IdentLine, admit, dismiss};
use rolegate_roles::{bootstrap, verify};

use super::connect::Target;
use crate::logging::say;

const BOOTSTRAP_EXAMPLES: &str = "\
Examples:
  rolegate roles bootstrap --database postgresql://postgres@db/app > bootstrap.sql
  rolegate roles bootstrap --apply --database postgresql://postgres@db/app

Next: rolegate migrate";

const VERIFY_EXAMPLES: &str = "\
Examples:
  rolegate roles verify --database postgresql:///app?host=/run/postgresql
  rolegate roles verify --data-dir .rolegate --all

Exit code 2 if a check fails.";

const ADMIT_EXAMPLES: &str = "\
Examples:
  rolegate roles admit alice --os-user rolegate --database postgresql://postgres@db/app
  rolegate roles admit reporting --mode assume --database postgresql://postgres@db/app
  rolegate roles admit carol --data-dir .rolegate";

const DISMISS_EXAMPLES: &str = "\
Examples:
  rolegate roles dismiss alice --database postgresql://postgres@db/app
  rolegate roles dismiss carol --data-dir .rolegate";

const REBIND_EXAMPLES: &str = "\
Examples:
  rolegate roles rebind --dry-run --database postgresql://OPERATOR@db/app
  rolegate roles rebind alice bob --database postgresql://OPERATOR@db/app

Exit code 2 if something is refused.";

/// The role model.
#[derive(Debug, Subcommand)]
pub(crate) enum Roles {
    /// Prints the SQL a superuser runs once for a database, or runs it.
    ///
    /// It makes our roles and the empty schema, takes from PUBLIC what nobody needs, and can be
    /// repeated.
    #[command(after_help = BOOTSTRAP_EXAMPLES)]
    Bootstrap {
        #[command(flatten)]
        target: Target,
        /// Runs it; the URL's user is a superuser.
        #[arg(long)]
        apply: bool,
    },
    /// Connects as every login of ours and proves that it can do what it must and nothing else.
    ///
    /// The logins come in without a password (a peer map), or all by that of `--password-file`.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify {
        #[command(flatten)]
        target: Target,
        /// Prints the checks that passed too.
        #[arg(long)]
        all: bool,
    },
    /// Makes an application role usable: its tokens and logins are accepted from then on.
    ///
    /// In login mode `pg_ident.conf` needs a line, which is printed: from PostgreSQL 16 on one for
    /// all roles, before it one for each. With `--data-dir` it is written and nothing is left to do.
    #[command(after_help = ADMIT_EXAMPLES)]
    Admit {
        /// The role.
        role: String,
        #[command(flatten)]
        target: Target,
        /// How its calls run.
        #[arg(long, value_enum, default_value_t = Mode::Login)]
        mode: Mode,
        /// Login mode: the operating-system user that the gateway runs as. With `--data-dir`, the
        /// user of the private cluster.
        #[arg(long, value_name = "USER")]
        os_user: Option<String>,
        /// Login mode: name of the map in `pg_hba.conf` (`peer map=NAME`).
        #[arg(long, value_name = "NAME", default_value = "rolegate")]
        map: String,
    },
    /// Takes an admission back: the role is refused from then on, and its connections are closed
    /// within a second.
    ///
    /// Removes the memberships that the admission made. Lines of `pg_ident.conf` that name the role
    /// are listed; with `--data-dir` they are removed.
    #[command(after_help = DISMISS_EXAMPLES)]
    Dismiss {
        /// The role.
        role: String,
        #[command(flatten)]
        target: Target,
    },
    /// After a dump was restored: binds API tokens and jobs to the roles that have their roles' names now.
    ///
    /// A role that was made again has another OID, and may be somebody else's: look with `--dry-run`
    /// first. The login is an operator who may mint tokens for these roles.
    #[command(after_help = REBIND_EXAMPLES)]
    Rebind {
        /// Only tokens of these roles; of all if none is named.
        #[arg(value_name = "ROLE")]
        roles: Vec<String>,
        #[command(flatten)]
        target: Target,
        /// Lists what would change, and changes nothing.
        #[arg(long)]
        dry_run: bool,
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
            let ident = (mode == Mode::Login).then_some((os_user, map));
            admit_role(&role, &target, ident).await?;
        }
        Roles::Dismiss { role, target } => dismiss_role(&role, &target).await?,
        Roles::Rebind {
            roles,
            target,
            dry_run,
        } => return rebind::run(&roles, &target, dry_run).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Admits in login mode with the operating system user and the map, else in assume mode.
async fn admit_role(
    role: &str,
    target: &Target,
    ident: Option<(Option<String>, String)>,
) -> anyhow::Result<()> {
    let names = target.names()?;
    let private = target.private_cluster()?;
    let (os_user, map) = match ident {
        Some((Some(os_user), map)) => (Some(os_user), map),
        Some((None, map)) => {
            let own = private.as_ref().map(|private| private.os_user().to_owned());
            (Some(own.context(
                "login mode needs --os-user, the operating-system user that the gateway runs as",
            )?), map)
        }
        None => (None, String::new()),
    };
    let mode = match &os_user {
        Some(os_user) => AdmitMode::Login { os_user, map: &map },
        None => AdmitMode::Assume,
    };
    let admission = admit(&mut target.connect().await?, &names, role, mode).await?;
    say(format_args!("admitted {role}"));
    match (admission.ident_line, private) {
        (Some(IdentLine::Once(_)), Some(private)) => {
            private.admit_members_of(&names.role("admitted")).await?;
        }
        (Some(IdentLine::Role(_)), Some(private)) => private.admit(&[role]).await?,
        (Some(IdentLine::Once(line)), None) => {
            say(
                "pg_ident.conf needs this line, once for all roles; with it nothing is left to do:",
            );
            say(line);
        }
        (Some(IdentLine::Role(line)), None) => {
            say("add this line to pg_ident.conf and run: select pg_reload_conf()");
            say(line);
        }
        (None, _) => {}
    }
    if admission.activity_visible {
        say("a superuser should run: alter role ... set track_activities = off");
    }
    Ok(())
}

async fn dismiss_role(role: &str, target: &Target) -> anyhow::Result<()> {
    let names = target.names()?;
    let mut client = target.connect().await?;
    if let Some(private) = target.private_cluster()? {
        private.dismiss(&[role]).await?;
    }
    let dismissal = dismiss(&mut client, &names, role).await?;
    say(format_args!("dismissed {role}"));
    if dismissal.activity_hidden {
        say("a superuser should run: alter role ... reset track_activities");
    }
    match dismissal.ident_lines {
        Some(lines) => {
            for line in lines {
                say(format_args!(
                    "line {line} of pg_ident.conf still names it: remove it and run: \
                     select pg_reload_conf()"
                ));
            }
        }
        None => say(
            "only a superuser can see whether pg_ident.conf names it: remove such a line and \
             reload the server",
        ),
    }
    Ok(())
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
