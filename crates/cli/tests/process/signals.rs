//! SIGTERM under load, and a second one.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rolegate_pg::cluster::Source;

use crate::client::{Client, Outcome};
use crate::load::{CLIENTS, Load, check};
use crate::place::{Place, SHUTDOWN};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_under_load_cuts_nobody_off_and_a_second_one_ends_it() {
    let place = Place::start(Source::Wheel).await;
    let serving = place.serve().await;
    let load = Load::start(serving.gateway, &place.token, "load");
    // Every connection has been used, and all of them are busy.
    load.succeeds(4 * CLIENTS as u64).await;
    let before = load.successes();
    let since = Instant::now();
    serving.signal(Signal::SIGTERM);
    let (status, log) = serving.ended().await;
    let took = since.elapsed();
    let after = load.successes();
    let outcomes = load.end().await;
    assert_eq!(status.code(), Some(0), "{log:#?}");
    assert!(took < SHUTDOWN, "it took {took:?}");
    assert!(after > before, "nothing was running when the signal came");
    let counts = check(&outcomes, &place.runs().await);
    let only: Vec<u16> = counts.keys().copied().collect();
    assert_eq!(only, [0, 200], "{counts:?}");

    // A call that outlasts everybody's patience.
    let serving = place.serve().await;
    let head = format!(
        "POST /api/app/sleep HTTP/1.1\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\n",
        place.token
    );
    let mut client = Client::new(serving.gateway);
    let sleeps = tokio::spawn(async move { client.send(&head, "[25]").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    serving.signal(Signal::SIGTERM);
    // It waits for the call, and says that it is no longer ready.
    serving.becomes(503).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!sleeps.is_finished(), "{:?}", sleeps.await);
    let since = Instant::now();
    serving.signal(Signal::SIGTERM);
    let (status, log) = serving.ended().await;
    assert!(since.elapsed() < Duration::from_secs(1), "{log:#?}");
    assert_eq!(status.code(), Some(130), "{log:#?}");
    assert_eq!(sleeps.await.expect("no panic"), Outcome::Closed);
    place.stop().await;
}
