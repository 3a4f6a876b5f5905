//! A server of our own, the tables that say what happened, and the configuration of the processes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rolegate_testkit::provision::{Provision, Provisioned, default_cache_directory};
use rolegate_testkit::{TestDatabase, Version};
use tokio_postgres::{Client, NoTls};

/// `sent`: what was committed by producers. `run`: each time a job ran. `placed`, `claimed`, `outcome`: copies of
/// the ring's rows, because the ring forgets; `ending`: each end of an attempt, put together from them.
const TABLES: &str = include_str!("tables.sql");

pub(crate) struct Place {
    provisioned: Provisioned,
    pub(crate) db: TestDatabase,
    /// Who enqueues, and as whom functions run.
    pub(crate) clerk: String,
    /// Of this run; it stays.
    pub(crate) logs: PathBuf,
    pub(crate) configuration: PathBuf,
    /// A library that makes the clock of a process wrong.
    pub(crate) wrong_clock: PathBuf,
    directory: tempfile::TempDir,
}

impl Place {
    pub(crate) async fn start(version: Version) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // As root, the server runs as another user.
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), everybody).unwrap();
        let provision = Provision {
            directory: directory.path().to_owned(),
            cache_directory: default_cache_directory(),
            python: "python3".into(),
            search_path: std::env::var_os("PATH"),
            instead_of_15: None,
        };
        let provisioned = provision.start(version).await.unwrap();
        let db = TestDatabase::create_in(version, provisioned.record.clone()).await;
        let clerk = db.create_role("clerk").await;
        let superuser = db.superuser().await;
        let tables = TABLES.replace("clerk_role", &clerk);
        superuser.batch_execute(&tables).await.unwrap();
        let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("storm");
        let _ = std::fs::remove_dir_all(&logs);
        std::fs::create_dir_all(&logs).unwrap();
        let configuration = directory.path().join("rolegate.toml");
        let socket = db.cluster().socket_dir.display().to_string();
        let text = format!(
            "[metrics]\nbind = \"127.0.0.1:0\"\n[worker]\nconcurrency = 8\n\
             [databases.app]\nurl = \"postgresql://{}:{}/{}\"\naccept_server_version = \"{}\"\n",
            socket.replace('/', "%2F"),
            db.cluster().port,
            db.name(),
            provisioned.cluster.version(),
        );
        std::fs::write(&configuration, text).unwrap();
        let wrong_clock = directory.path().join("clock.so");
        // There is a compiler: Rust needs it to link.
        let compiled = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&wrong_clock)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/storm/clock.c"))
            .status();
        assert!(compiled.unwrap().success(), "the clock does not compile");
        Self {
            provisioned,
            db,
            clerk,
            logs,
            configuration,
            wrong_clock,
            directory,
        }
    }

    pub(crate) fn version(&self) -> String {
        self.provisioned.cluster.version().to_string()
    }

    /// `None`: the server does not let anybody in just now.
    pub(crate) async fn try_connect(&self, role: &str) -> Option<Client> {
        try_connect(&self.db.config(role)).await
    }

    /// As soon as the server lets somebody in.
    pub(crate) async fn superuser(&self) -> Client {
        loop {
            if let Some(client) = self.try_connect("postgres").await {
                return client;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL, and a start that recovers.
    pub(crate) async fn kill_postgres(&mut self) {
        let port = self.provisioned.cluster.port();
        self.provisioned.cluster.kill().await.unwrap();
        self.provisioned.cluster.restart().await.unwrap();
        assert_eq!(
            self.provisioned.cluster.port(),
            port,
            "another took its port"
        );
    }

    pub(crate) async fn stop(mut self) {
        self.db.drop().await;
        self.provisioned.cluster.stop().await.unwrap();
        self.directory.close().unwrap();
    }
}

pub(crate) async fn try_connect(config: &tokio_postgres::Config) -> Option<Client> {
    let (client, connection) = config.connect(NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}
