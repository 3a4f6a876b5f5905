//! Who may log in: `pg_hba.conf`, `pg_ident.conf`, and admitting roles while the server runs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::directory::{Layout, write};
use super::endpoint::SocketEndpoint;
use super::error::Error;
use super::os_user::OsUser;

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

    /// Admits `roles`, whether they exist yet or not, and returns when the server knows it.
    pub async fn admit(&self, roles: &[&str]) -> Result<(), Error> {
        for role in roles {
            check_name(role)?;
        }
        let path = self.layout.config(LOCK_FILE);
        let failed = || Error::io(format!("locking {}", path.display()));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed())?;
        // Held until the server has reloaded, so that generations appear one after the other.
        let _lock = tokio::task::spawn_blocking(move || file.lock().map(|()| file))
            .await
            .map_err(|error| Error::io("waiting for a lock")(std::io::Error::other(error)))?
            .map_err(failed())?;

        let mut admitted = self.read()?;
        let before = admitted.len();
        admitted.extend(roles.iter().map(|role| (*role).to_owned()));
        if admitted.len() == before {
            return Ok(());
        }
        let generation = self.generation().await? + 1;
        self.write(&admitted, generation)?;
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

    /// Writes all files as they were when the server last ran, or the first ones.
    pub(super) fn write_all(&self) -> Result<(), Error> {
        let mut admitted = self.read()?;
        admitted.insert("postgres".to_owned());
        write(&self.layout.config("pg_hba.conf"), PG_HBA, &self.user)?;
        self.write(&admitted, 0)
    }

    fn read(&self) -> Result<BTreeSet<String>, Error> {
        let file = self.layout.config(ROLES_FILE);
        match std::fs::read(&file) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|source| Error::Marker { file, source })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(Error::io(format!("reading {}", file.display()))(error)),
        }
    }

    fn write(&self, admitted: &BTreeSet<String>, generation: u64) -> Result<(), Error> {
        let file = |name: &str| -> PathBuf { self.layout.config(name) };
        let roles = serde_json::to_string(admitted).map_err(|source| Error::Marker {
            file: file(ROLES_FILE),
            source,
        })?;
        write(&file(ROLES_FILE), &roles, &self.user)?;
        let ident = pg_ident(&self.user.own_name, admitted);
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

fn pg_ident(os_user: &str, roles: &BTreeSet<String>) -> String {
    let mut text = String::new();
    for role in roles {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "rolegate {} {}", quoted(os_user), quoted(role));
    }
    text
}

/// A token of `pg_ident.conf`. In quotes `all`, `+group`, `@file`, `#` and `,` mean themselves.
fn quoted(token: &str) -> String {
    format!("\"{}\"", token.replace('"', "\"\""))
}

/// Refuses what quoting cannot protect: a slash in front makes a regular expression of a token
/// even inside quotes, from PostgreSQL 16 on.
fn check_name(role: &str) -> Result<(), Error> {
    if role.is_empty() || role.starts_with('/') || role.chars().any(char::is_control) {
        return Err(Error::RoleName {
            name: role.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_gets_one_line_with_its_name_in_quotes() {
        let roles = ["a b", "o\"brien", "+everyone", "all"]
            .map(str::to_owned)
            .into();
        assert_eq!(
            pg_ident("me", &roles),
            "rolegate \"me\" \"+everyone\"\nrolegate \"me\" \"a b\"\n\
             rolegate \"me\" \"all\"\nrolegate \"me\" \"o\"\"brien\"\n"
        );
    }

    #[test]
    fn names_that_quoting_cannot_protect_are_refused() {
        for name in ["/.*", "", "a\nrolegate x postgres", "a\0b", "a\rb"] {
            assert!(
                matches!(check_name(name), Err(Error::RoleName { .. })),
                "{name:?}"
            );
        }
        for name in ["a/b", "größe", "a#b", "a,b", "@x"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
