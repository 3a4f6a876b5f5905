//! The directory of a cluster: its layout, its marker file and the lock on it.
//!
//! Everything but `data` and `run` belongs to the user of this process, not to the server's: when
//! that is root, a superuser of the database can write where the server can, and must find neither
//! a path for root to follow nor the rules about who may log in.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::os_user::OsUser;

const MARKER: &str = "rolegate-cluster.json";
const LOCK: &str = "rolegate-cluster.lock";

/// A server log longer than this is set aside when the server starts.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// What is remembered from one start to the next.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Marker {
    /// Of this file.
    format: u32,
    /// Whether `initdb` has finished.
    pub(super) initialized: bool,
    /// The port, once there is one.
    pub(super) port: Option<u16>,
    /// Where the socket is.
    pub(super) socket_directory: PathBuf,
}

/// A cluster's directory that is locked by this process, until it is dropped.
#[derive(Debug)]
pub(super) struct ClusterDirectory {
    layout: Layout,
    pub(super) marker: Marker,
    _lock: File,
}

/// Where things are.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// `PGDATA`.
    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Configuration: the server's, who may log in, and what was admitted.
    pub(super) fn config(&self, file: &str) -> PathBuf {
        self.root.join("config").join(file)
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("server.log")
    }

    fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(super) fn read_marker(&self) -> Result<Option<Marker>, Error> {
        let file = self.root.join(MARKER);
        match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|source| Error::Marker { file, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("reading {}", file.display()))(error)),
        }
    }
}

/// Writes a file of ours at once, so that no reader sees half of it, readable for the server.
pub(super) fn write(path: &Path, content: &str, user: &OsUser) -> Result<(), Error> {
    let failed = || Error::io(format!("writing {}", path.display()));
    let temporary = path.with_extension("new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed()(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&temporary)
        .map_err(failed())?;
    user.share(&temporary)?;
    file.write_all(content.as_bytes()).map_err(failed())?;
    std::fs::rename(&temporary, path).map_err(failed())
}

impl ClusterDirectory {
    /// Takes the directory: makes it if it is missing or empty, refuses it if it is not ours.
    pub(super) fn open(root: &Path, user: &OsUser) -> Result<Self, Error> {
        let failed = || Error::io(format!("making {}", root.display()));
        std::fs::create_dir_all(root).map_err(failed())?;
        let root = root.canonicalize().map_err(failed())?;
        let layout = Layout::new(&root);
        let marker = layout.read_marker()?;
        if marker.is_none() {
            refuse_foreign(&root)?;
        }
        let mode = if user.differs() { 0o711 } else { 0o700 };
        std::fs::set_permissions(&root, Permissions::from_mode(mode)).map_err(failed())?;
        user.can_enter(&root)?;
        let lock = lock(&root)?;
        let mut directory = Self {
            marker: marker.unwrap_or(Marker {
                format: 1,
                initialized: false,
                port: None,
                socket_directory: layout.run(),
            }),
            layout,
            _lock: lock,
        };
        directory.save(user)?;
        make(&directory.layout.root.join("config"), mode)?;
        directory.prepare_socket_directory(user)?;
        Ok(directory)
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn root(&self) -> &Path {
        &self.layout.root
    }

    /// Writes the marker.
    pub(super) fn save(&self, user: &OsUser) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(&self.marker).map_err(|source| Error::Marker {
            file: self.layout.root.join(MARKER),
            source,
        })?;
        write(&self.layout.root.join(MARKER), &text, user)
    }

    /// An empty `PGDATA` that belongs to the server, without what an interrupted `initdb` left.
    pub(super) fn empty_data(&self, user: &OsUser) -> Result<PathBuf, Error> {
        let data = self.layout.data();
        if data.exists() {
            std::fs::remove_dir_all(&data)
                .map_err(Error::io(format!("emptying {}", data.display())))?;
        }
        make(&data, 0o700)?;
        user.give(&data)?;
        Ok(data)
    }

    /// Removes socket files of a server that is gone, whose lock file could name the process
    /// number of another program by now.
    pub(super) fn clear_sockets(&self) -> Result<(), Error> {
        let directory = &self.marker.socket_directory;
        let failed = || Error::io(format!("clearing {}", directory.display()));
        for entry in std::fs::read_dir(directory).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            std::fs::remove_file(&path).map_err(failed())?;
        }
        Ok(())
    }

    /// Opens the log for the server, setting a long one aside.
    pub(super) fn open_log(&self) -> Result<File, Error> {
        let path = self.layout.log();
        let failed = || Error::io(format!("opening {}", path.display()));
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
            std::fs::rename(&path, path.with_extension("log.old")).map_err(failed())?;
        }
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed())
    }

    fn prepare_socket_directory(&mut self, user: &OsUser) -> Result<(), Error> {
        let known = &self.marker.socket_directory;
        // One outside of our directory may have been removed, and its name taken by anybody.
        let ours = std::fs::symlink_metadata(known)
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user.server_uid());
        if !ours {
            let run = self.layout.run();
            let directory = if fits_socket(&run) {
                make(&run, 0o700)?;
                run
            } else {
                short_directory()?
            };
            user.give(&directory)?;
            self.marker.socket_directory = directory;
            self.save(user)?;
        }
        Ok(())
    }
}

impl Drop for ClusterDirectory {
    /// A socket directory outside of ours has no owner any more when the server is gone.
    fn drop(&mut self) {
        if self.marker.socket_directory != self.layout.run() {
            // Fails, as it should, while a server's socket is in it.
            let _ = std::fs::remove_dir(&self.marker.socket_directory);
        }
    }
}

/// Whether the longest socket name in `directory` fits into the address of a Unix socket.
fn fits_socket(directory: &Path) -> bool {
    let longest = if cfg!(target_os = "linux") { 107 } else { 103 };
    directory.as_os_str().len() + "/.s.PGSQL.65535".len() <= longest
}

fn short_directory() -> Result<PathBuf, Error> {
    let system = std::env::temp_dir();
    let parent = if fits_socket(&system.join("rg-123456")) {
        system
    } else {
        "/tmp".into()
    };
    tempfile::Builder::new()
        .prefix("rg-")
        .tempdir_in(&parent)
        .map(tempfile::TempDir::keep)
        .map_err(Error::io(format!(
            "making a directory in {}",
            parent.display()
        )))
}

fn make(directory: &Path, mode: u32) -> Result<(), Error> {
    match std::fs::DirBuilder::new().mode(mode).create(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io(format!("making {}", directory.display()))(error))
        }
        // The mode of `mkdir` is cut by the umask.
        _ => std::fs::set_permissions(directory, Permissions::from_mode(mode)).map_err(Error::io(
            format!("setting permissions of {}", directory.display()),
        )),
    }
}

fn refuse_foreign(root: &Path) -> Result<(), Error> {
    let entries =
        std::fs::read_dir(root).map_err(Error::io(format!("reading {}", root.display())))?;
    for entry in entries {
        let entry = entry.map_err(Error::io(format!("reading {}", root.display())))?;
        // Another process may be at this point too, and have made the lock already.
        if entry.file_name() != LOCK {
            return Err(Error::Foreign {
                directory: root.to_owned(),
                marker: MARKER,
            });
        }
    }
    Ok(())
}

/// Locks the directory for this process. The kernel lets go of the lock when the process ends,
/// however it ends.
fn lock(root: &Path) -> Result<File, Error> {
    let path = root.join(LOCK);
    let failed = || Error::io(format!("locking {}", path.display()));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let owner = owner.trim();
            let owner = if owner.is_empty() { "?" } else { owner }.to_owned();
            return Err(Error::InUse {
                directory: root.to_owned(),
                owner,
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed()(error)),
    }
    file.set_len(0).map_err(failed())?;
    file.rewind().map_err(failed())?;
    writeln!(file, "{}", std::process::id()).map_err(failed())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_for_a_socket_gets_a_short_directory() {
        assert!(fits_socket(Path::new("/tmp/rg-123456")));
        assert!(!fits_socket(&Path::new("/tmp").join("x".repeat(100))));
        let short = short_directory().expect("a temporary directory");
        assert!(fits_socket(&short));
        std::fs::remove_dir(short).expect("it is empty");
    }
}
