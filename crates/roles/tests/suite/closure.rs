//! Who is too powerful, where memberships lie over each other.

use std::fmt::Write as _;

use rolegate_roles::closure;
use tokio_postgres::Client;

use crate::installation::Installation;
use crate::on_each_version;

/// The function as the first migration made it: it went along every path.
const FIRST: &str = include_str!("../../../../migrations/V1__schema_and_roles.sql");

/// Makes it again, beside the present one.
async fn make_first(client: &Client, db: &Installation) {
    let from = FIRST
        .find("create function rolegate.forbidden_roles(")
        .unwrap();
    let text = &FIRST[from..];
    let end = text.find("$$;").unwrap() + 3;
    let text = text[..end].replace("rolegate.forbidden_roles", "rolegate.by_every_path");
    client.batch_execute(&db.names.render(&text)).await.unwrap();
}

/// Both texts of the closure, for one role or for all whose name begins like the test's.
async fn both(client: &Client, db: &Installation, role: Option<u32>) -> [Vec<Found>; 2] {
    let ours = closure::forbidden_roles(client, &db.names, role, &[])
        .await
        .unwrap()
        .into_iter()
        .map(|found| (found.role_oid, found.role_name, found.chain));
    [ours.collect(), call(client, "forbidden_roles", role).await].map(|found| mine(db, found))
}

type Found = (u32, String, String);

async fn call(client: &Client, function: &str, role: Option<u32>) -> Vec<Found> {
    let rows = client
        .query(&format!("select * from rolegate.{function}($1)"), &[&role])
        .await
        .unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

/// Other tests make and change roles of the same cluster meanwhile.
fn mine(db: &Installation, found: Vec<Found>) -> Vec<Found> {
    let prefix = format!("g{}_", db.unique);
    found
        .into_iter()
        .filter(|(_, name, _)| name.starts_with(&prefix))
        .collect()
}

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Roles of which each is a member of some that come after it, and a few have power of their own.
fn graph(db: &Installation, dice: &mut Dice) -> String {
    const ROLES: u64 = 7;
    let name = |number: u64| format!("g{}_{number}", db.unique);
    let mut sql = String::new();
    for number in 0..ROLES {
        let power = ["superuser", "createrole", "bypassrls", "replication"];
        let power = usize::try_from(dice.below(24)).map_or("", |n| power.get(n).unwrap_or(&""));
        // Writing to a String cannot fail.
        let _ = write!(sql, "create role {} {power};", name(number));
    }
    let density = 2 + dice.below(5);
    for member in 0..ROLES {
        for group in member + 1..ROLES {
            if dice.below(density) == 0 {
                let _ = write!(sql, "grant {} to {};", name(group), name(member));
            }
        }
        if dice.below(8) == 0 {
            let engine = db
                .names
                .role(["gateway", "viewer"][usize::from(dice.below(2) == 0)]);
            let group = ["pg_monitor", &engine][usize::from(dice.below(2) == 0)];
            let _ = write!(sql, "grant {group} to {} with admin option;", name(member));
        }
    }
    sql
}

on_each_version! {
    async fn what_is_reached_is_what_every_path_leads_to(db) {
        let client = db.superuser().await;
        make_first(&client, db).await;
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        let (mut some, mut long) = (0, 0);
        for round in 0..60 {
            client.batch_execute("begin").await.unwrap();
            client.batch_execute(&graph(db, &mut dice)).await.unwrap();
            let expected = mine(db, call(&client, "by_every_path", None).await);
            for found in both(&client, db, None).await {
                assert_eq!(found, expected, "round {round}");
            }
            let roles = client
                .query(
                    "select oid from pg_roles where rolname ^@ $1",
                    &[&format!("g{}_", db.unique)],
                )
                .await.unwrap();
            for role in &roles {
                let role = role.get(0);
                let expected = mine(db, call(&client, "by_every_path", Some(role)).await);
                for found in both(&client, db, Some(role)).await {
                    assert_eq!(found, expected, "round {round}, role {role}");
                }
            }
            some += usize::from(!expected.is_empty() && expected.len() < roles.len());
            long += usize::from(expected.iter().any(|found| found.2.matches(" -> ").count() >= 2));
            client.batch_execute("rollback").await.unwrap();
        }
        assert!(some > 10 && long > 10, "the graphs show little: {some}, {long}");
    }

    /// Six roles in each of twelve layers, each a member of all in the next: two thousand million
    /// paths.
    async fn layers_of_memberships_are_no_burden(db) {
        const LAYERS: usize = 12;
        const ROLES: usize = 6;
        let name = |layer: usize, number: usize| format!("g{}_{layer:02}_{number}", db.unique);
        let client = db.superuser().await;
        client.batch_execute("begin").await.unwrap();
        let mut sql = String::new();
        for layer in 0..LAYERS {
            let groups: Vec<String> = (0..ROLES).map(|number| name(layer, number)).collect();
            for group in &groups {
                let _ = write!(sql, "create role {group};");
            }
            if let Some(below) = layer.checked_sub(1) {
                let members: Vec<String> = (0..ROLES).map(|number| name(below, number)).collect();
                let _ = write!(sql, "grant {} to {};", groups.join(","), members.join(","));
            }
        }
        let _ = write!(sql, "alter role {} superuser;", name(LAYERS - 1, 3));
        client.batch_execute(&sql).await.unwrap();
        client.batch_execute("set local statement_timeout = '20s'").await.unwrap();
        let expected = format!(
            "{} -> {} (superuser)",
            (0..LAYERS - 1).map(|layer| name(layer, 0)).collect::<Vec<_>>().join(" -> "),
            name(LAYERS - 1, 3),
        );
        let oid: u32 = client
            .query_one("select oid from pg_roles where rolname = $1::text::name", &[&name(0, 0)])
            .await.unwrap().get(0);
        for found in both(&client, db, Some(oid)).await {
            assert_eq!(found, [(oid, name(0, 0), expected.clone())]);
        }
        for found in both(&client, db, None).await {
            // Of the last layer only one has the power.
            assert_eq!(found.len(), (LAYERS - 1) * ROLES + 1);
            assert!(found.iter().any(|found| found.2 == expected));
        }
        client.batch_execute("rollback").await.unwrap();
    }
}
