//! `dev.json`: where a development installation is and who can use it. Scripts read this file;
//! nothing parses the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rolegate_model::RoleName;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::people::Person;
use super::server::Server;
use super::write_private;
use crate::process::Running;

/// Content of `dev.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) gateway_url: String,
    pub(crate) console_url: String,
    pub(crate) callbacks_url: String,
    pub(crate) metrics_url: String,
    /// The database's name in paths.
    pub(crate) database: String,
    /// The cluster's superuser, for psql.
    pub(crate) database_url: String,
    pub(crate) postgres_version: String,
    pub(crate) users: BTreeMap<String, User>,
}

/// Somebody who can log in.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) role: String,
    pub(crate) password: String,
    pub(crate) token: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// How long the tokens in the record are good.
const TOKEN_LIFETIME: Duration = Duration::from_hours(30 * 24);

pub(super) async fn make(
    server: &Server,
    running: &Running,
    people: &[Person],
) -> anyhow::Result<Record> {
    let database = running.databases.first().context("one database")?;
    let mut users = BTreeMap::new();
    for person in people {
        let role = RoleName::new(&person.role)?;
        let token = database.sign_for(&role, TOKEN_LIFETIME).await?;
        users.insert(
            person.role.clone(),
            User {
                role: person.role.clone(),
                password: person.password.clone(),
                token: token.expose_secret().to_owned(),
            },
        );
    }
    Ok(Record {
        gateway_url: format!("http://{}", running.gateway.context("a gateway")?),
        console_url: format!("http://{}", running.console.context("a console")?),
        callbacks_url: format!("http://{}", running.callbacks.context("callbacks")?),
        metrics_url: format!("http://{}", running.metrics),
        database: super::DATABASE.to_owned(),
        database_url: server.url(),
        postgres_version: database.server_version().to_owned(),
        users,
    })
}

impl Record {
    /// Reads the record that a development server wrote.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let file = data_dir.join("dev.json");
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!(
                "{}: is `rolegate dev --data-dir {}` running?",
                file.display(),
                data_dir.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Writes `dev.json` into the data directory, readable by its owner only.
    pub(super) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        write_private(&data_dir.join("dev.json"), text.as_bytes())
    }
}
