//! The people of a development installation: real login roles with real passwords.

use anyhow::Context as _;
use rolegate_pg::cluster::Cluster;
use rolegate_pg::quote;
use rolegate_roles::admit::{AdmitMode, admit};
use rolegate_roles::names::Names;

/// Somebody who can log in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) role: String,
    pub(crate) password: String,
}

/// 64 hex digits nobody knows.
pub(crate) fn secret() -> String {
    let mut text = String::with_capacity(64);
    for _ in 0..2 {
        // 122 random bits each.
        text.push_str(&uuid::Uuid::new_v4().simple().to_string());
    }
    text
}

/// The four people of every development installation.
pub(super) async fn make(
    cluster: &Cluster,
    names: &Names,
    database: &str,
) -> anyhow::Result<Vec<Person>> {
    let mut client = cluster.endpoint().connect("postgres", database).await?;
    let mut people = Vec::new();
    for (role, member_of) in [
        ("operator", Some(names.role("operator"))),
        ("viewer", Some(names.role("viewer"))),
        ("alice", None),
        ("bob", None),
    ] {
        create(&client, role).await?;
        if let Some(group) = member_of {
            let sql = ["grant ", &quote::ident(&group), " to ", &quote::ident(role)].concat();
            client.batch_execute(&sql).await?;
        }
        people.push(welcome(cluster, &mut client, names, role).await?);
    }
    Ok(people)
}

/// Makes a login role unless it is there.
async fn create(client: &tokio_postgres::Client, role: &str) -> anyhow::Result<()> {
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

/// Gives an existing login role a new password, admits it, and lets it connect.
pub(super) async fn welcome(
    cluster: &Cluster,
    client: &mut tokio_postgres::Client,
    names: &Names,
    role: &str,
) -> anyhow::Result<Person> {
    let password = secret()[..24].to_owned();
    let sql = [
        "alter role ",
        &quote::ident(role),
        " password ",
        &quote::literal(&password),
        "; grant connect on database ",
        &quote::ident(super::DATABASE),
        " to ",
        &quote::ident(role),
        "; grant usage on schema ",
        &quote::ident(super::SCHEMA),
        " to ",
        &quote::ident(role),
    ]
    .concat();
    client.batch_execute(&sql).await?;
    let mode = AdmitMode::Login {
        os_user: cluster.os_user(),
        map: "rolegate",
    };
    admit(client, names, role, mode)
        .await
        .with_context(|| format!("admitting {role}"))?;
    cluster.admit(&[role]).await?;
    Ok(Person {
        role: role.to_owned(),
        password,
    })
}
