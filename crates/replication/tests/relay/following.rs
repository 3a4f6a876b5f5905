//! What is heard is what was read.

use rolegate_replication::{Event, Keys, Status, Why};
use rolegate_testkit::for_each_version;

use crate::follower::{config, hearer, passing};
use crate::stage::{Stage, told};

#[tokio::test]
async fn another_process_hears_every_commit() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let passing = passing().await;
        let mut reader = stage.start_with(config(&stage, &passing));
        reader.becomes(Status::Following).await;
        let epoch = reader.lost().await.epoch;
        let (mut other, _hearing) = hearer(&stage);
        other.becomes(Status::Relayed).await;
        let began = other.lost().await;
        assert_eq!((began.epoch, began.why), (epoch.clone(), Why::Began));
        for _ in 0..20 {
            stage.write().await;
        }
        let now = stage.now().await;
        let read = reader.commits_up_to(now).await;
        let heard = other.commits_up_to(now).await;
        assert_eq!(told(&heard, log), stage.written().await);
        assert_eq!(told(&heard, log), told(&read, log));
        for (read, heard) in read.iter().zip(&heard) {
            assert_eq!(
                (read.commit_lsn, read.xid, read.at),
                (heard.commit_lsn, heard.xid, heard.at)
            );
            let shape = heard.relations[&log].shape.as_ref().unwrap();
            assert_eq!((&*shape.schema, &*shape.name), ("app", "log"));
            assert_eq!(shape.key, read.relations[&log].shape.as_ref().unwrap().key);
        }
        // What names no rows, definitions, and what is not a change.
        stage.run("truncate app.log").await;
        stage.run("alter table app.log add column more int").await;
        let now = stage.now().await;
        let read = reader.commits_up_to(now).await;
        let heard = other.commits_up_to(now).await;
        assert_eq!(heard.len(), read.len());
        assert!(heard[0].relations[&log].truncated);
        assert!(heard[1].relations[&log].redefined);
        stage
            .run("insert into app.log select g from generate_series(1, 5000) g")
            .await;
        let heard = other.commits_up_to(stage.now().await).await;
        assert_eq!(heard[0].relations[&log].keys, Keys::All);
        // What was not flushed comes because it is asked for.
        stage
            .run("begin; insert into app.log values ('never'); rollback")
            .await;
        other.waits_for(stage.now().await).await;
        assert_eq!(other.feed.epoch(), Some(epoch));
        // An epoch that somebody asked for.
        let row = stage
            .superuser
            .query_one("select rolegate.renew_change_epoch()", &[])
            .await;
        let renewed: String = row.unwrap().get(0);
        let lost = other.eventually_lost().await;
        assert_eq!((lost.epoch.as_str(), lost.why), (&*renewed, Why::NewEpoch));
        other.becomes(Status::Relayed).await;
        assert!(reader.stop().await);
        // Nothing is followed from then on.
        other.not_followed().await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_of_the_reader_that_is_lost_is_no_gap() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let passing = passing().await;
        let reader = stage.start_with(config(&stage, &passing));
        reader.becomes(Status::Following).await;
        let (mut other, _hearing) = hearer(&stage);
        other.becomes(Status::Relayed).await;
        other.lost().await;
        for walsender in [true, false, true] {
            stage.write().await;
            stage.kill(walsender).await;
            stage.write().await;
            reader.becomes(Status::Following).await;
        }
        let heard = other.commits_up_to(stage.now().await).await;
        assert_eq!(told(&heard, log), stage.written().await);
        assert!(reader.stop().await);
    })
    .await;
}

#[tokio::test]
async fn who_comes_later_hears_from_then_on() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let (mut early, _hearing) = hearer(&stage);
        let passing = passing().await;
        let reader = stage.start_with(config(&stage, &passing));
        early.becomes(Status::Relayed).await;
        early.lost().await;
        stage.write().await;
        let heard = early.commits_up_to(stage.now().await).await;
        assert_eq!(told(&heard, log), stage.written().await);
        let (mut late, _hearing) = hearer(&stage);
        late.becomes(Status::Relayed).await;
        late.lost().await;
        stage.write().await;
        let now = stage.now().await;
        let heard = late.commits_up_to(now).await;
        assert_eq!(told(&heard, log), stage.written().await[1..]);
        early.commits_up_to(now).await;
        match early.events.take() {
            None | Some(Event::Passed(_)) => {}
            other => panic!("{other:?}"),
        }
        assert!(reader.stop().await);
    })
    .await;
}
