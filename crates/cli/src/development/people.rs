//! The people of a development installation: real login roles with real passwords.

use anyhow::Context as _;
use postgres_protocol::password::scram_sha_256;
use rolegate_pg::quote;
use rolegate_roles::names::Names;
use rolegate_server::config::Mode;
use secrecy::ExposeSecret as _;
use tokio_postgres::Client;

use super::server::Server;

/// Somebody who can log in.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) role: String,
    pub(crate) password: String,
    /// How their calls run.
    pub(crate) mode: Mode,
}

/// Of every development installation.
pub(super) const FOUR: [&str; 4] = ["operator", "viewer", "alice", "bob"];

/// 64 hex digits nobody knows.
pub(crate) fn secret() -> String {
    let mut text = String::with_capacity(64);
    for _ in 0..2 {
        // 122 random bits each.
        text.push_str(&uuid::Uuid::new_v4().simple().to_string());
    }
    text
}

/// The four people of every development installation, without those whose name is taken.
pub(super) async fn make(server: &mut Server, names: &Names) -> anyhow::Result<Vec<Person>> {
    let mut client = server.superuser().await?;
    let mut people = Vec::new();
    for role in FOUR {
        if server.is_taken(role) {
            continue;
        }
        create(&client, role).await?;
        server.note(&client).await?;
        if matches!(role, "operator" | "viewer") {
            let group = quote::ident(&names.role(role));
            let sql = ["grant ", &group, " to ", &quote::ident(role)].concat();
            client.batch_execute(&sql).await?;
        }
        people.push(welcome(server, &mut client, names, role).await?);
    }
    Ok(people)
}

/// Makes a login role unless it is there.
async fn create(client: &Client, role: &str) -> anyhow::Result<()> {
    let exists = client
        .query_opt(
            "select from pg_catalog.pg_roles where rolname = $1",
            &[&role],
        )
        .await?;
    if exists.is_none() {
        let sql = ["create role ", &quote::ident(role), " login"].concat();
        client.batch_execute(&sql).await?;
    }
    Ok(())
}

/// Gives an existing login role of ours a password, and admits it.
pub(super) async fn welcome(
    server: &Server,
    client: &mut Client,
    names: &Names,
    role: &str,
) -> anyhow::Result<Person> {
    let password = match server.password(role) {
        Some(password) => password.expose_secret().to_owned(),
        None => secret()[..24].to_owned(),
    };
    set_password(client, role, &password).await?;
    if server.owns_schema(client).await? {
        let sql = [
            "grant usage on schema ",
            &quote::ident(super::SCHEMA),
            " to ",
            &quote::ident(role),
        ];
        client.batch_execute(&sql.concat()).await?;
    }
    let mode = server
        .admit(client, names, role)
        .await
        .with_context(|| format!("admitting {role}"))?;
    Ok(Person {
        role: role.to_owned(),
        password,
        mode,
    })
}

/// Sets a password. The server gets its verifier, so that no log of statements has it.
pub(super) async fn set_password(
    client: &Client,
    role: &str,
    password: &str,
) -> anyhow::Result<()> {
    let verifier = scram_sha_256(password.as_bytes());
    let sql = [
        "alter role ",
        &quote::ident(role),
        " password ",
        &quote::literal(&verifier),
    ];
    client.batch_execute(&sql.concat()).await?;
    Ok(())
}
