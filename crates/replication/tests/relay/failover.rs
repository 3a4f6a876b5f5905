//! The reader goes, and another one comes.

use rolegate_replication::Status;
use rolegate_testkit::for_each_version;

use crate::follower::{Hearing, config, hearer, passing};
use crate::stage::{Stage, told};

#[tokio::test]
async fn another_reader_is_heard_under_the_same_epoch() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let log = stage.oid("app.log").await;
        let (first_passes, second_passes) = (passing().await, passing().await);
        let first = stage.start_with(config(&stage, &first_passes));
        first.becomes(Status::Following).await;
        let epoch = first.feed.epoch().unwrap();
        let mut second = stage.start_with(config(&stage, &second_passes));
        let _second_hears = Hearing::start(db, &second.feed);
        let (mut other, _hearing) = hearer(&stage);
        for process in [&mut second, &mut other] {
            process.becomes(Status::Relayed).await;
            assert_eq!(process.lost().await.epoch, epoch);
        }
        stage.write().await;
        let now = stage.now().await;
        // The one that stands by hears as well.
        let heard = second.commits_up_to(now).await;
        assert_eq!(told(&heard, log), stage.written().await);
        other.commits_up_to(now).await;

        first.crash().await;
        // Nothing that was known is current any more, before anything else is.
        other.not_followed().await;
        stage.write().await;
        second.becomes(Status::Following).await;
        other.becomes(Status::Relayed).await;
        assert_eq!(other.feed.epoch(), Some(epoch.clone()));
        for process in [&mut second, &mut other] {
            let lost = process.eventually_lost().await;
            assert_eq!(lost.epoch, epoch);
        }
        stage.write().await;
        let heard = other.commits_up_to(stage.now().await).await;
        assert_eq!(told(&heard, log).last(), stage.written().await.last());
        assert!(second.stop().await);
    })
    .await;
}

#[tokio::test]
async fn who_reads_without_passing_on_is_not_heard() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let passing = passing().await;
        let first = stage.start_with(config(&stage, &passing));
        first.becomes(Status::Following).await;
        let (other, _hearing) = hearer(&stage);
        other.becomes(Status::Relayed).await;
        assert!(first.stop().await);
        let second = stage.follow().await;
        other.not_followed().await;
        let row = stage
            .superuser
            .query_one("select count(*) from rolegate.change_relay()", &[])
            .await;
        assert_eq!(row.unwrap().get::<_, i64>(0), 0);
        assert_eq!(other.feed.epoch(), None);
        assert!(second.stop().await);
    })
    .await;
}
