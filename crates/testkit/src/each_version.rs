//! One test body on every version of PostgreSQL.

use std::io::Write as _;

use crate::clusters::Clusters;
use crate::database::TestDatabase;

/// Runs `body` on a fresh database of each version of this run, oldest first. The output of a
/// test that fails ends with the version it failed on.
pub async fn for_each_version(body: impl AsyncFn(&TestDatabase)) {
    let clusters = Clusters::from_environment();
    assert!(!clusters.0.is_empty(), "this run has no cluster");
    for version in clusters.0.keys().copied() {
        let database = TestDatabase::create(version).await;
        // Only to help reading a failure, so a closed pipe does not matter.
        let _ = writeln!(
            std::io::stderr(),
            "on {version}, database {}",
            database.name()
        );
        body(&database).await;
        database.drop().await;
    }
}
