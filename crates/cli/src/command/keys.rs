//! `rolegate keys`.

use std::process::ExitCode;

use clap::Subcommand;

use super::connect::Target;
use crate::logging::say;

const ROTATE_EXAMPLES: &str = "\
Examples:
  rolegate keys rotate --database postgresql://operator@db/app
  rolegate keys rotate --now --database postgresql://operator@db/app";

/// Our own keys, which sign the tokens of password logins.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Asks the running gateways for a new signing key; no login and no call fails.
    ///
    /// They publish it within a second and sign with it ten minutes later; the key before it
    /// verifies for another day. It happens by itself at the age of `signing.key_days`.
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate {
        #[command(flatten)]
        target: Target,
        /// For a key that somebody else knows: every token of a password login is refused within a
        /// second, everybody logs in again, and the new key signs at once.
        #[arg(long)]
        now: bool,
    },
}

pub(crate) async fn run(command: Keys) -> anyhow::Result<ExitCode> {
    let Keys::Rotate { target, now } = command;
    let names = target.names()?;
    let client = target.connect().await?;
    if now {
        let sql = names.render("select rolegate.revoke_signing_keys()");
        let revoked: i32 = client.query_one(&*sql, &[]).await?.try_get(0)?;
        say(format_args!(
            "{revoked} keys revoked; a running gateway makes the next one"
        ));
    } else {
        let sql = names.render("select rolegate.rotate_signing_key()");
        let asked: bool = client.query_one(&*sql, &[]).await?.try_get(0)?;
        say(if asked {
            "a running gateway publishes the next key; it signs ten minutes later"
        } else {
            "no key is to stay: a running gateway makes one"
        });
    }
    Ok(ExitCode::SUCCESS)
}
