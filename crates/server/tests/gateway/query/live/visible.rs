//! What the stream has told may be visible only later: it is waited for, and not forgotten.

use std::time::Duration;

use rolegate_replication::Why;
use rolegate_testkit::own_server::OwnServer;
use rolegate_testkit::{TestDatabase, Version};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_postgres::Client;

use super::stage::Stage;

const OPEN: &str = "select id, name from open";

/// A commit that waits for a standby: it is in the log, and nobody sees it.
struct Waiting {
    task: JoinHandle<Result<(), tokio_postgres::Error>>,
}

impl Waiting {
    async fn begin(server: &OwnServer, sql: &'static str) -> Self {
        server.set("synchronous_standby_names", "nobody").await;
        let client = server.db.superuser().await;
        let task = tokio::spawn(async move {
            client.batch_execute("set synchronous_commit = on").await?;
            client.batch_execute(sql).await
        });
        let superuser = local(&server.db).await;
        let waits = "select exists (select from pg_stat_activity where wait_event = 'SyncRep')";
        while !superuser
            .query_one(waits, &[])
            .await
            .expect("a row")
            .get::<_, bool>(0)
        {
            sleep(Duration::from_millis(20)).await;
        }
        Self { task }
    }

    async fn end(self, server: &OwnServer) {
        server.set("synchronous_standby_names", "").await;
        self.task.await.expect("ended").expect("committed");
    }
}

/// Somebody whose commits wait for nobody.
async fn local(db: &TestDatabase) -> Client {
    let client = db.superuser().await;
    client
        .batch_execute("set synchronous_commit = local")
        .await
        .expect("set");
    client
}

#[tokio::test]
async fn a_group_runs_until_it_shows_what_woke_it() {
    for version in Version::ALL {
        let server = OwnServer::new(version).await;
        let stage = Stage::set(&server.db).await;
        let mut watcher = stage.watch(None, OPEN).await;
        watcher.expect("snapshot").await;
        let waiting =
            Waiting::begin(&server, "update api.open set name = 'waits' where id = 1").await;
        // One behind it that does not wait: what shows it was run when both had been told.
        let other = local(&server.db).await;
        other
            .batch_execute("update api.open set name = 'does not wait' where id = 2")
            .await
            .expect("written");
        while watcher.column("name") != [json!("one"), json!("does not wait")] {
            watcher.next().await.expect("an event");
        }
        // Whoever comes now is told of it as well: it was told a moment ago.
        let mut later = stage.watch(None, "select name, id from open").await;
        later.expect("snapshot").await;
        assert!(
            later.column("name").contains(&json!("one")),
            "{:?}",
            later.rows
        );
        waiting.end(&server).await;
        // Nothing is written any more that could wake them.
        for watcher in [&mut watcher, &mut later] {
            while !watcher.column("name").contains(&json!("waits")) {
                watcher.next().await.expect("an event");
            }
            assert_eq!(watcher.resets, [""; 0]);
        }
        drop((stage, other));
        server.stop().await;
    }
}

/// Nobody tells after a gap what was told before it.
#[tokio::test]
async fn what_was_told_before_a_gap_and_is_visible_after_it_is_not_missed() {
    for version in Version::ALL {
        let server = OwnServer::new(version).await;
        let stage = Stage::set(&server.db).await;
        let mut watcher = stage.watch(None, OPEN).await;
        watcher.expect("snapshot").await;
        let waiting =
            Waiting::begin(&server, "update api.open set name = 'waits' where id = 1").await;
        let feed = stage.gateway.feed.clone().expect("it follows");
        let other = local(&server.db).await;
        let row = other
            .query_one("select pg_current_wal_insert_lsn()::text", &[])
            .await
            .expect("a row");
        let at = row.get::<_, &str>(0).parse().expect("a position");
        feed.wait_passed(at).await.expect("it follows");
        feed.begins(
            &feed.epoch().expect("an epoch"),
            feed.passed().expect("a position"),
            Why::NewEpoch,
        );
        watcher.expect("reset").await;
        watcher.expect("snapshot").await;
        assert_eq!(watcher.column("name"), [json!("one"), json!("two")]);
        let mut later = stage.watch(None, "select name, id from open").await;
        later.expect("snapshot").await;
        // Longer than anything that is done once after a gap.
        sleep(Duration::from_secs(3)).await;
        waiting.end(&server).await;
        for watcher in [&mut watcher, &mut later] {
            while !watcher.column("name").contains(&json!("waits")) {
                watcher.next().await.expect("an event");
            }
        }
        drop((stage, other));
        server.stop().await;
    }
}
