//! A queue under a storm: workers, the leader of the maintenance and PostgreSQL itself are killed with
//! SIGKILL while jobs are enqueued and run, and connections are used up. In the end every job has
//! completed, ended exactly once, and nothing is left over.
//!
//! `ROLEGATE_STORM_JOBS` sets how many (default 5,000), `ROLEGATE_STORM_POSTGRES` on which version (15 or
//! 18, the default), and `ROLEGATE_STORM_REPORT` a file for the counts. `make storm` runs it at full size.
#![allow(clippy::unwrap_used)]
// A test is no crate that is configured.
#![allow(clippy::disallowed_methods)]
// The counts are for people.
#![allow(clippy::print_stdout)]

mod audit;
mod fleet;
mod place;
mod producers;
mod report;
mod rust_worker;
mod weather;

use std::time::Duration;

use audit::Audit;
use fleet::Fleet;
use place::Place;
use producers::Producers;
use rolegate_testkit::Version;
use weather::Weather;

/// The longest time from the end of the storm until nothing is left: a worker that was killed is given
/// up after half a minute, and its jobs may wait behind each other.
const CALM: Duration = Duration::from_secs(100);

const SETTINGS: [&str; 3] = [
    "ROLEGATE_STORM_JOBS",
    "ROLEGATE_STORM_POSTGRES",
    "ROLEGATE_STORM_REPORT",
];

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_ends_once_whatever_is_killed() {
    let jobs = setting("ROLEGATE_STORM_JOBS").map_or(5_000, |text| text.parse().unwrap());
    let version = match setting("ROLEGATE_STORM_POSTGRES").as_deref() {
        None | Some("18") => Version::Pg18,
        Some("15") => Version::Pg15,
        Some(other) => panic!("ROLEGATE_STORM_POSTGRES is {other}; it must be 15 or 18"),
    };
    let mut place = Place::start(version).await;
    let mut fleet = Fleet::start(&place).await;
    let producers = Producers::start(&place, jobs);
    let mut weather = Weather::new(jobs);
    weather.rage(&mut place, &mut fleet, &producers).await;
    // What is left at the end of the storm takes as long as the storm did, at most.
    let patience = CALM + 2 * weather.lasted;
    let audit = Audit::wait_for_calm(&place, &mut fleet, &producers, &weather, patience).await;
    producers.check(&audit).await;
    audit.check(&weather);
    let stopped = fleet.stop().await;
    report::print(
        &place,
        &weather,
        &audit,
        setting("ROLEGATE_STORM_REPORT").as_deref(),
    );
    assert!(stopped, "the processes end in time");
    place.stop().await;
}

/// No test: the storm runs this binary again as a worker written in Rust.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process of the storm"]
async fn rust_worker() {
    if let Some(place) = setting(rust_worker::VARIABLE) {
        rust_worker::run(&place).await;
    }
}
