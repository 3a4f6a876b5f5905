//! Several processes, of which one reads.

use std::time::{Duration, Instant};

use rolegate_replication::{Event, Status};
use rolegate_testkit::for_each_version;

use crate::stage::{Stage, sorted, told};

#[tokio::test]
async fn another_process_takes_over_without_a_commit_lost() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let mut first = stage.follow().await;
        let epoch = first.lost().await.epoch;
        let mut second = stage.start();
        second.becomes(Status::StandingBy).await;
        for _ in 0..10 {
            stage.write().await;
        }
        let mut ids = told(&first.commits_up_to(stage.now().await).await, log);
        let position = stage.position().await;
        let crashed = Instant::now();
        first.crash().await;
        for _ in 0..10 {
            stage.write().await;
        }
        second.becomes(Status::Following).await;
        assert!(
            crashed.elapsed() < Duration::from_secs(8),
            "{:?}",
            crashed.elapsed()
        );
        let began = second.lost().await;
        assert_eq!(began.epoch, epoch);
        // It goes on after what was written down, or after what was written down meanwhile.
        assert!(began.at >= position);
        let again = told(&second.commits_up_to(stage.now().await).await, log);
        assert!(again.len() >= 10);
        assert!(again.windows(2).all(|pair| pair[0] != pair[1]));
        ids.extend(again);
        let mut ids = sorted(ids);
        ids.dedup();
        assert_eq!(ids, stage.written().await);
        assert!(second.stop().await);
    })
    .await;
}

#[tokio::test]
async fn what_was_written_down_at_the_end_is_not_told_again() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let mut first = stage.follow().await;
        first.lost().await;
        stage.write().await;
        let now = stage.now().await;
        first.commits_up_to(now).await;
        assert!(first.stop().await);
        assert!(stage.position().await >= now);
        // While nobody reads.
        stage.write().await;
        let mut second = stage.follow().await;
        second.lost().await;
        let ids = told(&second.commits_up_to(stage.now().await).await, log);
        assert_eq!(ids, stage.written().await[1..]);
        assert!(second.stop().await);
    })
    .await;
}

#[tokio::test]
async fn a_process_that_was_away_while_nobody_read_has_lost_nothing() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let mut process = stage.follow().await;
        process.lost().await;
        for walsender in [false, true, false] {
            stage.write().await;
            stage.kill(walsender).await;
            stage.write().await;
        }
        // No gap is told: `commits_up_to` would refuse it.
        let ids = told(&process.commits_up_to(stage.now().await).await, log);
        assert_eq!(ids, stage.written().await);
        assert!(process.stop().await);
    })
    .await;
}

#[tokio::test]
async fn several_subscribers_see_the_same() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let mut process = stage.follow().await;
        let mut other = process.feed.subscribe();
        process.lost().await;
        stage.write().await;
        let commits = process.commits_up_to(stage.now().await).await;
        let found = loop {
            match other.next().await {
                Event::Commit(commit) => break commit,
                Event::Passed(_) | Event::Lost(_) => {}
            }
        };
        assert_eq!(*found, commits[0]);
        assert!(process.stop().await);
    })
    .await;
}
