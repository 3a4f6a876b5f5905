//! The program, run like a person runs it.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// `rolegate dev` after its `ready`.
pub(crate) struct Running {
    child: Child,
    _output: BufReader<ChildStdout>,
    pub(crate) text: String,
}

impl Running {
    pub(crate) fn said(&self, what: &str) -> bool {
        self.text.contains(what)
    }

    /// Interrupts it; whether it ended well.
    pub(crate) async fn stop(mut self) -> bool {
        let pid = self.child.id().expect("it runs");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a process id"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it is ours");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends").expect("a status").success()
    }
}

/// How a command ended, and everything it printed.
pub(crate) struct Finished {
    pub(crate) success: bool,
    pub(crate) text: String,
}

fn command(arguments: &[impl AsRef<str>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rolegate"));
    command
        .args(arguments.iter().map(AsRef::as_ref))
        // Without a configuration file.
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        // Must be ignored.
        .env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
        .env_remove("PGPASSWORD")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a server until it is ready.
pub(crate) async fn serves(arguments: &[String]) -> Running {
    let mut child = command(arguments).spawn().expect("the program starts");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    let ready = async {
        while output.read_line(&mut text).await.expect("text") > 0 {
            if text.ends_with("ready\n") {
                return true;
            }
        }
        false
    };
    let ready = tokio::time::timeout(PATIENCE, ready).await;
    if !ready.expect("it gets ready or ends") {
        let mut errors = String::new();
        let mut stderr = child.stderr.take().expect("piped");
        stderr.read_to_string(&mut errors).await.expect("text");
        panic!("it ended: {text}{errors}");
    }
    Running {
        child,
        _output: output,
        text,
    }
}

/// Runs a command to its end.
pub(crate) async fn finishes(arguments: &[impl AsRef<str>]) -> Finished {
    finishes_with(arguments, &[]).await
}

/// The same with variables, in a directory without a configuration.
pub(crate) async fn finishes_with(
    arguments: &[impl AsRef<str>],
    variables: &[(&str, &str)],
) -> Finished {
    let mut command = command(arguments);
    command.envs(variables.iter().copied());
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.expect("it ends").expect("the program starts");
    let text = [output.stdout, output.stderr].concat();
    Finished {
        success: output.status.success(),
        text: String::from_utf8(text).expect("text"),
    }
}

/// Runs a command that must fail; everything it printed.
pub(crate) async fn fails(arguments: &[String]) -> String {
    let finished = finishes(arguments).await;
    assert!(!finished.success, "{}", finished.text);
    finished.text
}
