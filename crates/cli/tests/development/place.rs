//! A throw-away cluster that stands for somebody else's, and a data directory.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rolegate_pg::cluster::{Cluster, Options, Source};
use serde_json::{Value, json};
use tokio_postgres::Client;

pub(crate) struct Place {
    cluster: Cluster,
    data_dir: DataDir,
    directory: tempfile::TempDir,
}

pub(crate) struct DataDir(String);

impl DataDir {
    pub(crate) fn dev(&self, url: &str, more: &[&str]) -> Vec<String> {
        let any = "127.0.0.1:0";
        let mut arguments = [
            "dev",
            "--data-dir",
            &self.0,
            "--gateway",
            any,
            "--console",
            any,
            "--callbacks",
            any,
            "--metrics",
            any,
            "--postgres",
            url,
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        arguments
    }
}

impl Place {
    /// A fresh cluster whose superuser has a password.
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
        let place = Self {
            cluster,
            data_dir: DataDir(directory.path().join("data").display().to_string()),
            directory,
        };
        place
            .run("postgres", "alter role postgres password 'hush'")
            .await;
        place
    }

    pub(crate) async fn stop(mut self) {
        self.cluster.stop().await.expect("it stops");
    }

    /// The superuser over TCP, with the password.
    pub(crate) fn url(&self, database: &str) -> String {
        let port = self.cluster.port();
        format!("postgresql://postgres:hush@127.0.0.1:{port}/{database}")
    }

    pub(crate) fn socket_url(&self, database: &str) -> String {
        self.cluster.endpoint().url("postgres", database)
    }

    pub(crate) fn dev(&self, url: &str) -> Vec<String> {
        self.data_dir.dev(url, &[])
    }

    pub(crate) fn data_dir(&self) -> &str {
        &self.data_dir.0
    }

    /// Another data directory.
    pub(crate) fn stranger(&self) -> DataDir {
        DataDir(self.directory.path().join("other").display().to_string())
    }

    /// A peer map that lets our user in as anybody.
    pub(crate) async fn let_everybody_in(&self) {
        let names = rolegate_roles::Names::default();
        let everybody: Vec<String> = names
            .roles()
            .chain(["operator", "viewer", "alice", "bob"].map(str::to_owned))
            .collect();
        let everybody: Vec<&str> = everybody.iter().map(String::as_str).collect();
        self.cluster.admit(&everybody).await.expect("admitted");
    }

    pub(crate) async fn run(&self, database: &str, sql: &str) {
        self.client(database)
            .await
            .batch_execute(sql)
            .await
            .expect(sql);
    }

    async fn client(&self, database: &str) -> Client {
        let client = self.cluster.endpoint().connect("postgres", database).await;
        client.expect("the superuser logs in")
    }

    /// Everything that must not change behind somebody's back, in all databases: roles with their
    /// attributes, settings and memberships, databases, schemas, relations and functions with
    /// owners, definitions and rights. Passwords of roles that we made get a new salt.
    pub(crate) async fn snapshot(&self) -> BTreeSet<String> {
        let client = self.client("postgres").await;
        let databases = client
            .query(
                "select datname::text from pg_database where datallowconn and not datistemplate",
                &[],
            )
            .await
            .expect("rows");
        let mut lines = BTreeSet::new();
        for row in databases {
            let name: String = row.get(0);
            let client = self.client(&name).await;
            let rows = client.query(include_str!("snapshot.sql"), &[]).await;
            for row in rows.expect("rows") {
                let line: String = row.get(0);
                lines.insert(if line.starts_with("in ") {
                    format!("{name}: {line}")
                } else {
                    line
                });
            }
        }
        lines
    }

    pub(crate) fn record(&self) -> Value {
        let text = std::fs::read_to_string(Path::new(&self.data_dir.0).join("dev.json"));
        serde_json::from_str(&text.expect("dev.json")).expect("JSON")
    }

    /// Calls `whoami` with alice's token.
    pub(crate) async fn whoami(&self) -> String {
        let record = self.record();
        let token = record["users"]["alice"]["token"].as_str().expect("a token");
        self.ask(&record, token).await
    }

    /// Logs in with the password of `dev.json`, and calls `whoami` with the token.
    pub(crate) async fn log_in_and_ask(&self, who: &str) -> String {
        let record = self.record();
        let url = format!(
            "{}/api/app/login",
            record["gateway_url"].as_str().expect("a URL")
        );
        let password = &record["users"][who]["password"];
        let answer: Value = reqwest::Client::new()
            .post(url)
            .json(&json!({"login": who, "password": password}))
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        let token = answer["token"].as_str();
        self.ask(&record, token.unwrap_or_else(|| panic!("{answer}")))
            .await
    }

    async fn ask(&self, record: &Value, token: &str) -> String {
        let url = format!(
            "{}/api/app/whoami",
            record["gateway_url"].as_str().expect("a URL")
        );
        // The function may be younger than the last look at the catalog.
        for _ in 0..40 {
            let answer = reqwest::Client::new()
                .post(&url)
                .bearer_auth(token)
                .json(&json!({}))
                .send()
                .await
                .expect("an answer");
            if answer.status() == 404 {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
            let status = answer.status();
            let text = answer.text().await.expect("a body");
            assert!(status.is_success(), "{status}: {text}");
            return serde_json::from_str(&text).expect("a JSON string");
        }
        panic!("the function does not appear");
    }
}
