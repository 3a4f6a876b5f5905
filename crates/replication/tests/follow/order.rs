//! Every commit, once, in order.

use std::time::Duration;

use rolegate_replication::Keys;
use rolegate_testkit::for_each_version;
use tokio::task::JoinSet;

use crate::stage::{Stage, sorted, told};

const WRITERS: u32 = 6;
const TRANSACTIONS: u32 = 25;

/// Transactions that begin, write and commit at their own pace, some with subtransactions, some for nothing.
async fn write(client: tokio_postgres::Client, writer: u32) {
    for number in 0..TRANSACTIONS {
        let pause = Duration::from_millis(u64::from((writer * 7 + number * 3) % 10));
        let end = if (writer + number).is_multiple_of(5) {
            "rollback"
        } else {
            "commit"
        };
        client
            .batch_execute("begin; insert into app.log values (pg_current_xact_id()::text)")
            .await
            .unwrap();
        tokio::time::sleep(pause).await;
        let sub = "savepoint s; insert into app.log values ('never'); rollback to s;
             update app.log set note = 'x' where xid = pg_current_xact_id()::text;";
        client.batch_execute(sub).await.unwrap();
        client.batch_execute(end).await.unwrap();
    }
}

#[tokio::test]
async fn interleaved_transactions_come_once_each_in_the_order_of_their_commits() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let mut process = stage.follow().await;
        process.lost().await;
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(db.superuser().await, writer));
        }
        // Connections break meanwhile: that of the stream, and that with the lock.
        for round in 0..6 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            stage.kill(round % 3 != 2).await;
        }
        while writers.join_next().await.is_some() {}
        let commits = process.commits_up_to(stage.now().await).await;
        assert!(
            commits
                .windows(2)
                .all(|pair| pair[0].commit_lsn < pair[1].commit_lsn)
        );
        let told = told(&commits, log);
        let expected = stage.written().await;
        assert_eq!(expected.len(), 120);
        assert_eq!(sorted(told), expected);
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn a_million_rows_are_one_commit_of_a_few_bytes() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let mut process = stage.follow().await;
        process.lost().await;
        stage
            .run("insert into app.log select g from generate_series(1, 1000000) g")
            .await;
        let commits = process.commits_up_to(stage.now().await).await;
        let [commit] = &commits[..] else {
            panic!("{} commits", commits.len());
        };
        assert_eq!(commit.relations[&log].inserts, 1_000_000);
        assert_eq!(commit.relations[&log].keys, Keys::All);
        assert!(commit.weight() < 1000);
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn a_row_longer_than_a_message_may_be_is_not_held() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let mut process = stage.follow().await;
        process.lost().await;
        stage
            .run("insert into app.log values ('1', repeat('long', 1000000)); insert into app.log values ('2')")
            .await;
        let commits = process.commits_up_to(stage.now().await).await;
        assert_eq!(commits.len(), 1);
        assert_eq!(commits[0].relations[&log].keys, Keys::All);
        // And the stream goes on behind it.
        stage.write().await;
        let commits = process.commits_up_to(stage.now().await).await;
        assert_eq!(told(&commits, log).len(), 1);
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn who_waits_for_a_position_gets_there_though_nobody_commits() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let mut process = stage.follow().await;
        process.lost().await;
        // Written into the log, and never flushed for itself.
        for _ in 0..20 {
            stage
                .run("begin; insert into app.log values ('1'); rollback")
                .await;
            let now = stage.now().await;
            let began = std::time::Instant::now();
            process.waits_for(now).await;
            assert!(
                began.elapsed() < Duration::from_secs(3),
                "{:?}",
                began.elapsed()
            );
        }
        assert!(process.commits_up_to(stage.now().await).await.is_empty());
        assert!(process.stop().await);
    })
    .await;
}
