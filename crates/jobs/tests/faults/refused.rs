//! The database refuses what a handler brought.

use std::time::Duration;

use rolegate_jobs::{Outcome, WorkerConfig};
use rolegate_testkit::for_each_version;
use serde_json::value::RawValue;

use super::stage::{Stage, eventually};
use super::worker::start;

/// What the handler of `brings` brings.
pub(crate) fn outcome(what: &str) -> Outcome {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    match what {
        "fine" => Outcome::output(&1),
        "zero output" => Outcome::output(&"a\0b"),
        "zero error" => Outcome::retry("a\0b"),
        "zero failure" => Outcome::failed("a\0b"),
        "zero reason" => Outcome::Cancelled {
            reason: "a\0b".to_owned(),
        },
        "huge number" => Outcome::Completed(Some(raw("1e1000000"))),
        "deep" => Outcome::Completed(Some(raw(&format!(
            "{}{}",
            "[".repeat(200_000),
            "]".repeat(200_000)
        )))),
        "forever" => Outcome::Snooze(Duration::MAX),
        "never again" => Outcome::Retry {
            error: "no".into(),
            after: Some(Duration::MAX),
        },
        _ => panic!("{what}"),
    }
}

#[tokio::test]
async fn an_end_that_cannot_be_written_holds_nobody_else_up() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let on = start(db, WorkerConfig::default()).await;
        let odd = [
            "zero output",
            "zero error",
            "zero failure",
            "zero reason",
            "huge number",
            "deep",
            "forever",
            "never again",
        ];
        let sql = "select rolegate.enqueue('brings', to_jsonb($1::text), max_attempts => 1)";
        // In one batch with others.
        let mut all = String::new();
        for what in odd {
            for what in ["fine", what] {
                all.push_str(&sql.replace("$1", &format!("'{what}'")));
                all.push(';');
            }
        }
        stage
            .producer
            .batch_execute(&format!("begin; {all} commit"))
            .await
            .unwrap();
        eventually(
            &stage.superuser,
            "select coalesce(sum(cardinality(ordinals)), 0) = 16 from rolegate.job_outcome",
        )
        .await;
        let fine = "select count(*) from rolegate.job_outcome o, unnest(o.outputs) d where d = '1'";
        assert_eq!(stage.number(fine).await, 8);
        let ended = "select args #>> '{}', state, reason, coalesce(error::text, '') \
                     from rolegate.job_ended order by root";
        let rows = stage.superuser.query(ended, &[]).await.unwrap();
        let ended: Vec<[String; 4]> = rows
            .iter()
            .map(|row| std::array::from_fn(|n| row.get(n)))
            .collect();
        let of = |what: &str| {
            let row = ended.iter().find(|row| row[0] == what);
            row.unwrap_or_else(|| panic!("{what}: {ended:#?}"))
        };
        // The work was done, and its output can't be kept: that is a failure that says so.
        for what in ["zero output", "huge number", "deep"] {
            assert_eq!(of(what)[1..3], ["failed", "not_storable"], "{:?}", of(what));
        }
        // What an error quotes changes nothing of how the attempt ended.
        for (what, end) in [
            (
                "zero error",
                ["failed", "max_attempts_exhausted", "\"a\u{fffd}b\""],
            ),
            (
                "zero failure",
                ["failed", "terminal_error", "\"a\u{fffd}b\""],
            ),
            ("zero reason", ["cancelled", "a\u{fffd}b", ""]),
            (
                "never again",
                ["failed", "max_attempts_exhausted", "\"no\""],
            ),
        ] {
            assert_eq!(of(what)[1..], end, "{what}");
        }
        let later = "select count(*) from rolegate.job_deferred \
                     where reason = 'snooze' and run_at > now() + interval '9 years'";
        assert_eq!(stage.number(later).await, 1);
        // The worker goes on.
        stage
            .producer
            .query("select rolegate.enqueue('runs', '1')", &[])
            .await
            .unwrap();
        on.until_ran(1, Duration::from_secs(5)).await;
        assert!(on.worker.stop().await);
    })
    .await;
}
