//! Stands between a client and PostgreSQL and fails on command.
//!
//! Each command returns when it is in force, so that a test needs no sleep.

mod link;
mod listener;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rolegate_pg::wire::Address;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use listener::{Command, Listener};

/// What happens to the bytes that pass.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    /// Each piece waits this long, in each direction.
    delay: Duration,
    /// Nothing is read from either side.
    frozen: bool,
}

/// The connections that pass now.
#[derive(Debug, Clone, Default)]
struct Traffic {
    cut: CancellationToken,
    links: TaskTracker,
}

/// What the listener and the commands share.
#[derive(Debug)]
struct Shared {
    target: Address,
    weather: watch::Receiver<Weather>,
    traffic: Mutex<Traffic>,
}

/// A proxy in front of one server. Dropping it cuts all connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: Address,
    weather: watch::Sender<Weather>,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    /// Holds the socket's directory, if there is one.
    _directory: Option<tempfile::TempDir>,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 and leads to `target`.
    pub async fn tcp(target: Address) -> std::io::Result<Self> {
        let listener = Listener::tcp().await?;
        Ok(Self::run(listener, target, None))
    }

    /// Listens on a Unix socket and leads to `target`. The server sees this process behind it, so
    /// `peer` logins work through it.
    pub fn unix(target: Address) -> std::io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("rg-").tempdir()?;
        let listener = Listener::unix(directory.path())?;
        Ok(Self::run(listener, target, Some(directory)))
    }

    fn run(listener: Listener, target: Address, directory: Option<tempfile::TempDir>) -> Self {
        let address = listener.address();
        let (weather, receiver) = watch::channel(Weather::default());
        let shared = Arc::new(Shared {
            target,
            weather: receiver,
            traffic: Mutex::default(),
        });
        let (commands, inbox) = mpsc::channel(1);
        // It ends when the sender of its commands is dropped.
        tokio::spawn(listener.run(inbox, Arc::clone(&shared)));
        Self {
            address,
            weather,
            shared,
            commands,
            _directory: directory,
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> Address {
        self.address.clone()
    }

    /// How `role` connects to `database` through the proxy.
    pub fn config(&self, role: &str, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.user(role).dbname(database);
        match &self.address {
            Address::Unix { directory, port } => config.host_path(directory as &Path).port(*port),
            Address::Tcp { host, port } => config.host(host).port(*port),
        };
        config
    }

    /// How many connections pass now.
    pub fn connections(&self) -> usize {
        self.shared
            .traffic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .links
            .len()
    }

    /// Cuts all connections that pass now, with a reset where there is one. New ones come through.
    pub async fn cut_all(&self) {
        let traffic = std::mem::take(
            &mut *self
                .shared
                .traffic
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        traffic.cut.cancel();
        traffic.links.close();
        traffic.links.wait().await;
    }

    /// Whether new connections are refused, as by a server that is not there.
    pub async fn refuse_new(&self, refuse: bool) -> std::io::Result<()> {
        let (done, answer) = oneshot::channel();
        let gone = || std::io::Error::other("the proxy's listener has ended");
        self.commands
            .send(Command { refuse, done })
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Every piece of data waits this long before it is passed on, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Whether the proxy stops reading: both sides stay connected and hear nothing, and what they
    /// send piles up.
    pub fn stop_reading(&self, stop: bool) {
        self.weather.send_modify(|weather| weather.frozen = stop);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared
            .traffic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .cut
            .cancel();
    }
}
