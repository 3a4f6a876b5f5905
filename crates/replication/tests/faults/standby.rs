//! A standby that decodes, and what may become of it.

use std::time::Duration;

use rolegate_replication::{Event, Status, StreamConfig, Unready};
use rolegate_testkit::Version;
use rolegate_testkit::standby::Standby;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::place::Place;
use crate::stage::{LONG, Process, Stage, told};

const ACTIVE: &str = "select exists (select from pg_replication_slots where active)";

/// A server with a published table, and its standby.
async fn two(version: Version) -> (Place, Standby) {
    let mut place = Place::new(version).await;
    drop(Stage::new(&place.db).await);
    let directory = place.directory().to_owned();
    let standby = Standby::trailing(&mut place, &directory).await;
    standby.set("hot_standby_feedback", "on").await;
    (place, standby)
}

fn config(stage: &Stage<'_>, place: &Place, standby: &Standby) -> StreamConfig {
    StreamConfig {
        standby: Some(standby.own_endpoint(place)),
        ..stage.config()
    }
}

async fn follow(stage: &Stage<'_>, place: &Place, standby: &Standby) -> Process {
    let process = stage.start_with(config(stage, place, standby));
    process.becomes(Status::Following).await;
    process
}

async fn eventually(client: &Client, sql: &str) {
    let holds = async {
        while !client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, holds).await.expect(sql);
}

/// From now on messages for whoever waits are counted.
async fn look_for_messages(stage: &Stage<'_>) {
    stage
        .run("select pg_create_logical_replication_slot('looks', 'pgoutput')")
        .await;
}

async fn messages(stage: &Stage<'_>) -> u32 {
    let sql = "select count(*)::text from pg_logical_slot_peek_binary_changes('looks', null, null, \
               'proto_version', '1', 'publication_names', 'rolegate', 'messages', 'true') \
               where position('waiter'::bytea in data) > 0";
    stage.text(sql).await.parse().unwrap()
}

#[tokio::test]
async fn commits_come_from_a_standby_each_once() {
    let (place, standby) = two(Version::Pg18).await;
    let stage = Stage::again(&place.db).await;
    let log = stage.oid("app.log").await;
    let mut process = follow(&stage, &place, &standby).await;
    process.lost().await;
    for _ in 0..200 {
        stage.write().await;
    }
    let commits = process.commits_up_to(stage.now().await).await;
    assert_eq!(told(&commits, log), stage.written().await);
    // Nothing is decoded on the primary, and nothing kept there.
    let slots = "select count(*)::text from pg_replication_slots";
    assert_eq!(stage.text(slots).await, "0");
    let there = standby.superuser(place.db.name()).await;
    eventually(&there, ACTIVE).await;
    // What comes back in the same term goes on where it was.
    let end = "select pg_terminate_backend(active_pid) from pg_replication_slots";
    there.batch_execute(end).await.unwrap();
    process.becomes(Status::Interrupted).await;
    stage.write().await;
    process.becomes(Status::Following).await;
    let commits = process.commits_up_to(stage.now().await).await;
    assert_eq!(told(&commits, log), stage.written().await[200..]);
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}

#[tokio::test]
async fn a_standby_that_is_killed_and_comes_back_loses_nothing() {
    let (place, mut standby) = two(Version::Pg18).await;
    let stage = Stage::again(&place.db).await;
    let log = stage.oid("app.log").await;
    let mut process = follow(&stage, &place, &standby).await;
    process.lost().await;
    stage.write().await;
    standby.kill().await;
    process.becomes(Status::Interrupted).await;
    assert_eq!(process.feed.epoch(), None);
    stage.write().await;
    standby.start().await;
    process.becomes(Status::Following).await;
    let commits = process.commits_up_to(stage.now().await).await;
    assert_eq!(told(&commits, log), stage.written().await);
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}

#[tokio::test]
async fn a_standby_that_is_promoted_tells_nothing_that_the_primary_never_wrote() {
    let (place, standby) = two(Version::Pg18).await;
    let stage = Stage::again(&place.db).await;
    let log = stage.oid("app.log").await;
    let mut process = follow(&stage, &place, &standby).await;
    let first = process.lost().await.epoch;
    stage.write().await;
    let mut commits = process.commits_up_to(stage.now().await).await;
    let there = standby.superuser(place.db.name()).await;
    there.batch_execute("select pg_promote()").await.unwrap();
    eventually(&there, "select not pg_is_in_recovery()").await;
    let foreign = "insert into app.log values (pg_current_xact_id()::text)";
    for _ in 0..50 {
        there.batch_execute(foreign).await.unwrap();
    }
    process.becomes(Status::Unready(Unready::NoStandby)).await;
    assert_eq!(process.feed.epoch(), None);
    while let Some(event) = process.events.take() {
        match event {
            Event::Commit(commit) => commits.push((*commit).clone()),
            Event::Passed(lsn) => assert!(lsn <= stage.now().await),
            Event::Lost(lost) => panic!("{lost:?}"),
        }
    }
    assert_eq!(told(&commits, log), stage.written().await);
    assert!(process.stop().await);
    // The primary decodes again, and what was known is void.
    let mut process = stage.follow().await;
    assert_ne!(process.lost().await.epoch, first);
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}

#[tokio::test]
async fn a_standby_that_stands_still_is_not_followed_until_it_has_caught_up() {
    let (place, standby) = two(Version::Pg18).await;
    let stage = Stage::again(&place.db).await;
    let log = stage.oid("app.log").await;
    let mut process = follow(&stage, &place, &standby).await;
    process.lost().await;
    let there = standby.superuser(place.db.name()).await;
    let pause = "select pg_wal_replay_pause()";
    there.batch_execute(pause).await.unwrap();
    stage.write().await;
    // What is known is old: nobody may call it current.
    process.becomes(Status::Interrupted).await;
    assert_eq!(process.feed.epoch(), None);
    // Also who begins while it stands still has to wait for it.
    eventually(&there, ACTIVE).await;
    assert!(process.stop().await);
    eventually(
        &there,
        "select not exists (select from pg_replication_slots where active)",
    )
    .await;
    let mut process = stage.start_with(config(&stage, &place, &standby));
    eventually(&there, ACTIVE).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(process.feed.epoch(), None);
    there
        .batch_execute("select pg_wal_replay_resume()")
        .await
        .unwrap();
    process.becomes(Status::Following).await;
    process.lost().await;
    let commits = process.commits_up_to(stage.now().await).await;
    assert_eq!(told(&commits, log), stage.written().await);
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}

#[tokio::test]
async fn whoever_waits_for_a_standby_that_stands_still_has_little_written() {
    let (place, standby) = two(Version::Pg18).await;
    let stage = Stage::again(&place.db).await;
    let process = follow(&stage, &place, &standby).await;
    let there = standby.superuser(place.db.name()).await;
    look_for_messages(&stage).await;
    there
        .batch_execute("select pg_wal_replay_pause()")
        .await
        .unwrap();
    for _ in 0..100 {
        stage.write().await;
        let waits = process.feed.wait_passed(stage.now().await);
        assert!(timeout(Duration::from_millis(20), waits).await.is_err());
    }
    let written = messages(&stage).await;
    // At most one in a second.
    assert!((1..=10).contains(&written), "{written} messages");
    there
        .batch_execute("select pg_wal_replay_resume()")
        .await
        .unwrap();
    process.waits_for(stage.now().await).await;
    stage.run("select pg_drop_replication_slot('looks')").await;
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}

/// Without the right to ask it is written something for the server to list its transactions after, in its own time.
#[tokio::test]
async fn a_slot_is_made_also_where_nobody_granted_to_ask_for_it() {
    let (place, standby) = two(Version::Pg18).await;
    let stage = Stage::again(&place.db).await;
    stage
        .run("revoke execute on function pg_log_standby_snapshot() from rolegate_replicator")
        .await;
    look_for_messages(&stage).await;
    let there = standby.superuser(place.db.name()).await;
    there
        .batch_execute("select pg_wal_replay_pause()")
        .await
        .unwrap();
    let process = stage.start_with(config(&stage, &place, &standby));
    let written = async {
        while messages(&stage).await == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, written).await.expect("a message");
    there
        .batch_execute("select pg_wal_replay_resume()")
        .await
        .unwrap();
    process.becomes(Status::Following).await;
    stage.run("select pg_drop_replication_slot('looks')").await;
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}

#[tokio::test]
async fn a_standby_without_feedback_is_refused() {
    let (place, standby) = two(Version::Pg18).await;
    let stage = Stage::again(&place.db).await;
    standby.set("hot_standby_feedback", "off").await;
    let process = stage.start_with(config(&stage, &place, &standby));
    process.becomes(Status::Unready(Unready::NoFeedback)).await;
    standby.set("hot_standby_feedback", "on").await;
    process.becomes(Status::Following).await;
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}

#[tokio::test]
async fn a_standby_whose_slot_may_keep_everything_is_refused() {
    let (place, standby) = two(Version::Pg18).await;
    let stage = Stage::again(&place.db).await;
    standby.set("max_slot_wal_keep_size", "-1").await;
    let process = stage.start_with(config(&stage, &place, &standby));
    process
        .becomes(Status::Unready(Unready::UnlimitedWal))
        .await;
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}

#[tokio::test]
async fn the_slot_of_a_primary_that_decoded_before_is_removed() {
    let (place, standby) = two(Version::Pg18).await;
    let stage = Stage::again(&place.db).await;
    let mut process = stage.follow().await;
    let first = process.lost().await.epoch;
    assert!(process.stop().await);
    let mut process = follow(&stage, &place, &standby).await;
    assert_ne!(process.lost().await.epoch, first);
    let slots = "select count(*)::text from pg_replication_slots";
    assert_eq!(stage.text(slots).await, "0");
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}

#[tokio::test]
async fn only_a_standby_of_the_same_server_that_can_decode_is_followed() {
    let (place, standby) = two(Version::Pg18).await;
    let (old, old_standby) = two(Version::Pg15).await;
    let stage = Stage::again(&place.db).await;
    let refused = async |standby, why| {
        let process = stage.start_with(StreamConfig {
            standby: Some(standby),
            ..stage.config()
        });
        process.becomes(Status::Unready(why)).await;
        assert_eq!(process.feed.epoch(), None);
        assert!(process.stop().await);
    };
    refused(place.db.wire_endpoint(), Unready::NoStandby).await;
    // Another version may stand in for it, which can.
    if old.db.cluster().major() < 16 {
        let stage = Stage::again(&old.db).await;
        let process = stage.start_with(config(&stage, &old, &old_standby));
        process.becomes(Status::Unready(Unready::OldStandby)).await;
        assert!(process.stop().await);
    }
    drop(old_standby);
    old.stop().await;
    let (other, other_standby) = two(Version::Pg18).await;
    refused(other_standby.own_endpoint(&other), Unready::OtherStandby).await;
    drop((stage, other_standby, standby));
    other.stop().await;
    place.stop().await;
}
