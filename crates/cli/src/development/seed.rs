//! Examples: plain SQL, part of the binary.

use anyhow::Context as _;
use rolegate_roles::names::Names;

use super::people::{self, Person};
use super::server::Server;

/// An example: its scripts in order, and what they make.
#[derive(Debug)]
pub(super) struct Example {
    name: &'static str,
    scripts: &'static [&'static str],
    /// Who can log in.
    pub(super) people: &'static [&'static str],
    /// The other roles.
    pub(super) roles: &'static [&'static str],
    /// Besides the exposed one.
    pub(super) schemas: &'static [&'static str],
}

/// The names of the examples.
pub(crate) const NAMES: [&str; 1] = ["expenses"];

const EXAMPLES: [Example; NAMES.len()] = [Example {
    name: NAMES[0],
    scripts: &[
        include_str!("../../../../examples/expenses/roles.sql"),
        include_str!("../../../../examples/expenses/schema.sql"),
        include_str!("../../../../examples/expenses/seed.sql"),
    ],
    people: &["alice", "bob", "carol", "dave"],
    roles: &[
        "employee",
        "manager",
        "finance",
        "auditor",
        "expenses_owner",
    ],
    schemas: &["app"],
}];

/// The example of that name.
pub(super) fn find(name: &str) -> anyhow::Result<&'static Example> {
    EXAMPLES
        .iter()
        .find(|example| example.name == name)
        .with_context(|| {
            let known = NAMES.join(", ");
            format!("there is no example {name:?}; there is: {known}")
        })
}

/// Loads an example unless it is loaded already; gives its people.
pub(super) async fn load(
    server: &mut Server,
    names: &Names,
    example: &Example,
) -> anyhow::Result<Vec<Person>> {
    let mut client = server.superuser().await?;
    let loaded = client
        .query_opt(
            "select from pg_catalog.pg_namespace n \
             where n.nspname = 'app' and pg_catalog.obj_description(n.oid, 'pg_namespace') is not null",
            &[],
        )
        .await?;
    if loaded.is_none() {
        let transaction = client.transaction().await?;
        for script in example.scripts {
            transaction.batch_execute(script).await?;
        }
        transaction.commit().await?;
    }
    server.note(&client).await?;
    let mut everyone = Vec::new();
    for role in example.people {
        everyone.push(people::welcome(server, &mut client, names, role).await?);
    }
    Ok(everyone)
}
