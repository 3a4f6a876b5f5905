//! A server of a test's own, which it may stop and change.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tempfile::TempDir;

use crate::clusters::Clusters;
use crate::provision::{Provision, Provisioned, default_cache_directory};
use crate::{TestDatabase, Version};

/// A server with a database in it.
#[derive(Debug)]
pub struct OwnServer {
    /// The server.
    pub provisioned: Provisioned,
    /// The database.
    pub db: TestDatabase,
    directory: TempDir,
}

impl OwnServer {
    /// Starts one; fails the test if that can't be done.
    pub async fn new(version: Version) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("rolegate-test-")
            .tempdir()
            .expect("a directory");
        // As root, the server runs as another user, who has to get in there.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).expect("it can be opened");
        let provision = Provision {
            directory: directory.path().to_owned(),
            cache_directory: default_cache_directory(),
            python: "python3".into(),
            search_path: search_path(),
            instead_of_15: Clusters::instead_of_15(),
        };
        let provisioned = provision.start(version).await.expect("a server");
        let db = TestDatabase::create_in(version, provisioned.record.clone()).await;
        Self {
            provisioned,
            db,
            directory,
        }
    }

    /// Its directory, in which other things may be.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Sets something that needs no restart, and waits until it is in force.
    pub async fn set(&self, name: &str, value: &str) {
        let client = self.db.superuser().await;
        for sql in [
            format!("alter system set {name} = '{value}'"),
            "select pg_reload_conf()".into(),
        ] {
            client.batch_execute(&sql).await.expect(&sql);
        }
        let sql = format!("select current_setting('{name}') = '{value}'");
        loop {
            let row = client.query_one(&sql, &[]).await.expect(&sql);
            if row.get::<_, bool>(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Removes it.
    pub async fn stop(mut self) {
        self.db.drop().await;
        self.provisioned.cluster.stop().await.expect("it stops");
        self.directory.close().expect("it is removed");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no command line, and nobody else knows its PATH"
)]
fn search_path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}
