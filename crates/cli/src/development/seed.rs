//! Examples: plain SQL, part of the binary.

use rolegate_pg::cluster::Cluster;
use rolegate_roles::names::Names;

use super::people::{self, Person};

/// An example: its scripts in order, and its people.
struct Example {
    name: &'static str,
    scripts: &'static [&'static str],
    people: &'static [&'static str],
}

const EXAMPLES: &[Example] = &[Example {
    name: "expenses",
    scripts: &[
        include_str!("../../../../examples/expenses/roles.sql"),
        include_str!("../../../../examples/expenses/schema.sql"),
        include_str!("../../../../examples/expenses/seed.sql"),
    ],
    people: &["alice", "bob", "carol", "dave"],
}];

/// Loads an example unless it is loaded already; gives its people.
pub(super) async fn load(
    cluster: &Cluster,
    names: &Names,
    name: &str,
) -> anyhow::Result<Vec<Person>> {
    let Some(example) = EXAMPLES.iter().find(|example| example.name == name) else {
        let known: Vec<&str> = EXAMPLES.iter().map(|example| example.name).collect();
        anyhow::bail!(
            "there is no example {name:?}; there is: {}",
            known.join(", ")
        );
    };
    let mut client = cluster
        .endpoint()
        .connect("postgres", super::DATABASE)
        .await?;
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
    let mut everyone = Vec::new();
    for role in example.people {
        everyone.push(people::welcome(cluster, &mut client, names, role).await?);
    }
    Ok(everyone)
}
