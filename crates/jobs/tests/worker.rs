//! The worker as a user of the crate sees it, under the worker's own login.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use rolegate_jobs::{
    CallbackRules, Context, Handler, Handlers, Job, Outcome, RegisterError, Worker, WorkerConfig,
};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::{TestDatabase, for_each_version};
use tokio_postgres::Client;

async fn producer(db: &TestDatabase) -> Client {
    let role = db.create_role("producer").await;
    let superuser = db.superuser().await;
    let grant = format!("grant rolegate_producer to {role}");
    superuser.batch_execute(&grant).await.unwrap();
    db.connect_as(&role).await
}

async fn start(db: &TestDatabase, handlers: Handlers, config: WorkerConfig) -> Worker {
    let login = Login {
        user: "rolegate_worker".to_owned(),
        password: None,
    };
    let sql = EngineSql::new("rolegate");
    Worker::start(&db.wire_endpoint(), &login, &sql, handlers, config)
        .await
        .unwrap()
}

/// Waits until `sql` gives true.
async fn eventually(client: &Client, sql: &str) {
    for _ in 0..1000 {
        let row = client.query_one(sql, &[]).await.unwrap();
        if row.get::<_, bool>(0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {sql}");
}

#[derive(serde::Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

#[tokio::test]
async fn typed_handlers_run_and_their_output_is_kept() {
    for_each_version(async |db| {
        let producer = producer(db).await;
        let handlers = Handlers::default().function("add", |args: Add, job: Job| async move {
            assert_eq!(job.attempt, 1);
            Outcome::output(&(args.a + args.b))
        });
        let worker = start(db, handlers, WorkerConfig::default()).await;
        // The worker sleeps by now, and is woken.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let sql = r#"select rolegate.enqueue('add', '{"a": 9007199254740993, "b": 1}')"#;
        producer.query_one(sql, &[]).await.unwrap();
        let superuser = db.superuser().await;
        eventually(
            &superuser,
            "select exists (select from rolegate.job_outcome o where o.states is null \
             and o.outputs = array['9007199254740994'::jsonb])",
        )
        .await;
        assert!(worker.stop().await);
        let row = superuser
            .query_one("select count(*) from rolegate.job_worker", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), 0, "it is not registered any more");
    })
    .await;
}

#[tokio::test]
async fn every_outcome_has_its_effect() {
    for_each_version(async |db| {
        let producer = producer(db).await;
        let superuser = db.superuser().await;
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let handlers = Handlers::default()
            .function("flaky", move |(): (), job: Job| {
                counted.fetch_add(1, Ordering::SeqCst);
                async move {
                    if job.attempt < 3 {
                        Outcome::Retry {
                            error: "not yet".into(),
                            after: Some(Duration::ZERO),
                        }
                    } else {
                        assert_eq!(job.options.errors.len(), 2);
                        Outcome::Completed(None)
                    }
                }
            })
            .function("hopeless", |(): (), _| async { Outcome::failed("no way") })
            .function("panics", |(): (), _| async { panic!("oh no") })
            .function("unwanted", |(): (), _| async {
                Outcome::Cancelled {
                    reason: "too old".to_owned(),
                }
            })
            .function("slow", |(): (), _| async {
                tokio::time::sleep(Duration::from_mins(1)).await;
                Outcome::Completed(None)
            })
            .function("later", |(): (), _| async {
                Outcome::Snooze(Duration::from_hours(1))
            });
        let worker = start(db, handlers, WorkerConfig::default()).await;
        producer
            .batch_execute(
                "select rolegate.enqueue('flaky', 'null', unique_key => 'only one');
                 select rolegate.enqueue('hopeless', 'null', unique_key => 'only one');
                 select rolegate.enqueue('hopeless', '{\"not\": \"null\"}');
                 select rolegate.enqueue('panics', 'null', max_attempts => 1);
                 select rolegate.enqueue('unwanted', 'null');
                 select rolegate.enqueue('slow', 'null', deadline => '100 ms', max_attempts => 1);
                 select rolegate.enqueue('later', 'null');
                 select rolegate.enqueue('nobody knows', 'null');",
            )
            .await
            .unwrap();
        eventually(
            &superuser,
            "select (select count(*) from rolegate.job_ended) = 5 \
             and (select count(*) from rolegate.job_deferred) = 2 \
             and (select count(*) from rolegate.job_unique) = 0",
        )
        .await;
        assert_eq!(attempts.load(Ordering::SeqCst), 3);
        check_ended(&superuser).await;
        check_waiting(&superuser).await;
        assert!(worker.stop().await);
    })
    .await;
}

async fn check_ended(superuser: &Client) {
    let ended = superuser
        .query(
            "select kind, state, reason, error::text from rolegate.job_ended order by root",
            &[],
        )
        .await
        .unwrap();
    let ended: Vec<[String; 4]> = ended
        .iter()
        .map(|row| std::array::from_fn(|n| row.get::<_, Option<String>>(n).unwrap_or_default()))
        .collect();
    let row = |n: usize| ended[n].each_ref().map(String::as_str);
    assert_eq!(
        row(0),
        ["hopeless", "failed", "terminal_error", "\"no way\""]
    );
    assert_eq!(row(1)[..3], ["hopeless", "failed", "terminal_error"]);
    assert!(row(1)[3].contains("arguments"), "{}", row(1)[3]);
    assert_eq!(
        row(2),
        [
            "panics",
            "failed",
            "max_attempts_exhausted",
            "\"the handler panicked: oh no\""
        ]
    );
    assert_eq!(row(3)[..3], ["unwanted", "cancelled", "too old"]);
    assert_eq!(row(4)[..3], ["slow", "failed", "max_attempts_exhausted"]);
    assert!(row(4)[3].contains("deadline"), "{}", row(4)[3]);
}

/// Neither of these counts as an attempt.
async fn check_waiting(superuser: &Client) {
    let waiting = superuser
        .query(
            "select kind, attempt, reason from rolegate.job_deferred order by root",
            &[],
        )
        .await
        .unwrap();
    for (row, kind) in waiting.iter().zip(["later", "nobody knows"]) {
        assert_eq!(row.get::<_, String>(0), kind);
        assert_eq!(row.get::<_, i16>(1), 0);
        assert_eq!(row.get::<_, String>(2), "snooze");
    }
}

/// Runs until it is cancelled.
struct Endless(Arc<AtomicUsize>);

impl Handler for Endless {
    fn run<'a>(
        &'a self,
        _job: Job,
        context: &'a Context,
    ) -> futures_util::future::BoxFuture<'a, Outcome> {
        async move {
            self.0.fetch_add(1, Ordering::SeqCst);
            context.cancelled().await;
            Outcome::retry("cancelled")
        }
        .boxed()
    }
}

#[tokio::test]
async fn stopping_gives_back_what_was_not_begun_and_leaves_nothing_open() {
    for_each_version(async |db| {
        let producer = producer(db).await;
        let superuser = db.superuser().await;
        let begun = Arc::new(AtomicUsize::new(0));
        let handlers = Handlers::default()
            .kind("endless", Endless(Arc::clone(&begun)))
            .function("quick", |(): (), _| async { Outcome::Completed(None) });
        let config = WorkerConfig {
            concurrency: 2,
            shutdown: Duration::from_millis(300),
            ..WorkerConfig::default()
        };
        let worker = start(db, handlers, config).await;
        // Quick ones first, so that it claims ahead.
        producer
            .batch_execute(
                "select rolegate.enqueue_many('quick', array_fill('null'::jsonb, array[500])); \
                 select rolegate.enqueue_many('endless', array_fill('null'::jsonb, array[50]))",
            )
            .await
            .unwrap();
        for _ in 0..1000 {
            if begun.load(Ordering::SeqCst) == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!worker.stop().await, "two had to be cancelled");
        assert_eq!(begun.load(Ordering::SeqCst), 2, "none was begun after that");
        // All but the two are as if nothing had been.
        let row = superuser
            .query_one(
                "select \
                    (select sum(cardinality(jobs)) from rolegate.job_claim) = \
                    (select sum(cardinality(ordinals)) from rolegate.job_outcome), \
                    (select count(*) from rolegate.job j where j.root is not null and j.attempt = 0) + \
                    (select count(*) from rolegate.job j, rolegate.lane_cursors() c \
                        where j.lane = c.lane and j.id > c.hi and j.root is null), \
                    (select count(*) from rolegate.job_deferred where kind = 'endless' and attempt = 1)",
                &[],
            )
            .await
            .unwrap();
        assert!(row.get::<_, bool>(0), "nothing is open");
        assert_eq!(row.get::<_, i64>(1), 48);
        assert_eq!(row.get::<_, i64>(2), 2);
    })
    .await;
}

#[tokio::test]
async fn jobs_in_four_queues_are_drained_by_two_workers_each_once() {
    for_each_version(async |db| {
        let producer = producer(db).await;
        let superuser = db.superuser().await;
        let queues: Vec<String> = ["a", "b", "c", "default"].map(str::to_owned).to_vec();
        for queue in &queues {
            let sql = "select rolegate.create_queue($1)";
            superuser.execute(sql, &[queue]).await.unwrap();
        }
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut workers = Vec::new();
        for _ in 0..2 {
            let seen = Arc::clone(&seen);
            let handlers = Handlers::default().function("n", move |n: i64, _| {
                seen.lock().unwrap().push(n);
                async { Outcome::Completed(None) }
            });
            let config = WorkerConfig {
                queues: queues.clone(),
                ..WorkerConfig::default()
            };
            workers.push(start(db, handlers, config).await);
        }
        for (n, queue) in queues.iter().enumerate() {
            let from = i32::try_from(n * 1000).unwrap();
            let sql = "select rolegate.enqueue_many('n', array(select to_jsonb(n) from \
                generate_series($1, $1 + 999) n), $2)";
            producer.execute(sql, &[&from, queue]).await.unwrap();
        }
        eventually(
            &superuser,
            "select coalesce(sum(cardinality(ordinals)), 0) = 4000 from rolegate.job_outcome",
        )
        .await;
        for worker in workers {
            assert!(worker.stop().await);
        }
        let mut seen = seen.lock().unwrap().clone();
        seen.sort_unstable();
        assert_eq!(seen, (0..4000).collect::<Vec<i64>>());
    })
    .await;
}

/// Waits for an answer from outside, once; then completes with what it brought.
struct Asks;

impl Handler for Asks {
    fn run<'a>(
        &'a self,
        job: Job,
        context: &'a Context,
    ) -> futures_util::future::BoxFuture<'a, Outcome> {
        async move {
            if let Some(resume) = &job.options.resume {
                return Outcome::output(resume);
            }
            let callback = context
                .register_callback(Duration::from_mins(1), job.kind.as_ref() == "two steps")
                .await
                .unwrap();
            assert!(callback.is_some());
            Outcome::Wait
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_job_waits_for_an_answer_from_outside_without_a_slot() {
    for_each_version(async |db| {
        let producer = producer(db).await;
        let superuser = db.superuser().await;
        let handlers = Handlers::default()
            .kind("one step", Asks)
            .kind("two steps", Asks);
        let config = WorkerConfig {
            concurrency: 1,
            ..WorkerConfig::default()
        };
        let worker = start(db, handlers, config).await;
        producer
            .batch_execute(
                "select rolegate.enqueue('one step', 'null'); \
                 select rolegate.enqueue('two steps', 'null')",
            )
            .await
            .unwrap();
        // Both wait at the same time: one slot is enough for that.
        eventually(&superuser, "select count(*) = 2 from rolegate.job_parked").await;
        let receiver = db.connect_as("rolegate_receiver").await;
        let answers = [
            ("one step", "callback_complete"),
            ("two steps", "callback_resume"),
        ];
        for (kind, function) in answers {
            let sql = "select callback::text from rolegate.job_parked where kind = $1";
            let row = superuser.query_one(sql, &[&kind]).await.unwrap();
            let callback: String = row.get(0);
            let sql = format!(
                r#"select * from rolegate.{function}('{callback}', '{{"answer": 42}}', '\x00')"#
            );
            receiver.query(&sql, &[]).await.unwrap();
        }
        eventually(
            &superuser,
            "select exists (select from rolegate.job_parked where state = 'completed' \
                 and output = '{\"answer\": 42}') \
             and exists (select from rolegate.job_outcome o, unnest(o.outputs) output \
                 where output -> 'payload' ->> 'answer' = '42')",
        )
        .await;
        assert!(worker.stop().await);
    })
    .await;
}

/// Rules are read before anything is registered, and registered with the callback.
#[tokio::test]
async fn rules_that_are_no_expressions_are_refused_before_anything_waits() {
    for_each_version(async |db| {
        let producer = producer(db).await;
        let superuser = db.superuser().await;
        let ask = async |_: serde_json::Value, job: Job, context: Context| {
            let rules = CallbackRules::new()
                .filter("payload.ok")
                .on_complete(job.kind.as_ref());
            let callback = context.callback(Duration::from_mins(1)).resumable(true);
            match callback.rules(rules).register().await {
                Ok(id) => {
                    assert!(id.is_some());
                    Outcome::Wait
                }
                Err(RegisterError::Rules(error)) => Outcome::failed(error.to_string()),
                Err(error) => panic!("{error}"),
            }
        };
        let handlers = Handlers::default()
            .function_in("payload.paid", ask)
            .function_in("order.paid", ask);
        let worker = start(db, handlers, WorkerConfig::default()).await;
        let sql = "select rolegate.enqueue('payload.paid', 'null'), rolegate.enqueue('order.paid', 'null')";
        producer.query_one(sql, &[]).await.unwrap();
        eventually(
            &superuser,
            "select (select count(*) = 1 from rolegate.job_ended where error #>> '{}' = \
                 '`on_complete`, line 1, column 1: there is no variable `order`; there is `payload`') \
             and (select count(*) = 1 from rolegate.job_parked)",
        )
        .await;
        let sql = "select rules, resumable from rolegate.job_callback";
        let row = superuser.query_one(sql, &[]).await.unwrap();
        let expected = serde_json::json!({"filter": "payload.ok", "on_complete": "payload.paid"});
        assert_eq!(row.get::<_, serde_json::Value>(0), expected);
        assert!(row.get::<_, bool>(1));
        assert!(worker.stop().await);
    })
    .await;
}

#[tokio::test]
async fn queues_get_their_shares() {
    for_each_version(async |db| {
        let producer = producer(db).await;
        let worker = db.connect_as("rolegate_worker").await;
        let register = "select rolegate.register_worker('made', '', array['much', 'little'])";
        worker.execute(register, &[]).await.unwrap();
        for queue in ["little", "much"] {
            let sql = "select rolegate.enqueue_many('note', \
                       array(select '{}'::jsonb from generate_series(1, 400)), queue => $1)";
            producer.execute(sql, &[&queue]).await.unwrap();
        }
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&order);
        let handlers =
            Handlers::default().function("note", move |_: serde_json::Value, job: Job| {
                seen.lock().unwrap().push(job.queue.to_string());
                async { Outcome::completed() }
            });
        let config = WorkerConfig {
            queues: vec!["much".to_owned(), "little".to_owned()],
            weights: [("much".to_owned(), 3)].into(),
            concurrency: 2,
            prefetch: 8,
            ..WorkerConfig::default()
        };
        let worker = start(db, handlers, config).await;
        while order.lock().unwrap().len() < 800 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(worker.stop().await);
        let order = order.lock().unwrap();
        let much = order[..200].iter().filter(|queue| *queue == "much").count();
        assert!((135..=165).contains(&much), "{much} of 200");
    })
    .await;
}
