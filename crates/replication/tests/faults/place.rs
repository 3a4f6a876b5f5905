//! A server that a test may stop and change.

use std::os::unix::fs::PermissionsExt as _;

use rolegate_testkit::provision::{Provision, Provisioned, default_cache_directory};
use rolegate_testkit::{TestDatabase, Version};
use tempfile::TempDir;

/// A server with a database in it.
pub(crate) struct Place {
    pub(crate) provisioned: Provisioned,
    pub(crate) db: TestDatabase,
    directory: TempDir,
}

impl Place {
    pub(crate) async fn new(version: Version) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("rolegate-test-")
            .tempdir()
            .unwrap();
        // As root, the server runs as another user, who has to get in there.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let provision = Provision {
            directory: directory.path().to_owned(),
            cache_directory: default_cache_directory(),
            python: "python3".into(),
            search_path: search_path(),
        };
        let provisioned = provision.start(version).await.unwrap();
        let db = TestDatabase::create_in(version, provisioned.record.clone()).await;
        Self {
            provisioned,
            db,
            directory,
        }
    }

    /// Sets something that needs no restart, and waits until it is in force.
    pub(crate) async fn set(&self, name: &str, value: &str) {
        let client = self.db.superuser().await;
        for sql in [
            format!("alter system set {name} = '{value}'"),
            "select pg_reload_conf()".into(),
        ] {
            client.batch_execute(&sql).await.unwrap();
        }
        let sql = format!("select current_setting('{name}') = '{value}'");
        while !client.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn stop(mut self) {
        self.db.drop().await;
        self.provisioned.cluster.stop().await.unwrap();
        self.directory.close().unwrap();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no command line, and nobody else knows its PATH"
)]
fn search_path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}
