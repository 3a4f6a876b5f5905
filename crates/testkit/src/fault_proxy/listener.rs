//! Accepting connections, or refusing them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use rolegate_pg::wire::Address;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::link::{End, pass};

/// The port in the name of the Unix socket.
const SOCKET_PORT: u16 = 5432;

/// Stop or start accepting, and say when it is done.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) refuse: bool,
    pub(super) done: oneshot::Sender<io::Result<()>>,
}

/// Where we listen, and the socket while we do.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp {
        port: u16,
        socket: Option<TcpListener>,
    },
    Unix {
        directory: PathBuf,
        socket: Option<UnixListener>,
    },
}

enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    pub(super) async fn tcp() -> io::Result<Self> {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await?;
        Ok(Self::Tcp {
            port: socket.local_addr()?.port(),
            socket: Some(socket),
        })
    }

    pub(super) fn unix(directory: &Path) -> io::Result<Self> {
        let socket = Some(UnixListener::bind(socket_file(directory))?);
        Ok(Self::Unix {
            directory: directory.to_owned(),
            socket,
        })
    }

    pub(super) fn address(&self) -> Address {
        match self {
            Self::Tcp { port, .. } => Address::Tcp {
                host: "127.0.0.1".to_owned(),
                port: *port,
            },
            Self::Unix { directory, .. } => Address::Unix {
                directory: directory.clone(),
                port: SOCKET_PORT,
            },
        }
    }

    /// Serves until the sender of commands is gone.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, shared: Arc<Shared>) {
        loop {
            tokio::select! {
                command = commands.recv() => {
                    let Some(Command { refuse, done }) = command else { return };
                    // The one who asked may have given up.
                    let _ = done.send(self.set_refusing(refuse).await);
                }
                accepted = self.accept() => match accepted {
                    Ok(Accepted::Tcp(client)) => lead(client, &shared),
                    Ok(Accepted::Unix(client)) => lead(client, &shared),
                    // The client went away between knocking and being let in.
                    Err(_) => {}
                },
            }
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp {
                socket: Some(socket),
                ..
            } => socket
                .accept()
                .await
                .map(|(stream, _)| Accepted::Tcp(stream)),
            Self::Unix {
                socket: Some(socket),
                ..
            } => socket
                .accept()
                .await
                .map(|(stream, _)| Accepted::Unix(stream)),
            _ => std::future::pending().await,
        }
    }

    async fn set_refusing(&mut self, refuse: bool) -> io::Result<()> {
        match self {
            Self::Tcp { socket, .. } if refuse => *socket = None,
            Self::Tcp { port, socket } => {
                if socket.is_none() {
                    *socket = Some(TcpListener::bind(("127.0.0.1", *port)).await?);
                }
            }
            Self::Unix { directory, socket } => {
                if refuse && socket.take().is_some() {
                    std::fs::remove_file(socket_file(directory))?;
                } else if !refuse && socket.is_none() {
                    *socket = Some(UnixListener::bind(socket_file(directory))?);
                }
            }
        }
        Ok(())
    }
}

fn socket_file(directory: &Path) -> PathBuf {
    directory.join(format!(".s.PGSQL.{SOCKET_PORT}"))
}

/// Connects an accepted client to the target in a task of its own.
fn lead(client: impl End, shared: &Arc<Shared>) {
    let traffic = shared
        .traffic
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let (target, weather) = (shared.target.clone(), shared.weather.clone());
    let cut = traffic.cut;
    traffic.links.spawn(async move {
        // A target that cannot be reached looks like a server that closes at once.
        match target {
            Address::Tcp { host, port } => {
                if let Ok(server) = TcpStream::connect((host.as_str(), port)).await {
                    pass(client, server, weather, cut).await;
                }
            }
            Address::Unix { directory, port } => {
                let file = directory.join(format!(".s.PGSQL.{port}"));
                if let Ok(server) = UnixStream::connect(file).await {
                    pass(client, server, weather, cut).await;
                }
            }
        }
    });
}
