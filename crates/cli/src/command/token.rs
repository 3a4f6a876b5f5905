//! `rolegate token`: as the operator's own login.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use uuid::Uuid;

use super::connect::Target;
use crate::logging::{note, say};

const MINT_EXAMPLES: &str = "\
Examples:
  rolegate token mint alice --description 'nightly import' --days 30 --data-dir .rolegate
  rolegate token mint reporting --scopes scopes.json --database postgresql://me@db.example/app

The token is printed once and kept as a hash only.";

const LIST_EXAMPLES: &str = "\
Examples:
  rolegate token list --data-dir .rolegate";

const REVOKE_EXAMPLES: &str = "\
Examples:
  rolegate token revoke 0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --data-dir .rolegate

It is refused everywhere within a second.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  rolegate token import-pgarachne --database postgresql://me@db.example/app";

/// API tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Mints a token for a role that you are a member of, and prints it once.
    #[command(after_help = MINT_EXAMPLES)]
    Mint {
        /// The role it stands for.
        role: String,
        #[command(flatten)]
        target: Target,
        /// What it is for; shown by `token list`.
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        description: String,
        /// Days it is valid.
        #[arg(
            long,
            value_name = "DAYS",
            default_value_t = 90,
            conflicts_with = "never_expires"
        )]
        days: i32,
        /// It is valid until it is revoked.
        #[arg(long)]
        never_expires: bool,
        /// File with scopes as JSON: `{"functions": ["api.read_*"], "surfaces": ["calls"]}`.
        #[arg(long, value_name = "FILE")]
        scopes: Option<PathBuf>,
    },
    /// Lists all tokens with their ids and states, never with the tokens themselves.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Revokes a token, by its id.
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke {
        /// Its id, as listed.
        token_id: Uuid,
        #[command(flatten)]
        target: Target,
    },
    /// Imports the token table of PgArachne (`pgarachne.api_tokens`) of the same database.
    #[command(after_help = IMPORT_EXAMPLES)]
    ImportPgarachne {
        #[command(flatten)]
        target: Target,
    },
}

pub(crate) async fn run(command: Token) -> anyhow::Result<ExitCode> {
    match command {
        Token::Mint {
            role,
            target,
            description,
            days,
            never_expires,
            scopes,
        } => {
            let scopes: Option<serde_json::Value> = scopes
                .map(|path| {
                    let text = std::fs::read_to_string(&path)
                        .with_context(|| path.display().to_string())?;
                    serde_json::from_str::<rolegate_model::Scopes>(&text)?;
                    anyhow::Ok(serde_json::from_str(&text)?)
                })
                .transpose()
                .context("--scopes")?;
            let client = target.connect().await?;
            let sql = target
                .names()?
                .render(
                    "select t.token_id, t.token, t.expires_at::text from rolegate.mint_api_token( \
                 $1, $2, pg_catalog.make_interval(days => $3), $4, $5) t",
                )
                .into_owned();
            let row = client
                .query_one(&sql, &[&role, &description, &days, &never_expires, &scopes])
                .await?;
            say(row.get::<_, String>(1));
            let expires: Option<String> = row.get(2);
            // Beside the token, so that `$(rolegate token mint ...)` is the token alone.
            note(format_args!(
                "id {}, expires {}",
                row.get::<_, Uuid>(0),
                expires.as_deref().unwrap_or("never")
            ));
        }
        Token::List { target } => list(&target).await?,
        Token::Revoke { token_id, target } => {
            let client = target.connect().await?;
            let sql = target
                .names()?
                .render("select rolegate.revoke_api_token($1)")
                .into_owned();
            let revoked: bool = client.query_one(&sql, &[&token_id]).await?.get(0);
            if !revoked {
                anyhow::bail!("there is no such token that is not revoked already");
            }
            say("revoked");
        }
        Token::ImportPgarachne { target } => import(&target).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(target: &Target) -> anyhow::Result<()> {
    let client = target.connect().await?;
    let sql = target
        .names()?
        .render(
            "select t.token_id::text, t.role_name, \
         coalesce(t.expires_at::text, 'never'), coalesce(t.last_used_at::text, 'never'), \
         case when t.revoked_at is not null then 'revoked' \
              when t.expires_at <= pg_catalog.now() then 'expired' \
              when t.role_replaced then 'role replaced' else 'valid' end, \
         t.description from rolegate.list_api_tokens() t",
        )
        .into_owned();
    say("id\trole\texpires\tlast used\tstate\tdescription");
    for row in client.query(&sql, &[]).await? {
        let columns: Vec<&str> = (0..6).map(|i| row.get(i)).collect();
        say(columns.join("\t"));
    }
    Ok(())
}

/// Copies hashes, never tokens. Every row is checked like a minted one; what is refused is said
/// and left out.
async fn import(target: &Target) -> anyhow::Result<()> {
    let client = target.connect().await?;
    let rows = client
        .query(
            "select t.token_hash, t.role, coalesce(t.description, ''), t.valid_to \
             from pgarachne.api_tokens t",
            &[],
        )
        .await
        .context("reading pgarachne.api_tokens")?;
    let sql = target
        .names()?
        .render("select rolegate.import_api_token(pg_catalog.decode($1, 'hex'), $2, $3, $4)")
        .into_owned();
    let (mut imported, mut refused) = (0, 0);
    for row in rows {
        let hash: &str = row.get(0);
        let role: &str = row.get(1);
        let description: &str = row.get(2);
        let valid_to: Option<jiff::Timestamp> = row.get(3);
        match client
            .execute(&sql, &[&hash, &role, &description, &valid_to])
            .await
        {
            Ok(_) => imported += 1,
            Err(error) => {
                refused += 1;
                let reason = error
                    .as_db_error()
                    .map_or_else(|| error.to_string(), |error| error.message().to_owned());
                say(format_args!("not imported: token of {role}: {reason}"));
            }
        }
    }
    say(format_args!("{imported} imported, {refused} not"));
    Ok(())
}
