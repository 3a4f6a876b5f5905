//! `made.json`: what was made in a database that is not ours, with the passwords of the logins.
//! Whatever is not in it is left as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::people::secret;
use super::write_private;

/// Content of `made.json`.
#[derive(Serialize, Deserialize)]
pub(super) struct Made {
    /// Of the cluster, and the database in it: the same names elsewhere are not ours.
    pub(super) system_identifier: String,
    pub(super) database: String,
    /// Roles by name.
    roles: BTreeMap<String, Role>,
    /// Schemas: name and OID.
    schemas: BTreeMap<String, u32>,
    #[serde(skip)]
    file: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Role {
    /// A role that was dropped and made again by somebody is not ours.
    oid: u32,
    password: String,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// Names and OIDs of what is there.
pub(super) type Present = BTreeMap<String, u32>;

impl Made {
    /// What is remembered in `data_dir`, if anything.
    pub(super) fn read(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let file = data_dir.join("made.json");
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                let made: Self =
                    serde_json::from_str(&text).with_context(|| file.display().to_string())?;
                Ok(Some(Self { file, ..made }))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| file.display().to_string()),
        }
    }

    /// What is remembered of this database. A directory that remembers another one is refused.
    pub(super) fn of(
        data_dir: &Path,
        system_identifier: &str,
        database: &str,
    ) -> anyhow::Result<Self> {
        let Some(made) = Self::read(data_dir)? else {
            return Ok(Self {
                system_identifier: system_identifier.to_owned(),
                database: database.to_owned(),
                roles: BTreeMap::new(),
                schemas: BTreeMap::new(),
                file: data_dir.join("made.json"),
            });
        };
        anyhow::ensure!(
            made.system_identifier == system_identifier && made.database == database,
            "{} belongs to database {} of another cluster or name; choose another --data-dir",
            made.file.display(),
            made.database
        );
        Ok(made)
    }

    pub(super) fn has_role(&self, name: &str, oid: u32) -> bool {
        self.roles.get(name).is_some_and(|role| role.oid == oid)
    }

    pub(super) fn has_schema(&self, name: &str, oid: u32) -> bool {
        self.schemas.get(name) == Some(&oid)
    }

    /// The password of a login that was made.
    pub(super) fn password(&self, role: &str) -> Option<SecretString> {
        let role = self.roles.get(role)?;
        Some(SecretString::from(role.password.clone()))
    }

    /// Remembers those of `roles` and `schemas` that are there now.
    pub(super) async fn note(
        &mut self,
        client: &Client,
        roles: &[String],
        schemas: &[String],
    ) -> anyhow::Result<()> {
        for (name, oid) in present_roles(client, roles).await? {
            if !self.has_role(&name, oid) {
                let password = secret()[..32].to_owned();
                self.roles.insert(name, Role { oid, password });
            }
        }
        self.schemas.extend(present_schemas(client, schemas).await?);
        let text = serde_json::to_string_pretty(self)?;
        write_private(&self.file, text.as_bytes())
    }
}

/// Which of `names` are roles.
pub(super) async fn present_roles(client: &Client, names: &[String]) -> anyhow::Result<Present> {
    let rows = client
        .query(
            "select r.rolname::text, r.oid from pg_catalog.pg_roles r where r.rolname = any ($1)",
            &[&names],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Which of `names` are schemas of the database.
pub(super) async fn present_schemas(client: &Client, names: &[String]) -> anyhow::Result<Present> {
    let rows = client
        .query(
            "select n.nspname::text, n.oid from pg_catalog.pg_namespace n \
             where n.nspname = any ($1)",
            &[&names],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
