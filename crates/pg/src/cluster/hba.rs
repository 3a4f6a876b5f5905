//! Who may log in: `pg_hba.conf`, `pg_ident.conf`, and admitting roles while the server runs.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::directory::{Layout, write};
use super::endpoint::SocketEndpoint;
use super::error::Error;
use super::ident::{self, IdentError};
use super::os_user::OsUser;

/// The map that [`PG_HBA`] names.
const MAP: &str = "rolegate";

/// The whole file: the socket for listed roles, loopback for passwords, nothing else.
pub(super) const PG_HBA: &str = "\
local all all              peer map=rolegate
host  all all 127.0.0.1/32 scram-sha-256
";

/// A setting that goes up with every change of `pg_ident.conf`. The server reads its settings
/// first and `pg_ident.conf` after them: a new connection that sees a number also sees the roles
/// that were written before it.
const GENERATION: &str = "rolegate_cluster.admissions";

const ROLES_FILE: &str = "admitted.json";
const GROUPS_FILE: &str = "admitted-groups.json";
const GENERATION_FILE: &str = "admissions.conf";
const LOCK_FILE: &str = "admissions.lock";

/// How long the server may take to reload.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(20);

/// The list of database roles that the user of this process may log in as without a password.
///
/// Any number of processes may change the list of one cluster at the same time.
#[derive(Debug, Clone)]
pub struct Admissions {
    layout: Layout,
    endpoint: SocketEndpoint,
    user: OsUser,
}

impl Admissions {
    pub(super) fn new(layout: Layout, endpoint: SocketEndpoint, user: OsUser) -> Self {
        Self {
            layout,
            endpoint,
            user,
        }
    }

    /// The list of the running cluster in `directory`, which another process may have started.
    pub fn of_cluster(directory: &Path) -> Result<Self, Error> {
        let layout = Layout::new(directory);
        match layout.read_marker()? {
            Some(marker) if let Some(port) = marker.port => {
                let endpoint = SocketEndpoint::new(marker.socket_directory, port);
                Ok(Self::new(layout, endpoint, OsUser::current()?))
            }
            _ => Err(Error::Foreign {
                directory: directory.to_owned(),
                marker: "rolegate-cluster.json",
            }),
        }
    }

    /// The socket they log in through.
    pub fn endpoint(&self) -> &SocketEndpoint {
        &self.endpoint
    }

    /// The operating system user who may log in.
    pub fn os_user(&self) -> &str {
        &self.user.own_name
    }

    /// Admits `roles`, whether they exist yet or not, and returns when the server knows it.
    pub async fn admit(&self, roles: &[&str]) -> Result<(), Error> {
        self.change(|listed| {
            listed
                .roles
                .extend(roles.iter().map(|role| (*role).to_owned()));
        })
        .await
    }

    /// Takes `roles` off the list again, and returns when the server knows it. Connections that
    /// are open stay open. A role that is also let in as a member of a group still is.
    pub async fn dismiss(&self, roles: &[&str]) -> Result<(), Error> {
        self.change(|listed| listed.roles.retain(|role| !roles.contains(&&**role)))
            .await
    }

    /// Admits whoever is a member of `group` when logging in, so that later members need no
    /// reload. From PostgreSQL 16 on; before it nothing happens and the answer is false.
    pub async fn admit_members_of(&self, group: &str) -> Result<bool, Error> {
        let client = self.endpoint.connect("postgres", "postgres").await?;
        let row = client
            .query_one(
                "select pg_catalog.current_setting('server_version_num')::pg_catalog.int4",
                &[],
            )
            .await?;
        if row.try_get::<_, i32>(0)? < ident::GROUPS_SINCE {
            return Ok(false);
        }
        self.change(|listed| {
            listed.groups.insert(group.to_owned());
        })
        .await?;
        Ok(true)
    }

    /// Changes the list, and returns when the server knows it.
    async fn change(&self, change: impl FnOnce(&mut Listed)) -> Result<(), Error> {
        // Held until the server has reloaded, so that generations appear one after the other.
        let _lock = self.lock().await?;
        let before = self.read()?;
        let mut listed = before.clone();
        change(&mut listed);
        if listed == before {
            return Ok(());
        }
        let generation = self.generation().await? + 1;
        self.write(&listed, generation)?;
        let client = self.endpoint.connect("postgres", "postgres").await?;
        client
            .execute("select pg_catalog.pg_reload_conf()", &[])
            .await?;
        let deadline = Instant::now() + RELOAD_TIMEOUT;
        while self.generation().await? != generation {
            if Instant::now() >= deadline {
                return Err(Error::NotReloaded {
                    log: self.layout.log(),
                });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    async fn lock(&self) -> Result<File, Error> {
        let path = self.layout.config(LOCK_FILE);
        let failed = || Error::io(format!("locking {}", path.display()));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed())?;
        tokio::task::spawn_blocking(move || file.lock().map(|()| file))
            .await
            .map_err(|error| Error::io("waiting for a lock")(std::io::Error::other(error)))?
            .map_err(failed())
    }

    /// Writes all files as they were when the server last ran, or the first ones.
    pub(super) fn write_all(&self) -> Result<(), Error> {
        let mut listed = self.read()?;
        listed.roles.insert("postgres".to_owned());
        write(&self.layout.config("pg_hba.conf"), PG_HBA, &self.user)?;
        self.write(&listed, 0)
    }

    fn read(&self) -> Result<Listed, Error> {
        Ok(Listed {
            roles: self.read_names(ROLES_FILE)?,
            groups: self.read_names(GROUPS_FILE)?,
        })
    }

    fn read_names(&self, file: &str) -> Result<BTreeSet<String>, Error> {
        let file = self.layout.config(file);
        match std::fs::read(&file) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|source| Error::Marker { file, source })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(Error::io(format!("reading {}", file.display()))(error)),
        }
    }

    fn write(&self, listed: &Listed, generation: u64) -> Result<(), Error> {
        // First, because it may refuse a name.
        let ident = pg_ident(&self.user.own_name, listed)?;
        let file = |name: &str| -> PathBuf { self.layout.config(name) };
        for (name, names) in [(ROLES_FILE, &listed.roles), (GROUPS_FILE, &listed.groups)] {
            let text = serde_json::to_string(names).map_err(|source| Error::Marker {
                file: file(name),
                source,
            })?;
            write(&file(name), &text, &self.user)?;
        }
        write(&file("pg_ident.conf"), &ident, &self.user)?;
        // Last: whoever reads the new number must find the new roles.
        let settings = format!("{GENERATION} = '{generation}'\n");
        write(&file(GENERATION_FILE), &settings, &self.user)
    }

    /// The generation in force for a new connection.
    async fn generation(&self) -> Result<u64, Error> {
        let client = self.endpoint.connect("postgres", "postgres").await?;
        let row = client
            .query_one(
                "select pg_catalog.current_setting($1, true)",
                &[&GENERATION],
            )
            .await?;
        let text: Option<&str> = row.try_get(0)?;
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
    }
}

/// The line that makes the main configuration read the generation.
pub(super) fn include_line() -> String {
    format!("include '{GENERATION_FILE}'\n")
}

/// Who is let in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Listed {
    roles: BTreeSet<String>,
    /// Of which every member is.
    groups: BTreeSet<String>,
}

fn pg_ident(os_user: &str, listed: &Listed) -> Result<String, IdentError> {
    let mut text = String::new();
    for role in &listed.roles {
        text.push_str(&ident::role_line(MAP, os_user, role)?);
        text.push('\n');
    }
    for group in &listed.groups {
        text.push_str(&ident::group_line(MAP, os_user, group)?);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_and_group_gets_one_line() {
        let listed = Listed {
            roles: ["a b", "+everyone"].map(str::to_owned).into(),
            groups: ["admitted".to_owned()].into(),
        };
        assert_eq!(
            pg_ident("me", &listed).as_deref(),
            Ok(
                "\"rolegate\" \"me\" \"+everyone\"\n\"rolegate\" \"me\" \"a b\"\n\
                 \"rolegate\" \"me\" +\"admitted\"\n"
            )
        );
        assert!(PG_HBA.contains(&format!("map={MAP}\n")));
    }
}
