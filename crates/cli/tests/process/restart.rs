//! The database restarts under load, as `pg_ctl restart -m fast` and `-m immediate` do it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rolegate_pg::cluster::Source;

use crate::load::{CLIENTS, Load, check};
use crate::place::Place;

/// How the server is told to stop.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// SIGINT: open transactions are rolled back.
    Fast,
    /// SIGQUIT: everybody drops what they do; the next start recovers.
    Immediate,
}

async fn the_database_restarts(source: Source) {
    let mut place = Place::start(source).await;
    let serving = place.serve().await;
    for stop in [Stop::Fast, Stop::Immediate] {
        let load = Load::start(serving.gateway, &place.token, &format!("{stop:?}"));
        load.succeeds(2 * CLIENTS as u64).await;
        match stop {
            Stop::Fast => place.cluster.stop().await.expect("it stops"),
            Stop::Immediate => {
                let pid = place.cluster.pid().expect("it runs");
                kill(Pid::from_raw(pid), Signal::SIGQUIT).expect("it is ours");
            }
        }
        serving.becomes(503).await;
        place.cluster.restart().await.expect("it starts again");
        serving.becomes(200).await;
        load.succeeds(4 * CLIENTS as u64).await;
        let outcomes = load.end().await;
        let mut runs = place.runs().await;
        runs.retain(|id, _| outcomes.contains_key(id) || id.starts_with(&format!("{stop:?}")));
        let counts = check(&outcomes, &runs);
        // Every request has an answer, and nobody is blamed for what the database did.
        let only: Vec<u16> = counts.keys().copied().collect();
        assert_eq!(only, [200, 503], "{stop:?}: {counts:?}");
    }
    serving.signal(Signal::SIGTERM);
    let (status, log) = serving.ended().await;
    assert_eq!(status.code(), Some(0), "{log:#?}");
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_restarts_on_15() {
    the_database_restarts(Source::System { major: Some(15) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_restarts_on_18() {
    the_database_restarts(Source::Wheel).await;
}
