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

/// Between the operator and the people he mints tokens for, on servers before 16; see
/// [`let_operator_mint`].
pub(super) const MINTED_FOR: &str = "operator_mints_for";

/// The first version where a membership can be without any use of its own.
pub(super) const MEMBERSHIP_OPTIONS_SINCE: i32 = 160_000;

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
    if !exists(client, role).await? {
        let sql = ["create role ", &quote::ident(role), " login"].concat();
        client.batch_execute(&sql).await?;
    }
    Ok(())
}

async fn exists(client: &Client, role: &str) -> anyhow::Result<bool> {
    let row = client
        .query_opt(
            "select from pg_catalog.pg_roles where rolname = $1",
            &[&role],
        )
        .await?;
    Ok(row.is_some())
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

/// Makes the operator a member of the people that were made, which is what minting a token for
/// somebody takes. His own calls get nothing of theirs: the membership neither inherits nor switches.
/// Before 16 these are no properties of a membership, so a group that does not inherit is between
/// them; there the operator's SQL could switch to whom he can mint a token for.
pub(super) async fn let_operator_mint(
    server: &mut Server,
    client: &Client,
    people: &[Person],
) -> anyhow::Result<()> {
    let is_operator = |person: &Person| person.role == "operator";
    if !people.iter().any(is_operator) {
        return Ok(());
    }
    let row = client
        .query_one(
            "select pg_catalog.current_setting('server_version_num')::int4",
            &[],
        )
        .await?;
    let options = row.get::<_, i32>(0) >= MEMBERSHIP_OPTIONS_SINCE;
    let (member, how) = if options {
        ("operator", " with inherit false, set false")
    } else {
        if server.is_taken(MINTED_FOR) {
            return Ok(());
        }
        make_group(client, MINTED_FOR).await?;
        server.note(client).await?;
        grant(client, MINTED_FOR, "operator", "").await?;
        (MINTED_FOR, "")
    };
    for person in people {
        if !matches!(&*person.role, "operator" | "viewer") {
            grant(client, &person.role, member, how).await?;
        }
    }
    Ok(())
}

/// Makes a role that neither logs in nor inherits, unless it is there.
async fn make_group(client: &Client, role: &str) -> anyhow::Result<()> {
    if !exists(client, role).await? {
        let sql = ["create role ", &quote::ident(role), " nologin noinherit"].concat();
        client.batch_execute(&sql).await?;
    }
    Ok(())
}

/// Makes `member` a member of `role`, unless it is one: somebody may have chosen other options.
async fn grant(client: &Client, role: &str, member: &str, options: &str) -> anyhow::Result<()> {
    let is_member = client
        .query_opt(
            "select from pg_catalog.pg_auth_members m \
             join pg_catalog.pg_roles r on r.oid = m.roleid \
             join pg_catalog.pg_roles u on u.oid = m.member \
             where r.rolname = $1 and u.rolname = $2",
            &[&role, &member],
        )
        .await?;
    if is_member.is_none() {
        let sql = [
            "grant ",
            &quote::ident(role),
            " to ",
            &quote::ident(member),
            options,
        ];
        client.batch_execute(&sql.concat()).await?;
    }
    Ok(())
}
