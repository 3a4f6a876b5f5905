//! Runs a command with one private PostgreSQL cluster of each version beside it.
//!
//! `with-clusters [--only 15|18] [--instead-of-15 16|17] -- COMMAND...` exits with the command's code. The clusters are
//! stopped and their files removed however the command ends, also on SIGINT and SIGTERM.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use clap::Parser;
use rolegate_testkit::clusters::{Clusters, VARIABLE, Version};
use rolegate_testkit::provision::{Provision, Provisioned, default_cache_directory};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long the command may take to end after a signal.
const GRACE: Duration = Duration::from_secs(20);

type Failure = Box<dyn std::error::Error>;

/// Runs COMMAND with one private PostgreSQL cluster of each tested version beside it.
#[derive(Debug, Parser)]
struct Arguments {
    /// Start only this version.
    #[arg(long, value_parser = ["15", "18"])]
    only: Option<String>,
    /// Start a server of this version of the machine where 15 is meant.
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(16..))]
    instead_of_15: Option<u32>,
    /// Where the downloaded server is kept from run to run.
    #[arg(long, default_value_os_t = default_cache_directory())]
    cache_dir: PathBuf,
    /// The Python 3 interpreter that downloads it.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// The command and its arguments.
    #[arg(required = true, last = true)]
    command: Vec<std::ffi::OsString>,
}

/// Signals that end the run.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The number of the next signal.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            say(&format!("with-clusters: {}", chain(&*failure)));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let mut interrupts = Interrupts::new()?;
    let place = tempfile::Builder::new()
        .prefix("rolegate-test-")
        .tempdir()?;
    // As root, the servers run as another user, who has to get in there.
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755))?;
    let provision = Provision {
        directory: place.path().to_owned(),
        cache_directory: arguments.cache_dir.clone(),
        python: arguments.python.clone(),
        search_path: search_path(),
        instead_of_15: arguments.instead_of_15,
    };
    let wanted = |version: Version| {
        arguments
            .only
            .as_ref()
            .is_none_or(|only| *only == version.major().to_string())
    };
    let start = async |version: Version| {
        if wanted(version) {
            Some(provision.start(version).await)
        } else {
            None
        }
    };
    let started = tokio::select! {
        started = async { tokio::join!(start(Version::Pg15), start(Version::Pg18)) } => started,
        // Dropping the half-made clusters stops their servers.
        number = interrupts.next() => return Ok(128 + number),
    };
    let mut running: Vec<(Version, Provisioned)> = Vec::new();
    let mut failure = None;
    for (version, result) in [(Version::Pg15, started.0), (Version::Pg18, started.1)] {
        match result {
            Some(Ok(provisioned)) => running.push((version, provisioned)),
            Some(Err(error)) => failure = failure.or(Some(error)),
            None => {}
        }
    }
    let result = match failure {
        Some(error) => Err(error.into()),
        None => run_command(&arguments.command, &running, &mut interrupts).await,
    };
    for (version, mut provisioned) in running {
        if let Err(error) = provisioned.cluster.stop().await {
            say(&format!(
                "with-clusters: stopping {version}: {}",
                chain(&error)
            ));
        }
    }
    place.close()?;
    result
}

async fn run_command(
    words: &[std::ffi::OsString],
    running: &[(Version, Provisioned)],
    interrupts: &mut Interrupts,
) -> Result<u8, Failure> {
    let clusters = Clusters(
        running
            .iter()
            .map(|(version, p)| (*version, p.record.clone()))
            .collect(),
    );
    for (version, provisioned) in running {
        say(&format!(
            "with-clusters: {version} is {} on port {}",
            provisioned.cluster.version(),
            provisioned.record.port
        ));
    }
    let (program, rest) = words.split_first().ok_or("there is no command")?;
    let mut child = Command::new(program)
        .args(rest)
        .env(VARIABLE, serde_json::to_string(&clusters)?)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    tokio::select! {
        status = child.wait() => Ok(code(status?)),
        number = interrupts.next() => {
            end(&mut child).await?;
            Ok(128 + number)
        }
    }
}

/// Asks the command to end, and ends it if it does not.
async fn end(child: &mut Child) -> Result<(), Failure> {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // It may have ended already.
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGTERM,
        );
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is a program, and nobody else knows its PATH"
)]
fn search_path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}

fn say(text: &str) {
    // Nobody to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
