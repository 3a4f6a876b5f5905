//! Kinds, queues, keys and arguments that nobody expects.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolegate_jobs::{Handlers, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::for_each_version;

use super::stage::{Stage, eventually};

const ODD: [&str; 9] = [
    "'; drop table rolegate.job; --",
    "$$; select 1/0; $$",
    "\"quoted\"",
    "a|b",
    "%s %I %L",
    "line\nbreak\ttab",
    "ünïcödé 🙂 \u{202e}",
    "\\x00\\u0000",
    "null",
];

#[tokio::test]
async fn odd_names_are_names_and_nothing_else() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let long = "é".repeat(200);
        let odd: Vec<&str> = ODD.into_iter().chain([&*long]).collect();
        let mut ids = Vec::new();
        for name in &odd {
            stage
                .superuser
                .query("select rolegate.create_queue($1)", &[name])
                .await
                .unwrap();
            let sql = "select rolegate.enqueue($1, to_jsonb($1::text), queue => $1, unique_key => $1, \
                       tags => array[$1], metadata => jsonb_build_object($1::text, $1::text), trace => $1)";
            let row = stage.producer.query_one(sql, &[name]).await.unwrap();
            ids.push(row.get::<_, i64>(0));
            let taken = stage.producer.query_one(sql, &[name]).await.unwrap_err();
            assert_eq!(taken.code().unwrap().code(), "23505", "{name}");
        }
        let worker = stage.worker().await;
        let row = worker
            .query_one(
                "select * from rolegate.register_worker($1, $1, $2)",
                &[&odd[0], &odd],
            )
            .await
            .unwrap();
        let (id, queues): (i64, Vec<i32>) = (row.get(0), row.get(1));
        assert_eq!(queues.len(), odd.len());
        let sql = "select root, kind, args::jsonb #>> '{}' from rolegate.claim_jobs($1, $2, 100) \
                   where claim is not null order by root";
        let rows = worker.query(sql, &[&id, &queues]).await.unwrap();
        let found: Vec<(i64, String, String)> = rows
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect();
        let wanted: Vec<(i64, String, String)> = ids
            .iter()
            .zip(&odd)
            .map(|(id, name)| (*id, (*name).to_owned(), (*name).to_owned()))
            .collect();
        assert_eq!(found, wanted);
        for sql in [
            "select rolegate.enqueue('')",
            "select rolegate.enqueue(repeat('x', 201))",
            "select rolegate.enqueue(null)",
            "select rolegate.enqueue('x', null)",
            "select rolegate.enqueue('x', priority => 5)",
            "select rolegate.enqueue('x', max_attempts => 0)",
            "select rolegate.enqueue('x', deadline => '-1 s')",
            "select rolegate.enqueue('x', deadline => '101 years')",
            "select rolegate.enqueue('x', run_at => 'infinity')",
            "select rolegate.enqueue_flow('{\"kind\": \"x\", \"run_at\": \"infinity\"}')",
            "select rolegate.enqueue_flow('{\"kind\": \"x\", \"deadline\": \"101 years\"}')",
            "select rolegate.enqueue('x', unique_key => 'k', on_conflict => 'drop')",
            "select rolegate.enqueue('x', tags => array_fill('t'::text, array[21]))",
            // Its worker reads a list of texts.
            "select rolegate.enqueue('x', tags => array['a', null])",
            "select rolegate.enqueue('x', tags => array[array['a'], array['b']])",
            "select rolegate.enqueue('x', tags => array[repeat('t', 4001)])",
            "select rolegate.enqueue('x', trace => repeat('t', 201))",
            "select rolegate.enqueue_flow('{\"kind\": \"x\", \"tags\": [\"a\", 1]}')",
            "select rolegate.enqueue_flow('{\"kind\": \"x\", \"tags\": [null]}')",
            "select rolegate.enqueue_many('x', array['1', null]::jsonb[])",
        ] {
            let refused = stage.producer.batch_execute(sql).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "22023", "{sql}");
        }
        let sql = "select rolegate.enqueue('x', queue => 'nowhere')";
        let refused = stage.producer.batch_execute(sql).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42704");
    })
    .await;
}

/// PostgreSQL 15 can't say how long it is until then, and whoever asks fails.
#[tokio::test]
async fn a_time_that_never_comes_does_not_stop_the_maintenance() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let sql = "select rolegate.enqueue('x', run_at => now() + interval '1 day')";
        stage.producer.query_one(sql, &[]).await.unwrap();
        stage
            .run("update rolegate.job_deferred set run_at = 'infinity'")
            .await;
        stage.enqueue("y", 1).await;
        let report = stage.tick(Duration::from_secs(30)).await;
        assert_eq!(report.promoted, 0);
        let operators = "select rolegate.retry(1, run_at => 'infinity')";
        let refused = stage.superuser.batch_execute(operators).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "22023");
    })
    .await;
}

/// A unique key is one of its kind.
#[tokio::test]
async fn keys_of_two_kinds_are_never_the_same() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        for (kind, key) in [("a", "b|c"), ("a|b", "c"), ("a|", "b|c"), ("a", "|b|c")] {
            let sql = "select rolegate.enqueue($1, unique_key => $2)";
            let made = stage.producer.query_one(sql, &[&kind, &key]).await;
            assert!(made.is_ok(), "{kind} {key}: {made:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn arguments_are_what_they_were() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&seen);
        let handlers = Handlers::default().function(
            "look",
            move |args: Box<serde_json::value::RawValue>, _| {
                noted.lock().unwrap().push(args.get().to_owned());
                async { Outcome::Completed(None) }
            },
        );
        let sql = EngineSql::new("rolegate");
        let login = Login::peer("rolegate_worker");
        let config = WorkerConfig::default();
        let worker = Worker::start(&db.wire_endpoint(), &login, &sql, handlers, config)
            .await
            .unwrap();
        let deep = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
        let huge = format!("\"{}\"", "x".repeat(8_000_000));
        let odd = [
            "9007199254740993",
            "1.10",
            "-0.000000000000000000000000000000000000000000001",
            "\"\\u0001 \\ud83d\\ude42\"",
            &deep,
            &huge,
        ];
        for (n, args) in odd.iter().enumerate() {
            let sql = "select rolegate.enqueue('look', $1::text::jsonb)";
            stage.producer.query(sql, &[args]).await.unwrap();
            let ended = format!(
                "select coalesce(sum(cardinality(ordinals)), 0) = {} from rolegate.job_outcome",
                n + 1
            );
            eventually(&stage.superuser, &ended).await;
        }
        assert_eq!(
            stage
                .number("select count(*) from rolegate.job_ended")
                .await,
            0
        );
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), odd.len());
        for (seen, sent) in seen.iter().zip(odd) {
            let same = if sent.starts_with("\"\\u") {
                // As PostgreSQL writes it.
                seen == "\"\\u0001 🙂\""
            } else {
                seen == sent
            };
            assert!(same, "{seen:.100} is not {sent:.100}");
        }
        // What no JSON is never becomes a job.
        for (args, code) in [
            ("\"\\u0000\"", "22P05"),
            ("{", "22P02"),
            ("NaN", "22P02"),
            (&*"[".repeat(1_000_000), "54001"),
        ] {
            let sql = "select rolegate.enqueue('look', $1::text::jsonb)";
            let refused = stage.producer.query(sql, &[&args]).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), code, "{args:.20}");
        }
        let stopped = tokio::time::timeout(Duration::from_secs(10), worker.stop()).await;
        assert_eq!(stopped, Ok(true));
    })
    .await;
}
