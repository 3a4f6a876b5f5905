//! A cluster of our own, made ready by `rolegate dev`, and `rolegate serve` in front of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rolegate_pg::cluster::{Cluster, Options, Source};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

/// Far more than a start or an end takes.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// `gateway.shutdown_seconds` of these tests.
pub(crate) const SHUTDOWN: Duration = Duration::from_secs(8);

/// Writes down each call, as often as it is made: there is no key that would hide a second time.
const FUNCTIONS: &str = "create table public.note (id text not null); \
    create function api.note(id text) returns text language plpgsql volatile security definer \
    set search_path = pg_catalog, public as $$ begin \
    insert into note (id) values (note.id); perform pg_sleep(0.03); return note.id; end $$; \
    create function api.sleep(seconds float8) returns void language plpgsql volatile \
    set search_path = pg_catalog as $$ begin perform pg_sleep(seconds); end $$";

pub(crate) struct Place {
    pub(crate) cluster: Cluster,
    directory: tempfile::TempDir,
    /// alice's token.
    pub(crate) token: String,
}

/// A process that serves.
pub(crate) struct Serving {
    child: Child,
    log: JoinHandle<Vec<String>>,
    pub(crate) gateway: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Place {
    /// A fresh cluster with our roles, a person, and the functions.
    pub(crate) async fn start(source: Source) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // As root, the server runs as another user.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))
            .expect("our directory");
        let options = Options {
            cache_directory: Some(
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/postgres"),
            ),
            durable: false,
            max_connections: 60,
            source,
            ..Options::new(directory.path().join("cluster"))
        };
        let cluster = Cluster::start(options).await.expect("the cluster starts");
        let mut place = Self {
            cluster,
            directory,
            token: String::new(),
        };
        let names = rolegate_roles::Names::default();
        let everybody: Vec<String> = names
            .roles()
            .chain(["operator", "viewer", "alice", "bob"].map(str::to_owned))
            .collect();
        let everybody: Vec<&str> = everybody.iter().map(String::as_str).collect();
        place.cluster.admit(&everybody).await.expect("admitted");
        place.make_ready().await;
        place
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Runs `rolegate dev` once, which makes roles, schema, keys and tokens.
    async fn make_ready(&mut self) {
        let any = "127.0.0.1:0";
        let mut arguments = vec!["dev".to_owned(), "--data-dir".to_owned(), self.path("data")];
        for (name, value) in [
            (
                "--postgres",
                &*self.cluster.endpoint().url("postgres", "mine"),
            ),
            ("--gateway", any),
            ("--console", any),
            ("--callbacks", any),
            ("--metrics", any),
        ] {
            arguments.extend([name.to_owned(), value.to_owned()]);
        }
        let mut child = program(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if line == "ready" {
                    return;
                }
            }
            panic!("it ended");
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("ready");
        signal(&child, Signal::SIGTERM);
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        assert!(ended.expect("it ends").expect("a status").success());
        let text = std::fs::read_to_string(self.path("data/dev.json")).expect("dev.json");
        let record: Value = serde_json::from_str(&text).expect("JSON");
        let token = record["users"]["alice"]["token"].as_str();
        token.expect("a token").clone_into(&mut self.token);
        let client = self.cluster.endpoint().connect("postgres", "mine").await;
        let client = client.expect("the superuser logs in");
        client.batch_execute(FUNCTIONS).await.expect(FUNCTIONS);
    }

    /// The section of the configuration that leads to the database.
    pub(crate) fn database(&self) -> String {
        let socket = self.cluster.socket_dir().display().to_string();
        let socket = socket.replace('/', "%2F");
        let (port, version) = (self.cluster.port(), self.cluster.version());
        format!(
            "[databases.app]\nurl = \"postgresql://{socket}:{port}/mine\"\n\
             accept_server_version = \"{version}\"\n"
        )
    }

    /// Runs `rolegate serve` until it is ready.
    pub(crate) async fn serve(&self) -> Serving {
        let configuration = format!(
            "[gateway]\nbind = \"127.0.0.1:0\"\nshutdown_seconds = {}\n\
             [metrics]\nbind = \"127.0.0.1:0\"\n\
             [signing]\nseal_key_file = \"{}\"\n\
             {}",
            SHUTDOWN.as_secs(),
            self.path("data/seal.key"),
            self.database(),
        );
        std::fs::write(self.path("rolegate.toml"), configuration).expect("our directory");
        let arguments = ["serve", "--config", &self.path("rolegate.toml")].map(str::to_owned);
        let mut child = program(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let ready = async {
            let mut said = Vec::new();
            while let Some(line) = log.next_line().await.expect("text") {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["message"] == "ready" {
                    return event;
                }
                said.push(line);
            }
            panic!("it ended: {said:?}");
        };
        let event = tokio::time::timeout(PATIENCE, ready).await.expect("ready");
        let address = |name: &str| {
            let text = event[name].as_str().expect("an address");
            text.parse().expect("an address")
        };
        let serving = Serving {
            gateway: address("gateway"),
            metrics: address("metrics"),
            child,
            log: tokio::spawn(rest(log)),
        };
        assert_eq!(serving.readiness().await, Some(200));
        serving
    }

    /// Runs `rolegate serve` with these surfaces until it is ready; what it says then goes nowhere.
    pub(crate) async fn serve_all(&self, surfaces: &[&str]) -> Child {
        self.serve_with(surfaces, "").await.0
    }

    /// The same with more of a configuration, and what it said when it was ready.
    pub(crate) async fn serve_with(&self, surfaces: &[&str], more: &str) -> (Child, Value) {
        let any = "bind = \"127.0.0.1:0\"";
        let configuration = format!(
            "[gateway]\n{any}\n[console]\n{any}\n[callbacks]\n{any}\n[metrics]\n{any}\n{}{more}",
            self.database()
        );
        let file = self.path("everything.toml");
        std::fs::write(&file, configuration).expect("our directory");
        let mut arguments = vec!["serve"];
        arguments.extend(surfaces);
        arguments.extend(["--config", &file]);
        if surfaces.contains(&"callbacks") {
            arguments.push("--allow-unsigned");
        }
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let mut child = program(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let ready = async {
            let mut said = Vec::new();
            while let Some(line) = log.next_line().await.expect("text") {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["message"] == "ready" {
                    return event;
                }
                said.push(line);
            }
            panic!("it ended: {said:?}");
        };
        let event = tokio::time::timeout(PATIENCE, ready).await.expect("ready");
        tokio::spawn(rest(log));
        (child, event)
    }

    /// How often the function ran for each id.
    pub(crate) async fn runs(&self) -> BTreeMap<String, i64> {
        let client = self.cluster.endpoint().connect("postgres", "mine").await;
        let client = client.expect("the superuser logs in");
        let sql = "select id, count(*) from public.note group by id";
        let rows = client.query(sql, &[]).await.expect("rows");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    pub(crate) async fn stop(mut self) {
        self.cluster.stop().await.expect("it stops");
    }
}

impl Serving {
    /// The status of `/readyz`; `None` if nobody answers.
    pub(crate) async fn readiness(&self) -> Option<u16> {
        let answer = reqwest::get(format!("http://{}/readyz", self.metrics)).await;
        answer.ok().map(|answer| answer.status().as_u16())
    }

    /// Waits until `/readyz` says `status`.
    pub(crate) async fn becomes(&self, status: u16) {
        let is = async {
            while self.readiness().await != Some(status) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(15), is).await;
        waited.unwrap_or_else(|_| panic!("/readyz does not say {status}"));
    }

    pub(crate) fn signal(&self, what: Signal) {
        signal(&self.child, what);
    }

    /// Waits for the end; how it ended, and the rest of the log.
    pub(crate) async fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let all = async {
            let status = self.child.wait().await.expect("a status");
            (status, self.log.await.expect("the log"))
        };
        tokio::time::timeout(PATIENCE, all).await.expect("it ends")
    }
}

/// Reads on, or the process would wait for a reader.
async fn rest(mut log: Lines<BufReader<ChildStderr>>) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(line) = log.next_line().await.expect("text") {
        said.push(line);
    }
    said
}

pub(crate) fn program(arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rolegate"));
    command
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env_remove("PGPASSWORD")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

pub(crate) fn signal(child: &Child, what: Signal) {
    let pid = child.id().expect("it runs");
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    kill(pid, what).expect("it is ours");
}
