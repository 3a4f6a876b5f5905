//! What would be made in a database that is not ours, and what is there already.

use std::fmt::Write as _;
use std::path::Path;

use rolegate_pg::wire::{Address, Endpoint};
use rolegate_roles::names::Names;
use tokio_postgres::Client;

use super::SCHEMA;
use super::made::{Made, present_roles, present_schemas};
use super::people::{FOUR, MEMBERSHIP_OPTIONS_SINCE, MINTED_FOR};
use super::seed::Example;

/// The outcome of a look at the database.
#[derive(Debug)]
pub(super) struct Inventory {
    version: String,
    exists: bool,
    /// Roles and schemas that are not there yet.
    pub(super) new_roles: Vec<String>,
    pub(super) new_schemas: Vec<String>,
    /// What we need, and somebody else made.
    conflicts: Vec<String>,
    /// People whose names are taken.
    pub(super) taken_people: Vec<String>,
    schema_is_taken: bool,
    /// What did not come with the server and is not ours, by kind.
    pub(super) foreign: Vec<String>,
}

impl Inventory {
    /// `client` is connected to `database` if that `exists`, else beside it.
    pub(super) async fn take(
        client: &Client,
        made: &Made,
        names: &Names,
        example: Option<&Example>,
        database: &str,
        exists: bool,
    ) -> anyhow::Result<Self> {
        let (example_roles, example_people, example_schemas) = example
            .map_or((&[][..], &[][..], &[][..]), |example| {
                (example.roles, example.people, example.schemas)
            });
        // Whoever has one of these names but was not made by us is in the way.
        let mut needed: Vec<String> = names.roles().collect();
        needed.extend(example_roles.iter().map(|role| (*role).to_owned()));
        needed.extend(example_people.iter().map(|role| (*role).to_owned()));
        let row = client
            .query_one(
                "select pg_catalog.current_setting('server_version')::text, \
                     pg_catalog.current_setting('server_version_num')::int4",
                &[],
            )
            .await?;
        let (version, number): (String, i32) = (row.get(0), row.get(1));
        // These are only left out.
        let between = (number < MEMBERSHIP_OPTIONS_SINCE).then_some(MINTED_FOR);
        let names_left_out = FOUR.iter().copied().chain(between).map(str::to_owned);
        let optional: Vec<String> = names_left_out
            .filter(|role| !needed.contains(role))
            .collect();

        let roles = [&needed[..], &optional[..]].concat();
        let present = present_roles(client, &roles).await?;
        let ours = |role: &String| {
            let oid = present.get(role);
            oid.is_some_and(|oid| made.has_role(role, *oid))
        };
        let taken = |role: &&String| present.contains_key(*role) && !ours(role);
        let mut conflicts: Vec<String> = needed
            .iter()
            .filter(taken)
            .map(|role| format!("role {role}"))
            .collect();
        let taken_people: Vec<String> = optional.iter().filter(taken).cloned().collect();

        let mut schemas = vec![names.schema().to_owned(), SCHEMA.to_owned()];
        schemas.extend(example_schemas.iter().map(|schema| (*schema).to_owned()));
        let present_schemas = if exists {
            present_schemas(client, &schemas).await?
        } else {
            super::made::Present::new()
        };
        let mut schema_is_taken = false;
        for (schema, oid) in &present_schemas {
            if made.has_schema(schema, *oid) {
                continue;
            }
            if schema == SCHEMA && example.is_none() {
                schema_is_taken = true;
            } else {
                conflicts.push(format!("schema {schema}"));
            }
        }

        let our_roles: Vec<u32> = roles
            .iter()
            .filter(|role| ours(role))
            .filter_map(|role| present.get(role).copied())
            .collect();
        let our_schemas: Vec<u32> = present_schemas
            .iter()
            .filter(|(schema, oid)| made.has_schema(schema, **oid))
            .map(|(_, oid)| *oid)
            .collect();
        let rows = client
            .query(
                include_str!("sql/foreign.sql"),
                &[&our_roles, &our_schemas, &database],
            )
            .await?;
        Ok(Self {
            version,
            exists,
            new_roles: missing(roles, |role| present.contains_key(role)),
            new_schemas: missing(schemas, |schema| present_schemas.contains_key(schema)),
            conflicts,
            taken_people,
            schema_is_taken,
            foreign: rows
                .iter()
                .filter(|row| row.get::<_, i64>(1) > 0)
                .map(|row| format!("{}: {}", row.get::<_, &str>(0), row.get::<_, &str>(2)))
                .collect(),
        })
    }

    /// Whether anything is missing.
    pub(super) fn makes_something(&self) -> bool {
        !(self.exists && self.new_roles.is_empty() && self.new_schemas.is_empty())
    }

    /// Refuses names that somebody else has: they are neither changed nor used.
    pub(super) fn check_conflicts(&self, names: &Names, data_dir: &Path) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.conflicts.is_empty(),
            "{} there already, and not made from {}; development changes only what it made. Use \
             the data directory that made them, another cluster, or `rolegate serve` for an \
             installation of {} that is there",
            match &*self.conflicts {
                [one] => format!("{one} is"),
                several => format!("{} are", several.join(", ")),
            },
            data_dir.display(),
            names.schema(),
        );
        Ok(())
    }

    /// What will be done, for the person who named the database.
    pub(super) fn plan(&self, endpoint: &Endpoint) -> String {
        let address = match &endpoint.address {
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix { directory, port } => format!("{} port {port}", directory.display()),
        };
        let mut text = format!(
            "PostgreSQL {} at {address}, database {}{}\n",
            self.version,
            endpoint.database,
            if self.exists { "" } else { " (will be made)" },
        );
        let mut line = |what: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {what:18} {value}");
        };
        if self.makes_something() {
            let or_none = |names: &[String]| match names {
                [] => "none".to_owned(),
                names => names.join(", "),
            };
            line("makes roles", &or_none(&self.new_roles));
            line("makes schemas", &or_none(&self.new_schemas));
        } else {
            line("makes", "nothing: roles and schemas are there");
        }
        line("uses extensions", "none");
        line(
            "takes from PUBLIC",
            "connect, create and temporary on this database, create on its schema public, and its \
             built-in functions for large objects, advisory locks, and other backends",
        );
        for role in &self.taken_people {
            line(
                "leaves alone",
                &format!("role {role}, which was there: it is not in dev.json"),
            );
        }
        if self.schema_is_taken {
            line(
                "leaves alone",
                &format!(
                    "schema {SCHEMA}, which was there: its functions are served, and nothing is granted on it"
                ),
            );
        }
        line(
            "pg_hba.conf",
            "is not changed: it has to let our logins in from here, by scram-sha-256 or a peer map",
        );
        line(
            "calls run in",
            match &endpoint.address {
                Address::Tcp { .. } => {
                    "assume mode: pg_hba.conf is not ours, so only our own logins connect"
                }
                Address::Unix { .. } => {
                    "login mode, if the socket lets us in as our roles without a password (a peer \
                     map), else assume mode"
                }
            },
        );
        text.pop();
        text
    }
}

fn missing(names: Vec<String>, is_there: impl Fn(&String) -> bool) -> Vec<String> {
    names.into_iter().filter(|name| !is_there(name)).collect()
}
