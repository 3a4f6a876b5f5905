//! The development server that the examples talk to.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub(crate) struct Server {
    child: Child,
    /// What it printed, up to `ready`.
    pub(crate) greeting: Vec<String>,
    /// `dev.json`.
    pub(crate) record: Value,
    /// Ports of the server that the reader starts himself.
    second: [u16; 2],
}

pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_rolegate"))
}

impl Server {
    /// `rolegate dev --example expenses` in `directory`, on any free ports.
    pub(crate) fn start(directory: &Path) -> Self {
        let any = "127.0.0.1:0";
        let mut child = Command::new(program())
            .args(["dev", "--example", "expenses"])
            .args(["--gateway", any, "--console", any])
            .args(["--callbacks", any, "--metrics", any])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut greeting = Vec::new();
        for line in stdout.lines() {
            greeting.push(line.expect("text"));
            if greeting.last().is_some_and(|line| line == "ready") {
                break;
            }
        }
        let mut server = Self {
            child,
            greeting,
            record: Value::Null,
            second: [free_port(), free_port()],
        };
        assert_eq!(
            server.greeting.last().map(String::as_str),
            Some("ready"),
            "the server did not start: {:?}",
            server.greeting
        );
        let text = std::fs::read_to_string(directory.join(".rolegate/dev.json")).expect("dev.json");
        server.record = serde_json::from_str(&text).expect("JSON");
        server
    }

    /// The text with the addresses of this server in the place of those that are the default.
    pub(crate) fn with_addresses(&self, text: &str) -> String {
        let address = |name: &str| {
            let url = self.record[name].as_str().expect("an address");
            url.trim_start_matches("http://").to_owned()
        };
        let mut text = text.to_owned();
        for (port, name) in [
            ("8080", "gateway_url"),
            ("8081", "console_url"),
            ("8082", "callbacks_url"),
            ("9090", "metrics_url"),
        ] {
            let address = address(name);
            for host in ["127.0.0.1", "localhost"] {
                text = text.replace(&format!("{host}:{port}"), &address);
            }
        }
        for (port, own) in ["8090", "9091"].iter().zip(self.second) {
            text = text.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{own}"));
        }
        text
    }
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

impl Drop for Server {
    fn drop(&mut self) {
        // It stops its cluster, and has a bound of its own for that.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}
