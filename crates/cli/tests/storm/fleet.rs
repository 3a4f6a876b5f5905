//! The processes: workers and maintenance, started again when they end, as a supervisor does it.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::place::Place;
use crate::rust_worker;

/// Of workers that run functions.
const FUNCTIONS: usize = 3;
/// How long a worker is stopped: longer than half a minute, after which it is given up.
const STOPPED: Duration = Duration::from_secs(36);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Functions,
    /// As it, with a wrong clock, and stopped for longer than a worker may be silent. Never killed.
    Slow,
    Rust,
    Maintenance,
}

struct Member {
    kind: Kind,
    child: Child,
    starts: u32,
}

pub(crate) struct Fleet {
    members: Vec<Member>,
    configuration: PathBuf,
    logs: PathBuf,
    rust: String,
    wrong_clock: PathBuf,
    /// Since when the slow one stands still.
    stopped: Option<Instant>,
}

impl Fleet {
    pub(crate) async fn start(place: &Place) -> Self {
        let mut fleet = Self {
            members: Vec::new(),
            configuration: place.configuration.clone(),
            logs: place.logs.clone(),
            rust: rust_worker::place(place),
            wrong_clock: place.wrong_clock.clone(),
            stopped: None,
        };
        let kinds = [Kind::Maintenance, Kind::Maintenance, Kind::Slow, Kind::Rust];
        for kind in kinds.into_iter().chain([Kind::Functions; FUNCTIONS]) {
            let nth = fleet.members.len();
            let child = fleet.spawn(kind, nth);
            fleet.members.push(Member {
                kind,
                child,
                starts: 1,
            });
        }
        // Everybody is at work before anything is killed.
        let superuser = place.superuser().await;
        let workers = i64::try_from(FUNCTIONS + 2).unwrap();
        loop {
            let sql = "select count(*) from rolegate.job_worker";
            let row = superuser.query_one(sql, &[]).await.unwrap();
            if row.get::<_, i64>(0) >= workers {
                return fleet;
            }
            fleet.tend();
            assert!(
                fleet.starts() < 100,
                "they end at once: see {}",
                fleet.logs.display()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn spawn(&self, kind: Kind, nth: usize) -> Child {
        let mut command = match kind {
            Kind::Rust => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command
                    .args(["rust_worker", "--exact", "--ignored", "--nocapture"])
                    .env(rust_worker::VARIABLE, &self.rust);
                command
            }
            Kind::Functions | Kind::Slow | Kind::Maintenance => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_rolegate"));
                let surface = if kind == Kind::Maintenance {
                    "maintenance"
                } else {
                    "worker"
                };
                if kind == Kind::Slow {
                    command.env("LD_PRELOAD", &self.wrong_clock);
                }
                command
                    .args(["serve", surface, "--config"])
                    .arg(&self.configuration)
                    .env_remove("DATABASE_URL")
                    .env_remove("PGPASSWORD");
                // What begins like this is the program's configuration.
                for ours in crate::SETTINGS {
                    command.env_remove(ours);
                }
                command
            }
        };
        let log = self.logs.join(format!("{kind:?}-{nth}.log").to_lowercase());
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Starts what has ended.
    pub(crate) fn tend(&mut self) {
        for nth in 0..self.members.len() {
            if let Ok(Some(_)) = self.members[nth].child.try_wait() {
                let child = self.spawn(self.members[nth].kind, nth);
                self.members[nth].child = child;
                self.members[nth].starts += 1;
            }
        }
        if self.stopped.is_some_and(|since| since.elapsed() > STOPPED) {
            self.signal_slow(Signal::SIGCONT);
            self.stopped = None;
        }
    }

    /// SIGSTOP for the slow worker; it goes on after a while.
    pub(crate) fn stop_slow(&mut self) {
        self.signal_slow(Signal::SIGSTOP);
        self.stopped = Some(Instant::now());
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.stopped.is_none()
    }

    fn signal_slow(&self, what: Signal) {
        for member in &self.members {
            if member.kind == Kind::Slow
                && let Some(pid) = member.child.id()
            {
                kill(Pid::from_raw(i32::try_from(pid).unwrap()), what).unwrap();
            }
        }
    }

    /// SIGKILL for the nth worker.
    pub(crate) async fn kill_worker(&mut self, nth: usize) {
        // One of them is written in Rust.
        let mut workers = self
            .members
            .iter_mut()
            .filter(|member| matches!(member.kind, Kind::Rust | Kind::Functions));
        if let Some(member) = workers.nth(nth % (FUNCTIONS + 1)) {
            member.child.kill().await.unwrap();
        }
    }

    /// SIGKILL for the process that leads the maintenance. Whether there was one.
    pub(crate) async fn kill_leader(&mut self, pid: u32) -> bool {
        for member in &mut self.members {
            if member.kind == Kind::Maintenance && member.child.id() == Some(pid) {
                member.child.kill().await.unwrap();
                return true;
            }
        }
        false
    }

    pub(crate) fn starts(&self) -> u32 {
        self.members.iter().map(|member| member.starts).sum()
    }

    /// SIGTERM for all; whether they all ended well and in time.
    pub(crate) async fn stop(mut self) -> bool {
        let mut well = true;
        for member in &self.members {
            let pid = member.child.id().and_then(|pid| i32::try_from(pid).ok());
            match pid {
                Some(pid) => kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap(),
                None => well = false,
            }
        }
        for member in &mut self.members {
            let ended = tokio::time::timeout(Duration::from_secs(20), member.child.wait()).await;
            let ended = ended.is_ok_and(|status| status.unwrap().success());
            if !ended {
                println!("a process of kind {:?} did not end well", member.kind);
            }
            well &= ended;
        }
        well
    }
}
