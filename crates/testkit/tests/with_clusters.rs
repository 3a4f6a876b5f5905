//! The program around every test run: it passes the exit code on and leaves nothing behind.

use std::process::Stdio;

use rolegate_testkit::clusters::{Clusters, Version};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Prints what the clusters are, then goes on as `then`.
fn start(then: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_with-clusters"))
        .args(["--only", "18", "--", "sh", "-c"])
        .arg(format!("echo \"$ROLEGATE_TEST_CLUSTERS\"; {then}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts")
}

async fn clusters(child: &mut Child) -> Clusters {
    let output = child.stdout.take().expect("it is piped");
    let line = BufReader::new(output)
        .lines()
        .next_line()
        .await
        .expect("output");
    serde_json::from_str(&line.expect("one line")).expect("the clusters")
}

async fn assert_gone(clusters: &Clusters) {
    let cluster = clusters.get(Version::Pg18);
    let place = cluster.directory.parent().expect("a directory of its own");
    assert!(!place.exists(), "{} is still there", place.display());
    let port = tokio::net::TcpStream::connect(("127.0.0.1", cluster.port)).await;
    assert_eq!(
        port.expect_err("nobody listens").kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn the_exit_code_is_the_commands_and_the_clusters_are_gone() {
    let mut child = start("exit 7");
    let clusters = clusters(&mut child).await;
    assert_eq!(clusters.0.len(), 1);
    let status = child.wait().await.expect("it ends");
    assert_eq!(status.code(), Some(7));
    assert_gone(&clusters).await;
}

#[tokio::test]
async fn a_signal_ends_the_command_and_the_clusters() {
    use nix::sys::signal::{Signal, kill};
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let mut child = start("exec sleep 600");
        let clusters = clusters(&mut child).await;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .expect("it runs");
        kill(nix::unistd::Pid::from_raw(pid), signal).expect("our child");
        let status = child.wait().await.expect("it ends");
        assert_eq!(status.code(), Some(code), "{signal}");
        assert_gone(&clusters).await;
    }
}

#[tokio::test]
async fn a_command_that_cannot_run_is_an_error_and_the_clusters_are_gone() {
    let output = Command::new(env!("CARGO_BIN_EXE_with-clusters"))
        .args(["--only", "18", "--", "/nonexistent/program"])
        .output()
        .await
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("/nonexistent/program cannot be run"),
        "{said}"
    );
}
