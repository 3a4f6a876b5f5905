//! What is lost, and that everybody is told.

use std::time::Duration;

use rolegate_replication::{Status, Unready, Why};
use rolegate_testkit::for_each_version;

use crate::stage::{Stage, told};

#[tokio::test]
async fn a_slot_that_is_dropped_under_it_begins_a_new_epoch() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let mut process = stage.follow().await;
        let first = process.lost().await;
        assert_eq!(first.why, Why::Began);
        assert_eq!(process.feed.epoch(), Some(first.epoch.clone()));
        stage.write().await;
        process.commits_up_to(stage.now().await).await;
        // The walsender may be back before the slot is gone.
        let slot = stage.slot().await;
        loop {
            stage.kill(true).await;
            let sql = "select pg_drop_replication_slot($1::text)";
            if stage.superuser.query(sql, &[&slot]).await.is_ok() {
                break;
            }
        }
        let second = process.eventually_lost().await;
        assert_ne!(second.epoch, first.epoch);
        process.becomes(Status::Following).await;
        assert_eq!(process.feed.epoch(), Some(second.epoch.clone()));
        let known = stage
            .text("select epoch || ': ' || reason from rolegate.change_stream")
            .await;
        assert_eq!(known, format!("{}: the slot was gone", second.epoch));
        stage.write().await;
        let commits = process.commits_up_to(stage.now().await).await;
        assert_eq!(told(&commits, log).len(), 1);
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn a_slot_that_somebody_advanced_begins_a_new_epoch() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let mut process = stage.follow().await;
        let first = process.lost().await;
        assert!(process.stop().await);
        stage.write().await;
        let slot = stage.slot().await;
        let advance =
            "select pg_replication_slot_advance($1::text::name, pg_current_wal_flush_lsn())";
        stage.superuser.query(advance, &[&slot]).await.unwrap();
        let mut process = stage.follow().await;
        let second = process.lost().await;
        assert_ne!(second.epoch, first.epoch);
        let reason = stage
            .text("select reason from rolegate.change_stream")
            .await;
        assert_eq!(reason, "the slot is further than was read");
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn another_history_of_the_database_begins_a_new_epoch() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let mut process = stage.follow().await;
        let mut last = process.lost().await.epoch;
        assert!(process.stop().await);
        for change in ["system_identifier = '1'", "timeline = 7"] {
            stage
                .run(&format!("update rolegate.change_stream set {change}"))
                .await;
            let mut process = stage.follow().await;
            let epoch = process.lost().await.epoch;
            assert_ne!(epoch, last, "{change}");
            last = epoch;
            assert!(process.stop().await);
        }
        let reason = stage
            .text("select reason from rolegate.change_stream")
            .await;
        assert_eq!(reason, "another history of the database");
        // And without any of that the epoch stays.
        let mut process = stage.follow().await;
        assert_eq!(process.lost().await.epoch, last);
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn an_epoch_that_is_asked_for_begins_where_it_was_committed() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let mut process = stage.follow().await;
        let first = process.lost().await;
        stage.write().await;
        let renewed = stage
            .text("select rolegate.renew_change_epoch('a test')")
            .await;
        stage.write().await;
        // What was committed before it is void, whether it was told or not.
        let lost = process.eventually_lost().await;
        assert_eq!(
            (lost.epoch.as_str(), lost.why),
            (renewed.as_str(), Why::NewEpoch)
        );
        assert_ne!(lost.epoch, first.epoch);
        let commits = process.commits_up_to(stage.now().await).await;
        assert_eq!(told(&commits, log).len(), 1);
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn without_a_publication_there_is_no_stream_before_there_is_one() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.run("drop publication rolegate").await;
        let mut process = stage.start();
        process
            .becomes(Status::Unready(Unready::NotPublished))
            .await;
        assert!(process.feed.wait_passed(stage.now().await).await.is_err());
        assert_eq!(process.feed.epoch(), None);
        // No slot either, which would keep the log for nobody.
        let slots = stage.text(
            "select count(*)::text from pg_replication_slots where database = current_database()",
        );
        assert_eq!(slots.await, "0");
        stage.sync().await;
        process.becomes(Status::Following).await;
        process.lost().await;
        // And no more when it goes away.
        stage
            .run("alter event trigger rolegate_drops disable")
            .await;
        process
            .becomes(Status::Unready(Unready::NotPublished))
            .await;
        stage.sync().await;
        process.becomes(Status::Following).await;
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn what_was_read_is_written_down_before_the_slot_forgets_it() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let mut process = stage.follow().await;
        process.lost().await;
        let before = stage.position().await;
        stage.write().await;
        let now = stage.now().await;
        process.waits_for(now).await;
        let written = async {
            while stage.position().await < now {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(8), written)
            .await
            .expect("written down");
        // The slot follows what was written down, and is never ahead of it.
        let confirmed = "select confirmed_flush_lsn::text from pg_replication_slots \
                         where database = current_database()";
        assert!(before < now);
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let confirmed: rolegate_replication::Lsn = stage.text(confirmed).await.parse().unwrap();
            assert!(confirmed <= stage.position().await);
        }
        assert!(process.stop().await);
    })
    .await;
}
