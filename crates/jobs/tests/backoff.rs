//! How long a job waits that failed: doubled with each attempt, a part of it by chance, up to a longest time;
//! what the job says, before what its kind says, before what its queue says.
#![allow(clippy::unwrap_used)]

mod stage;

use std::time::Duration;

use rolegate_jobs::{Enqueue, EnqueueCopy};
use rolegate_testkit::for_each_version;
use stage::{Stage, eventually};

/// The shortest and the longest of many waits after so many failures, in seconds.
async fn waits(stage: &Stage<'_>, kind: &str, options: &str, failures: i32) -> (f64, f64) {
    let sql = "select min(w), max(w) from (
            select extract(epoch from rolegate.job_backoff(pg_catalog.jsonb_populate_record(
                null::rolegate.job,
                jsonb_build_object('lane', q.id * 4 + 1, 'kind', $1::text, 'attempt', $2::int4 + n * 0,
                    'options', $3::text::jsonb))))::float8 as w
            from rolegate.job_queue q, generate_series(1, 300) n where q.name = 'default') x";
    let row = stage
        .superuser
        .query_one(sql, &[&kind, &failures, &options])
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

/// All waits are from three quarters of this to this, and fill most of what is between.
async fn are(stage: &Stage<'_>, kind: &str, options: &str, failures: i32, longest: f64) {
    let (least, most) = waits(stage, kind, options, failures).await;
    let what = format!("{kind} {options} {failures}: {least} to {most}, not {longest}");
    let slack = longest * 1e-6 + 1e-6;
    assert!(
        least >= longest * 0.75 - slack && most <= longest + slack,
        "{what}"
    );
    // 300 numbers by chance leave a tenth of the range free with a probability of 2e-14.
    assert!(
        least <= longest * 0.775 + slack && most >= longest * 0.975 - slack,
        "{what}"
    );
}

#[tokio::test]
async fn each_failure_doubles_the_wait_up_to_the_longest() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        // As it is when nobody said anything: from 2 seconds to a day.
        for (failures, longest) in [
            (1, 2.0),
            (2, 4.0),
            (3, 8.0),
            (10, 1024.0),
            (16, 65536.0),
            (17, 86400.0),
            (31, 86400.0),
            (32, 86400.0),
            (1000, 86400.0),
        ] {
            are(&stage, "k", "null", failures, longest).await;
            are(&stage, "k", r#"{"deadline": 3}"#, failures, longest).await;
        }
        stage
            .run("select rolegate.set_queue('default', backoff => '10 s', max_backoff => '1 min')")
            .await;
        for (failures, longest) in [(1, 10.0), (2, 20.0), (3, 40.0), (4, 60.0), (9, 60.0)] {
            are(&stage, "k", "null", failures, longest).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_counts_before_its_kind_and_that_before_the_queue() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage
            .run(
                "select rolegate.set_queue('default', backoff => '10 s', max_backoff => '1 min');
                 select rolegate.set_kind('slow', '100 s');
                 select rolegate.set_kind('bound', '3 s', '5 s');
                 select rolegate.set_kind('long', max_backoff => '1 h')",
            )
            .await;
        for (kind, options, failures, longest) in [
            // A time to begin with that is above the queue's longest is the longest.
            ("slow", "null", 1, 100.0),
            ("slow", "null", 5, 100.0),
            ("bound", "null", 1, 3.0),
            ("bound", "null", 2, 5.0),
            ("long", "null", 1, 10.0),
            ("long", "null", 9, 2560.0),
            ("long", "null", 20, 3600.0),
            ("slow", r#"{"backoff": 1}"#, 3, 4.0),
            ("slow", r#"{"backoff": 1}"#, 20, 100.0),
            ("slow", r#"{"backoff": 1, "max_backoff": 2}"#, 20, 2.0),
            ("bound", r#"{"max_backoff": 4}"#, 2, 4.0),
            ("bound", r#"{"backoff": 7}"#, 4, 7.0),
            ("other", r#"{"backoff": 7}"#, 3, 28.0),
            ("other", r#"{"backoff": 7}"#, 9, 60.0),
            ("other", r#"{"backoff": 172800}"#, 9, 172_800.0),
            ("other", r#"{"backoff": 0}"#, 9, 0.0),
        ] {
            are(&stage, kind, options, failures, longest).await;
        }
        // NULL keeps, below zero takes back, and nothing that says nothing is left.
        stage
            .run(
                "select rolegate.set_kind('bound', max_backoff => '6 s');
                 select rolegate.set_kind('slow', '-1 s');
                 select rolegate.set_kind('long', '-1 s', '-1 s')",
            )
            .await;
        let left = "select count(*) from rolegate.kind_settings() \
                    where (kind, backoff, max_backoff) = ('bound', '3 s', '6 s')";
        assert_eq!(stage.number(left).await, 1);
        assert_eq!(
            stage
                .number("select count(*) from rolegate.kind_settings()")
                .await,
            1
        );
        are(&stage, "slow", "null", 1, 10.0).await;
        let set = "select rolegate.set_kind('k', '1 s')";
        let refused = stage.producer.query(set, &[]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501");
    })
    .await;
}

#[tokio::test]
async fn every_way_to_enqueue_takes_it_and_a_failed_attempt_waits_so_long() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let day = Duration::from_hours(24);
        let job = |kind: &'static str| Enqueue::of(kind, &()).backoff(day).max_backoff(2 * day);
        job("direct").send(&stage.producer).await.unwrap();
        let mut copy = EnqueueCopy::start(&stage.producer).await.unwrap();
        copy.add(job("copied")).await.unwrap();
        copy.finish().await.unwrap();
        let flow = r#"select rolegate.enqueue_flow(
            '{"kind": "flow", "backoff": "1 day", "max_backoff": "2 days"}')"#;
        stage.producer.query_one(flow, &[]).await.unwrap();
        stage.enqueue("plain", 1).await;
        stage.tick(Duration::from_secs(30)).await;
        eventually(&stage.superuser, "select count(*) = 4 from rolegate.job").await;

        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let jobs = stage.claim(&worker, id, 10).await;
        assert_eq!(jobs.len(), 4);
        let claims: Vec<i64> = jobs.iter().map(|job| job.claim).collect();
        let ordinals: Vec<i16> = jobs.iter().map(|job| job.ordinal).collect();
        let at: Vec<_> = jobs.iter().map(|job| job.at).collect();
        let sql = r#"select rolegate.finish_jobs($1, $2, $3, $4, array_fill('r'::"char", array[4]),
                     array_fill('{"error": "no"}'::jsonb, array[4]), array_fill(0::int2, array[4]))"#;
        let row = worker.query_one(sql, &[&id, &claims, &ordinals, &at]).await.unwrap();
        assert_eq!(row.get::<_, Vec<i32>>(0), [0; 0]);
        let waits = "select kind, extract(epoch from run_at - now())::float8 / 86400, \
                     options ->> 'max_backoff' from rolegate.job_deferred order by kind";
        let rows = stage.superuser.query(waits, &[]).await.unwrap();
        let mut kinds = Vec::new();
        for row in &rows {
            let (kind, days): (String, f64) = (row.get(0), row.get(1));
            let expected = if kind == "plain" { 0.0..0.001 } else { 0.74..1.0 };
            assert!(expected.contains(&days), "{kind} waits for {days} days");
            let longest: Option<String> = row.get(2);
            let longest: Option<f64> = longest.map(|text| text.parse().unwrap());
            assert_eq!(longest, (kind != "plain").then_some(172_800.0), "{kind}");
            kinds.push(kind);
        }
        assert_eq!(kinds, ["copied", "direct", "flow", "plain"]);
        for wrong in [
            "select rolegate.enqueue('k', backoff => '-1 s')",
            "select rolegate.enqueue('k', max_backoff => '101 years')",
            r#"select rolegate.enqueue_flow('{"kind": "k", "backoff": "-1 s"}')"#,
        ] {
            let error = stage.producer.query(wrong, &[]).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "22023", "{wrong}");
        }
    })
    .await;
}
