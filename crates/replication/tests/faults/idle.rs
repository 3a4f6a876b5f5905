//! What has nothing to do writes nothing: the server's log stands still.

use std::time::{Duration, Instant};

use rolegate_testkit::Version;

use crate::place::Place;
use crate::stage::Stage;

/// The server itself says which transactions run a quarter of a minute after anything has happened, when its
/// background writer wakes up, which sleeps for ten seconds.
const SERVERS_OWN: Duration = Duration::from_secs(27);
/// More than three looks of the reader.
const IDLE: Duration = Duration::from_secs(17);

#[tokio::test]
async fn a_stream_without_commits_writes_nothing() {
    let place = Place::new(Version::Pg18).await;
    place.set("autovacuum", "off").await;
    let stage = Stage::new(&place.db).await;
    let mut process = stage.follow().await;
    process.lost().await;
    stage.write().await;
    process.commits_up_to(stage.now().await).await;
    // Until what was read is written down, and the server has said what it says by itself.
    let (mut before, mut since, patience) = (stage.now().await, Instant::now(), Instant::now());
    while since.elapsed() < SERVERS_OWN {
        assert!(
            patience.elapsed() < Duration::from_secs(80),
            "it never comes to rest"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = stage.now().await;
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    tokio::time::sleep(IDLE).await;
    assert_eq!(stage.now().await, before);
    // Whoever waits may have something written, and gets there.
    process.waits_for(before).await;
    assert!(process.stop().await);
    drop(stage);
    place.stop().await;
}
