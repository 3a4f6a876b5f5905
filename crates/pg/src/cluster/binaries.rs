//! Finding PostgreSQL server programs on the machine.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::error::Error;

/// The oldest major version we run on.
pub const OLDEST_MAJOR: u32 = 15;

/// The version of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerVersion {
    /// 15, 16, ...
    pub major: u32,
    /// The release of it; 0 for development versions.
    pub minor: u32,
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl ServerVersion {
    /// Reads the output of `postgres --version`.
    fn parse(output: &str) -> Option<Self> {
        let (_, rest) = output.split_once("(PostgreSQL)")?;
        let number = rest.split_whitespace().next()?;
        let digits = |text: &str| -> Option<u32> {
            let end = text
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len());
            text.get(..end)?.parse().ok()
        };
        let mut parts = number.split('.');
        let major = digits(parts.next()?)?;
        Some(Self {
            major,
            minor: parts.next().and_then(digits).unwrap_or(0),
        })
    }
}

/// A directory with `postgres` and `initdb` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The directory.
    pub directory: PathBuf,
    /// What `postgres --version` says.
    pub version: ServerVersion,
}

impl Binaries {
    /// The programs in `directory`, if it has a server that runs.
    pub(super) async fn in_directory(directory: &Path) -> Option<Self> {
        if !directory.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(directory.join("postgres"))
            .arg("--version")
            .output()
            .await
            .ok()?;
        let version = ServerVersion::parse(std::str::from_utf8(&output.stdout).ok()?)?;
        Some(Self {
            directory: directory.to_owned(),
            version,
        })
    }

    /// The path of one program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// All servers of the machine, newest first. `search_path` is the value of `PATH`.
pub(super) async fn installed(search_path: Option<&OsStr>) -> Vec<Binaries> {
    let mut found: Vec<Binaries> = Vec::new();
    for directory in candidates(search_path).await {
        // The same server is often reachable by several names, some of them links to the program.
        let directory = match directory.join("postgres").canonicalize() {
            Ok(program) => program.parent().map_or(directory, Path::to_owned),
            Err(_) => continue,
        };
        if found.iter().any(|known| known.directory == directory) {
            continue;
        }
        if let Some(binaries) = Binaries::in_directory(&directory).await
            && binaries.version.major >= OLDEST_MAJOR
        {
            found.push(binaries);
        }
    }
    // Stable: among equal versions the one found first stays first.
    found.sort_by_key(|binaries| std::cmp::Reverse(binaries.version));
    found
}

/// The newest server, or the newest one of a major version.
pub(super) async fn newest(
    search_path: Option<&OsStr>,
    major: Option<u32>,
) -> Result<Binaries, Error> {
    installed(search_path)
        .await
        .into_iter()
        .find(|binaries| major.is_none_or(|major| binaries.version.major == major))
        .ok_or_else(|| {
            let wanted_major = major.map(|major| major.to_string());
            Error::NoServer {
                wanted: match &wanted_major {
                    Some(major) => major.clone(),
                    None => format!("{OLDEST_MAJOR} or newer"),
                },
                searched: "PATH, `pg_config --bindir`, /usr/lib/postgresql, Homebrew".to_owned(),
                install: if cfg!(target_os = "macos") {
                    format!(
                        "brew install postgresql@{}",
                        wanted_major.as_deref().unwrap_or("18")
                    )
                } else {
                    match wanted_major {
                        Some(major) => format!("apt-get install postgresql-{major}"),
                        None => "apt-get install postgresql".to_owned(),
                    }
                },
            }
        })
}

async fn candidates(search_path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = Vec::new();
    if let Some(path) = search_path {
        directories.extend(std::env::split_paths(path).filter(|entry| entry.is_absolute()));
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output().await
        && let Ok(text) = std::str::from_utf8(&output.stdout)
        && !text.trim().is_empty()
    {
        directories.push(PathBuf::from(text.trim()));
    }
    directories.extend(children_bin(Path::new("/usr/lib/postgresql"), ""));
    directories.extend(children_bin(Path::new("/usr"), "pgsql-"));
    for homebrew in [
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/home/linuxbrew/.linuxbrew/opt",
    ] {
        directories.extend(children_bin(Path::new(homebrew), "postgresql"));
    }
    directories
}

/// `parent/PREFIX*/bin`.
fn children_bin(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut directories: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.is_dir())
        .collect();
    directories.sort();
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_print_them() {
        for (output, expected) in [
            ("postgres (PostgreSQL) 18.6\n", Some((18, 6))),
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                Some((15, 18)),
            ),
            ("postgres (PostgreSQL) 19beta2", Some((19, 0))),
            ("postgres (PostgreSQL) 20devel", Some((20, 0))),
            ("postgres (SomethingElse) 15.1", None),
            ("", None),
        ] {
            let version = ServerVersion::parse(output).map(|v| (v.major, v.minor));
            assert_eq!(version, expected, "{output}");
        }
    }

    #[test]
    fn a_later_release_is_newer_than_an_earlier_one_of_the_same_major() {
        let version = |major, minor| ServerVersion { major, minor };
        assert!(version(15, 18) > version(15, 9));
        assert!(version(18, 0) > version(15, 18));
    }

    #[tokio::test]
    async fn a_missing_version_names_the_command_that_installs_it() {
        let error = newest(None, Some(9_999))
            .await
            .expect_err("there is no such version");
        assert!(error.to_string().contains("postgresql"), "{error}");
        assert!(error.to_string().contains("9999"), "{error}");
    }
}
