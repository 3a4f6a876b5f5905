//! The counts for people.

use std::fmt::Write as _;

use crate::audit::Audit;
use crate::place::Place;
use crate::weather::Weather;

/// What the counts are of.
const HEAD: &str = "# A storm of kills

Jobs of two kinds of workers while workers, the leader and PostgreSQL are killed; debug builds. What is
counted as lost or ended twice fails the run before anything is printed. Times say how long the test took
and not how fast the queue is: processes are killed all the time, producers wait when too much waits, and the
retention is 4 seconds while somebody reads all the time, so that the ring has up to 64 segments.

| | |
|---|---|
";

pub(crate) fn print(place: &Place, weather: &Weather, audit: &Audit, file: Option<&str>) {
    let seconds = |times: &[f64]| {
        let times: Vec<String> = times.iter().map(|time| format!("{time:.1} s")).collect();
        times.join(", ")
    };
    let leaderless: Vec<f64> = weather
        .leaderless
        .iter()
        .map(std::time::Duration::as_secs_f64)
        .collect();
    let repeated = audit.after_loss + audit.around_crash;
    let rows = [
        ("PostgreSQL", place.version()),
        ("jobs", weather.jobs.to_string()),
        ("the storm lasted", seconds(&[weather.lasted.as_secs_f64()])),
        ("workers killed (SIGKILL)", weather.worker_kills.to_string()),
        ("processes started", weather.starts.to_string()),
        (
            "PostgreSQL killed (SIGKILL)",
            weather.outages.len().to_string(),
        ),
        (
            "connections that others wanted / got",
            format!(
                "{} / {}",
                weather.let_in + weather.turned_away,
                weather.let_in
            ),
        ),
        ("completed", audit.completed.to_string()),
        ("failed, as they should", audit.failed.to_string()),
        ("lost", "0".to_owned()),
        ("ended more than once", "0".to_owned()),
        ("executions", audit.executions.to_string()),
        ("executions beyond the first", repeated.to_string()),
        (
            "of those, after their worker was lost",
            audit.after_loss.to_string(),
        ),
        (
            "of those, in the last seconds before PostgreSQL was killed",
            audit.around_crash.to_string(),
        ),
        ("of those, unexplained", audit.unexplained.to_string()),
        ("attempts lost", audit.lost.to_string()),
        ("attempts tried again", audit.retried.to_string()),
        ("attempts given back", audit.released.to_string()),
        (
            "from the kill of PostgreSQL to the next completed job",
            seconds(&audit.back_after),
        ),
        (
            "from the kill of the leader to the next one",
            seconds(&leaderless),
        ),
        (
            "from a claim until it was taken from a dead worker, at most",
            seconds(&[audit.longest_hold]),
        ),
        (
            "from the end of the storm until all jobs had ended",
            seconds(&[audit.all_ended.as_secs_f64()]),
        ),
        (
            "and until every segment was empty",
            seconds(&[audit.all_empty.as_secs_f64()]),
        ),
    ];
    let mut text = String::from(HEAD);
    for (what, value) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {what} | {value} |");
    }
    println!("{text}");
    if let Some(file) = file {
        std::fs::write(file, text).unwrap();
    }
}
