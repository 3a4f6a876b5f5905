//! The server's main process: finding it, recognizing it, signalling it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::error::Error;

/// How often we look whether a process that is not our child has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long a stop may take before it is forced, and again until we give up.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server. It is stopped when this is dropped, whoever started it.
#[derive(Debug)]
pub(super) struct Postmaster {
    pid: i32,
    /// `PGDATA`.
    data: PathBuf,
    /// Set if this process started it; otherwise it outlived the one that did.
    child: Option<Child>,
    /// Whether it is known to have ended.
    gone: bool,
}

impl Postmaster {
    pub(super) fn spawned(child: Child, data: PathBuf) -> Option<Self> {
        let pid = i32::try_from(child.id()?).ok()?;
        Some(Self {
            pid,
            data,
            child: Some(child),
            gone: false,
        })
    }

    /// The server of `data` that is running already, going by its pid file.
    ///
    /// A pid file whose process number now belongs to another program is removed: the server
    /// would refuse to start because of it.
    pub(super) fn running(data: &Path) -> Result<Option<Self>, Error> {
        let file = data.join("postmaster.pid");
        let Ok(text) = std::fs::read_to_string(&file) else {
            return Ok(None);
        };
        let Some(pid) = text
            .lines()
            .next()
            .and_then(|line| line.trim().parse::<i32>().ok())
        else {
            return Ok(None);
        };
        if pid <= 1 || kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
            return Ok(None);
        }
        if serves(pid, data) {
            return Ok(Some(Self {
                pid,
                data: data.to_owned(),
                child: None,
                gone: false,
            }));
        }
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("removing {}", file.display()))(error))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<String> {
        let how = match &mut self.child {
            Some(child) => match child.try_wait() {
                Ok(Some(status)) => Some(format!("the server ended with {status}")),
                _ => None,
            },
            None => (!serves(self.pid, &self.data)).then(|| "the server ended".to_owned()),
        };
        self.gone = how.is_some();
        how
    }

    /// A fast stop: open transactions are rolled back, a checkpoint is written. Forced if it
    /// takes too long.
    pub(super) async fn stop(&mut self) -> Result<(), Error> {
        for signal in [Signal::SIGINT, Signal::SIGQUIT] {
            self.signal(signal)?;
            if self.wait(STOP_TIMEOUT).await {
                return Ok(());
            }
        }
        Err(Error::NotStopped {
            pid: self.pid,
            seconds: STOP_TIMEOUT.as_secs(),
        })
    }

    /// SIGKILL, as the kernel does it when memory is short.
    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        self.signal(Signal::SIGKILL)?;
        if self.wait(STOP_TIMEOUT).await {
            Ok(())
        } else {
            Err(Error::NotStopped {
                pid: self.pid,
                seconds: STOP_TIMEOUT.as_secs(),
            })
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        if self
            .child
            .as_ref()
            .is_some_and(|child| child.id().is_none())
        {
            // Reaped: the number may be somebody else's by now.
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(source) => Err(Error::Signal {
                pid: self.pid,
                source,
            }),
        }
    }

    async fn wait(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.ended().is_none() {
            if Instant::now() >= deadline {
                return false;
            }
            match &mut self.child {
                Some(child) => {
                    let _ = tokio::time::timeout_at(deadline, child.wait()).await;
                }
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        true
    }
}

impl Drop for Postmaster {
    /// Blocks for some seconds at most: there is no async runtime to wait in.
    fn drop(&mut self) {
        if self.gone || self.signal(Signal::SIGINT).is_err() {
            return;
        }
        for _ in 0..500 {
            if self.ended().is_some() {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = self.signal(Signal::SIGQUIT);
    }
}

/// Whether the process `pid` is a server whose directory is `data`: a server's working directory
/// is its data directory. A process that has ended has none, even while it is still listed.
fn serves(pid: i32, data: &Path) -> bool {
    if cfg!(target_os = "linux") {
        return std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data);
    }
    let output = std::process::Command::new("ps")
        .args(["-o", "command=", "-p", &pid.to_string()])
        .stdin(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).contains(&*data.to_string_lossy())
    })
}

/// A command with an environment that does not depend on ours: `PGOPTIONS` and its like would
/// change the server.
pub(super) fn clean_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null());
    command
}
