//! Servers that go away, come back, and come back as others.

use rolegate_replication::{Status, Unready};
use rolegate_testkit::Version;
use rolegate_testkit::standby::Standby;

use crate::place::Place;
use crate::stage::{Stage, told};

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_loses_nothing() {
    for version in Version::ALL {
        let mut place = Place::new(version).await;
        let (mut process, log) = {
            let stage = Stage::new(&place.db).await;
            let log = stage.oid("app.log").await;
            let mut process = stage.follow().await;
            process.lost().await;
            stage.write().await;
            stage.write().await;
            (process, log)
        };
        place.provisioned.cluster.kill().await.unwrap();
        process.becomes(Status::Interrupted).await;
        assert_eq!(process.feed.epoch(), None);
        place.provisioned.cluster.restart().await.unwrap();
        let stage = Stage::again(&place.db).await;
        stage.write().await;
        process.becomes(Status::Following).await;
        // Nothing was lost: `commits_up_to` would say so. Nothing comes twice.
        let ids = told(&process.commits_up_to(stage.now().await).await, log);
        assert_eq!(ids, stage.written().await, "{version}");
        // A server that is asked to stop does not wait for the stream.
        drop(stage);
        let began = std::time::Instant::now();
        place.provisioned.cluster.restart().await.unwrap();
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
        process.becomes(Status::Following).await;
        assert!(process.stop().await);
        place.stop().await;
    }
}

#[tokio::test]
async fn a_slot_that_may_not_keep_enough_is_lost_and_made_again() {
    for version in Version::ALL {
        let place = Place::new(version).await;
        let stage = Stage::new(&place.db).await;
        let log = stage.oid("app.log").await;
        let mut process = stage.follow().await;
        let first = process.lost().await.epoch;
        assert!(process.stop().await);
        place.set("max_slot_wal_keep_size", "1MB").await;
        for _ in 0..4 {
            stage
                .run("insert into app.log select gen_random_uuid() from generate_series(1, 1000)")
                .await;
            stage.run("select pg_switch_wal()").await;
        }
        stage.run("checkpoint").await;
        let status = "select wal_status from pg_replication_slots";
        assert_eq!(stage.text(status).await, "lost");
        let mut process = stage.follow().await;
        let second = process.lost().await;
        assert_ne!(second.epoch, first, "{version}");
        let reason = stage
            .text("select reason from rolegate.change_stream")
            .await;
        assert_eq!(
            reason,
            "the slot was lost: more was written than it may keep"
        );
        stage.write().await;
        let ids = told(&process.commits_up_to(stage.now().await).await, log);
        assert_eq!(ids.len(), 1);
        assert!(process.stop().await);
        drop(stage);
        place.stop().await;
    }
}

#[tokio::test]
async fn a_slot_that_could_fill_the_disk_is_not_made_unless_that_is_allowed() {
    let place = Place::new(Version::Pg18).await;
    let stage = Stage::new(&place.db).await;
    place.set("max_slot_wal_keep_size", "-1").await;
    let process = stage.start();
    process
        .becomes(Status::Unready(Unready::UnlimitedWal))
        .await;
    let slots = "select count(*)::text from pg_replication_slots";
    assert_eq!(stage.text(slots).await, "0");
    assert!(process.stop().await);
    let mut config = stage.config();
    config.allow_unlimited_wal = true;
    let process = stage.start_with(config);
    process.becomes(Status::Following).await;
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}

#[tokio::test]
async fn without_logical_decoding_there_is_no_stream_and_that_is_all() {
    let mut place = Place::new(Version::Pg15).await;
    let stage = Stage::new(&place.db).await;
    stage.run("alter system set wal_level = 'replica'").await;
    drop(stage);
    place.provisioned.cluster.restart().await.unwrap();
    let stage = Stage::again(&place.db).await;
    let process = stage.start();
    process.becomes(Status::Unready(Unready::WalLevel)).await;
    // Definitions that change write into the log all the same, and fail nobody.
    stage
        .run("create table app.more (id int primary key); drop table app.more")
        .await;
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}

#[tokio::test]
async fn another_timeline_begins_a_new_epoch() {
    for version in Version::ALL {
        let mut place = Place::new(version).await;
        let stage = Stage::new(&place.db).await;
        let mut process = stage.follow().await;
        let first = process.lost().await.epoch;
        drop(stage);
        place.provisioned.cluster.stop().await.unwrap();
        // As a standby that is promoted, with a slot that came along.
        let signal = place.provisioned.cluster.data_dir().join("standby.signal");
        std::fs::write(&signal, "").unwrap();
        place.provisioned.cluster.restart().await.unwrap();
        let superuser = place.db.superuser().await;
        superuser
            .batch_execute("select pg_promote()")
            .await
            .unwrap();
        drop(superuser);
        let stage = Stage::again(&place.db).await;
        let timeline = "select timeline_id::text from pg_control_checkpoint()";
        stage.run("checkpoint").await;
        assert_eq!(stage.text(timeline).await, "2", "{version}");
        let second = process.eventually_lost().await;
        assert_ne!(second.epoch, first, "{version}");
        process.becomes(Status::Following).await;
        assert!(process.stop().await);
        drop(stage);
        place.stop().await;
    }
}

#[tokio::test]
async fn a_standby_is_refused_until_it_is_promoted() {
    for version in Version::ALL {
        let mut place = Place::new(version).await;
        drop(Stage::new(&place.db).await);
        let directory = place.directory().to_owned();
        let standby = Standby::of(&mut place, &directory).await;
        let stage = Stage::again(&place.db).await;
        let mut config = stage.config();
        config.connect.endpoint = standby.own_endpoint(&place);
        let mut process = stage.start_with(config);
        process.becomes(Status::Unready(Unready::Standby)).await;
        assert_eq!(process.feed.epoch(), None);
        // That the primary is followed changes nothing there.
        let mut primary = stage.follow().await;
        let first = primary.lost().await.epoch;
        stage.write().await;
        assert_eq!(process.feed.status(), Status::Unready(Unready::Standby));
        assert!(primary.stop().await);
        drop(stage);

        standby.promote().await;
        process.becomes(Status::Following).await;
        let second = process.eventually_lost().await.epoch;
        assert_ne!(second, first, "{version}");
        let promoted = standby.connect("postgres", place.db.name()).await.unwrap();
        let write = "insert into app.log values (pg_current_xact_id()::text)";
        promoted.batch_execute(write).await.unwrap();
        let position = "select pg_current_wal_insert_lsn()::text, 'app.log'::regclass::oid";
        let row = promoted.query_one(position, &[]).await.unwrap();
        let (at, log): (&str, u32) = (row.get(0), row.get(1));
        let commits = process.commits_up_to(at.parse().unwrap()).await;
        assert_eq!(told(&commits, log).len(), 1, "{version}");
        assert!(process.stop().await);
    }
}
