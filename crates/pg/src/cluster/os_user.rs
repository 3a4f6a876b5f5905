//! Which operating system user runs the server, and where that user can go.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, chown, geteuid};
use tokio::process::Command;

use super::error::Error;

/// The user of this process, and the one that runs the server.
#[derive(Debug, Clone)]
pub(super) struct OsUser {
    /// The name under which `peer` authentication sees this process.
    pub(super) own_name: String,
    /// Set when this process is root, which PostgreSQL refuses to run as.
    server: Option<ServerUser>,
}

#[derive(Debug, Clone)]
struct ServerUser {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl OsUser {
    pub(super) fn current() -> Result<Self, Error> {
        let lookup = |errno: nix::errno::Errno| {
            Error::io("reading the user database")(std::io::Error::from(errno))
        };
        let euid = geteuid();
        let own = User::from_uid(euid).map_err(lookup)?.ok_or_else(|| {
            Error::io(format!(
                "finding the name of user {euid} in the user database"
            ))(std::io::ErrorKind::NotFound.into())
        })?;
        let server = if euid.is_root() {
            let mut found = None;
            for name in ["postgres", "nobody"] {
                if let Some(user) = User::from_name(name).map_err(lookup)? {
                    found = Some(ServerUser {
                        name: user.name,
                        uid: user.uid,
                        gid: user.gid,
                    });
                    break;
                }
            }
            Some(found.ok_or(Error::NoUnprivilegedUser)?)
        } else {
            None
        };
        Ok(Self {
            own_name: own.name,
            server,
        })
    }

    /// Whether the server runs as somebody else.
    pub(super) fn differs(&self) -> bool {
        self.server.is_some()
    }

    /// The number of the user that runs the server.
    pub(super) fn server_uid(&self) -> u32 {
        self.server
            .as_ref()
            .map_or_else(geteuid, |user| user.uid)
            .as_raw()
    }

    /// Makes `command` run as the server's user. The standard library drops the supplementary
    /// groups along with the user id.
    pub(super) fn run_as(&self, command: &mut Command) {
        if let Some(user) = &self.server {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }

    /// Gives `path` to the server's user.
    pub(super) fn give(&self, path: &Path) -> Result<(), Error> {
        let Some(user) = &self.server else {
            return Ok(());
        };
        chown(path, Some(user.uid), Some(user.gid))
            .map_err(|errno| Error::io(format!("chown {}", path.display()))(errno.into()))
    }

    /// Lets the server's user read `path`, which stays ours, through its group.
    pub(super) fn share(&self, path: &Path) -> Result<(), Error> {
        let Some(user) = &self.server else {
            return Ok(());
        };
        chown(path, None, Some(user.gid))
            .map_err(|errno| Error::io(format!("chgrp {}", path.display()))(errno.into()))
    }

    /// Checks that the server's user can enter every directory from the root to `path`.
    pub(super) fn can_enter(&self, path: &Path) -> Result<(), Error> {
        let Some(user) = &self.server else {
            return Ok(());
        };
        let path = path
            .canonicalize()
            .map_err(Error::io(format!("resolving {}", path.display())))?;
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        for directory in ancestors {
            let metadata = std::fs::metadata(directory)
                .map_err(Error::io(format!("reading {}", directory.display())))?;
            let needed = if metadata.uid() == user.uid.as_raw() {
                0o100
            } else if metadata.gid() == user.gid.as_raw() {
                0o010
            } else {
                0o001
            };
            if metadata.mode() & needed == 0 {
                return Err(Error::Unreachable {
                    user: user.name.clone(),
                    blocked: PathBuf::from(directory),
                });
            }
        }
        Ok(())
    }
}
