//! Which stream to read, and how.

use std::sync::Arc;

use rolegate_pg::EngineSql;
use rolegate_pg::wire::{Endpoint, Login};

use crate::assembly::Bounds;
use crate::relay::Relay;

/// How to reach the database, and as whom. Directly: a pooler speaks no replication.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The login for replication.
    pub login: Login,
}

/// A stream and its reader.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// Who reads, for people.
    pub name: String,
    /// The database in metrics and logs.
    pub database: Arc<str>,
    /// How to reach it.
    pub connect: Connect,
    /// The same database on a standby that decodes the log instead, under the same login. Everything that is written
    /// is written through `connect`.
    pub standby: Option<Endpoint>,
    /// Statements for its schema.
    pub sql: Arc<EngineSql>,
    /// The schema's name: also that of the publication, and the prefix of our messages.
    pub schema: String,
    /// What the name of the slot begins with: the prefix of our roles.
    pub role_prefix: String,
    /// Make a slot even if nothing limits what it may keep.
    pub allow_unlimited_wal: bool,
    /// What a commit may hold.
    pub bounds: Bounds,
    /// Where what is read is passed on to other processes; `None`: it stays in this one.
    pub relay: Option<Arc<Relay>>,
}

impl StreamConfig {
    /// Who reads, and where it is decoded if that is somewhere else.
    pub(crate) fn reader(&self) -> String {
        match &self.standby {
            None => self.name.clone(),
            Some(standby) => format!("{}, decoded on {}", self.name, standby.address),
        }
    }

    /// The server that decodes.
    pub(crate) fn source(&self) -> &Endpoint {
        self.standby.as_ref().unwrap_or(&self.connect.endpoint)
    }

    /// With the usual bounds.
    pub fn new(database: &str, connect: Connect, schema: &str, role_prefix: &str) -> Self {
        Self {
            name: format!("rolegate {}", std::process::id()),
            database: database.into(),
            connect,
            standby: None,
            sql: EngineSql::new(schema),
            schema: schema.to_owned(),
            role_prefix: role_prefix.to_owned(),
            allow_unlimited_wal: false,
            bounds: Bounds::default(),
            relay: None,
        }
    }
}
