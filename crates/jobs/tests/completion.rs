//! Ends of attempts in a transaction of the handler's own, and with jobs that follow.
#![allow(clippy::unwrap_used)]

mod stage;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolegate_jobs::{
    CompletionError, Context, Enqueue, Handlers, Job, Outcome, Worker, WorkerConfig,
};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::{TestDatabase, for_each_version};
use sqlx::Connection as _;
use stage::{Stage, eventually};

async fn start(db: &TestDatabase, handlers: Handlers) -> Worker {
    let login = Login::peer("rolegate_worker");
    let sql = EngineSql::new("rolegate");
    let config = WorkerConfig::default();
    Worker::start(&db.wire_endpoint(), &login, &sql, handlers, config)
        .await
        .unwrap()
}

/// The application's own login, which may enqueue and write its table, and nothing else.
async fn application(stage: &Stage<'_>) -> String {
    let role = stage.db.create_role("app").await;
    stage
        .run(&format!(
            "create table public.mail (job bigint); grant rolegate_producer to {role}; \
             grant insert, select on public.mail to {role}"
        ))
        .await;
    role
}

async fn enqueue(stage: &Stage<'_>, kind: &str) -> i64 {
    Enqueue::of(kind.to_owned(), &())
        .send(&stage.producer)
        .await
        .unwrap()
}

async fn until_state(stage: &Stage<'_>, job: i64, wanted: &str) {
    let sql =
        format!("select coalesce((select state = '{wanted}' from rolegate.job({job})), false)");
    eventually(&stage.superuser, &sql).await;
}

async fn mails(stage: &Stage<'_>) -> Vec<i64> {
    let rows = stage
        .superuser
        .query("select job from public.mail order by 1", &[])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What a handler does with its transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Commit,
    /// And says that it had committed.
    RollBack,
    /// And the process is gone before the worker hears of it.
    CommitAndDie,
    /// Commits, but does not know it.
    CommitAndDoubt,
}

async fn write(
    job: &Job,
    context: &Context,
    config: &tokio_postgres::Config,
    then: Then,
) -> Outcome {
    let (mut client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let transaction = client.transaction().await.unwrap();
    transaction
        .execute("insert into public.mail values ($1)", &[&job.id])
        .await
        .unwrap();
    match context.complete_in(&transaction, &job.id).await {
        Ok(()) => {}
        Err(CompletionError::Over) => return Outcome::retry("over"),
        Err(error) => panic!("{error:?}"),
    }
    match then {
        Then::RollBack => {
            transaction.rollback().await.unwrap();
            Outcome::Committed
        }
        Then::Commit => {
            transaction.commit().await.unwrap();
            Outcome::Committed
        }
        Then::CommitAndDoubt => {
            transaction.commit().await.unwrap();
            Outcome::retry("the connection was lost")
        }
        Then::CommitAndDie => {
            transaction.commit().await.unwrap();
            std::future::pending().await
        }
    }
}

#[tokio::test]
async fn rows_and_completion_are_committed_together() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let role = application(&stage).await;
        let mut handlers = Handlers::default();
        for (kind, then) in [
            ("commit", Then::Commit),
            ("roll back", Then::RollBack),
            ("doubt", Then::CommitAndDoubt),
        ] {
            let config = Arc::new(db.config(&role));
            handlers = handlers.function_in(kind, move |(): (), job: Job, context: Context| {
                let config = Arc::clone(&config);
                async move {
                    // The second attempt of one that was rolled back does it.
                    let then = if job.attempt > 1 { Then::Commit } else { then };
                    context.progress(50, "halfway");
                    context.checkpoint(&1).unwrap();
                    write(&job, &context, &config, then).await
                }
            });
        }
        stage.run("select rolegate.set_queue('default', backoff => '1 hour')").await;
        let worker = start(db, handlers).await;
        let committed = enqueue(&stage, "commit").await;
        let doubted = enqueue(&stage, "doubt").await;
        let rolled_back = enqueue(&stage, "roll back").await;
        let unique = Enqueue::of("commit", &()).unique_key("k").send(&stage.producer).await.unwrap();
        for job in [committed, doubted, unique] {
            until_state(&stage, job, "completed").await;
        }
        // It was tried again, not lost: that it had been committed was not believed.
        until_state(&stage, rolled_back, "retryable").await;
        assert_eq!(mails(&stage).await, [committed, doubted, unique]);
        let sql = "select errors -> 0 ->> 'error' ~ 'not committed' from rolegate.job($1)";
        let row = stage.superuser.query_one(sql, &[&rolled_back]).await.unwrap();
        assert!(row.get::<_, bool>(0));
        stage.run("update rolegate.job_deferred set run_at = now()").await;
        stage.tick(Duration::from_mins(1)).await;
        until_state(&stage, rolled_back, "completed").await;
        assert!(worker.stop().await);
        let all = "select (select count(*) from rolegate.job_unique) + (select count(*) from rolegate.job_progress)";
        assert_eq!(stage.number(all).await, 0, "what the jobs held is free");
        let sql = "select output = to_jsonb(id) and attempt = 1 from rolegate.job($1)";
        let row = stage.superuser.query_one(sql, &[&committed]).await.unwrap();
        assert!(row.get::<_, bool>(0));
        assert_eq!(mails(&stage).await.len(), 4);
        let open = "select (select sum(cardinality(jobs)) from rolegate.job_claim) \
                    - (select sum(cardinality(ordinals)) from rolegate.job_outcome)";
        assert_eq!(stage.number(&format!("select ({open})::bigint")).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_process_that_dies_after_the_commit_leaves_nothing_to_do() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let role = application(&stage).await;
        let config = Arc::new(db.config(&role));
        let handlers =
            Handlers::default().function_in("die", move |(): (), job: Job, context: Context| {
                let config = Arc::clone(&config);
                async move { write(&job, &context, &config, Then::CommitAndDie).await }
            });
        let worker = start(db, handlers).await;
        let job = enqueue(&stage, "die").await;
        until_state(&stage, job, "completed").await;
        // As the maintenance does with one that is silent.
        let sql =
            "select coalesce(sum(rolegate.abandon_worker(id)), 0)::bigint from rolegate.job_worker";
        assert_eq!(stage.number(sql).await, 0, "nothing was lost");
        until_state(&stage, job, "completed").await;
        assert_eq!(mails(&stage).await, [job]);
        drop(worker);
    })
    .await;
}

/// Cancelled before, cancelled while the transaction waits, taken from its worker.
#[tokio::test]
async fn the_transaction_of_a_stale_attempt_fails_whole() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let role = application(&stage).await;
        let mut app = db.connect_as(&role).await;
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        stage.enqueue("a", 4).await;
        let jobs = stage.claim(&worker, id, 10).await;
        let mut tokens = Vec::new();
        for job in &jobs {
            let sql = "select rolegate.completion_token($1, $2, $3, 0::int2)";
            let row = worker
                .query_one(sql, &[&job.claim, &job.ordinal, &job.at])
                .await
                .unwrap();
            tokens.push(row.get::<_, Option<String>>(0).unwrap());
        }
        let complete = "select rolegate.complete_attempt($1, '1')";
        // Who does not have the token can't; nor with one that was changed, or with another role's rights.
        for wrong in [
            "",
            "1.1.1.0",
            &tokens[0][1..],
            &tokens[0].replace(".1.", ".2."),
        ] {
            let error = app.query_one(complete, &[&wrong]).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "28000", "{wrong}: {error:?}");
        }
        let plain = db.create_role("plain").await;
        let nobody = db.connect_as(&plain).await;
        assert!(nobody.query_one(complete, &[&tokens[0]]).await.is_err());
        let minting = "select rolegate.completion_token(1, 1::int2, now(), 0::int2)";
        assert!(
            app.query_one(minting, &[]).await.is_err(),
            "only workers get them"
        );

        stage
            .producer
            .execute("select rolegate.cancel($1)", &[&jobs[0].id])
            .await
            .unwrap();
        stage.complete(&worker, id, &jobs[1..2]).await;
        for token in &tokens[..2] {
            let transaction = app.transaction().await.unwrap();
            transaction
                .execute("insert into public.mail values (0)", &[])
                .await
                .unwrap();
            let error = transaction.query_one(complete, &[token]).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "55000", "{error:?}");
            assert!(transaction.commit().await.is_err() || mails(&stage).await.is_empty());
        }
        assert!(mails(&stage).await.is_empty());

        // Only once, and whoever comes while it is not committed waits, and is refused.
        let transaction = app.transaction().await.unwrap();
        transaction
            .execute("insert into public.mail values (2)", &[])
            .await
            .unwrap();
        transaction
            .query_one(complete, &[&tokens[2]])
            .await
            .unwrap();
        let error = stage
            .producer
            .execute("select rolegate.cancel($1)", &[&jobs[2].id])
            .await
            .unwrap_err();
        assert_eq!(error.code().unwrap().code(), "55P03", "{error:?}");
        transaction.commit().await.unwrap();
        let row = stage
            .producer
            .query_one("select rolegate.cancel($1)", &[&jobs[2].id])
            .await
            .unwrap();
        assert!(!row.get::<_, bool>(0));
        assert!(app.query_one(complete, &[&tokens[2]]).await.is_err());

        // A snapshot of before would not see that it has ended.
        let transaction = app
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .start()
            .await
            .unwrap();
        let error = transaction
            .query_one(complete, &[&tokens[3]])
            .await
            .unwrap_err();
        assert_eq!(error.code().unwrap().code(), "25000", "{error:?}");
        transaction.rollback().await.unwrap();
        stage
            .run("select rolegate.abandon_worker(id) from rolegate.job_worker")
            .await;
        assert!(app.query_one(complete, &[&tokens[3]]).await.is_err());
        // A token of an attempt that has ended is not given.
        let sql = "select rolegate.completion_token($1, $2, $3, 0::int2)";
        let row = worker
            .query_one(sql, &[&jobs[3].claim, &jobs[3].ordinal, &jobs[3].at])
            .await
            .unwrap();
        assert_eq!(row.get::<_, Option<String>>(0), None);
        assert_eq!(mails(&stage).await, [2]);
    })
    .await;
}

#[tokio::test]
async fn sqlx_completes_too() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let role = application(&stage).await;
        let rolegate_pg::wire::Address::Unix { directory, port } = db.endpoint().address() else {
            panic!("tests use the socket");
        };
        let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
            .socket(directory)
            .port(port)
            .username(&role)
            .database(db.name())
            .ssl_mode(sqlx::postgres::PgSslMode::Disable);
        let handlers =
            Handlers::default().function_in("sqlx", move |(): (), job: Job, context: Context| {
                let options = options.clone();
                async move {
                    let mut connection = sqlx::PgConnection::connect_with(&options).await.unwrap();
                    let mut transaction = connection.begin().await.unwrap();
                    sqlx::query("insert into public.mail values ($1)")
                        .bind(job.id)
                        .execute(&mut *transaction)
                        .await
                        .unwrap();
                    context
                        .complete_in_sqlx(&mut transaction, &"done")
                        .await
                        .unwrap();
                    let again = context.complete_in_sqlx(&mut transaction, &"done").await;
                    assert!(matches!(again, Err(CompletionError::Over)), "{again:?}");
                    transaction.rollback().await.unwrap();
                    let mut transaction = connection.begin().await.unwrap();
                    context
                        .complete_in_sqlx(&mut transaction, &"done")
                        .await
                        .unwrap();
                    transaction.commit().await.unwrap();
                    Outcome::Committed
                }
            });
        let worker = start(db, handlers).await;
        let job = enqueue(&stage, "sqlx").await;
        until_state(&stage, job, "completed").await;
        assert!(worker.stop().await);
        assert!(
            mails(&stage).await.is_empty(),
            "that transaction was rolled back"
        );
    })
    .await;
}

#[tokio::test]
async fn what_follows_is_enqueued_with_the_end_for_the_same_principal() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let follow = |kind: &'static str| {
            Enqueue::of(kind, &serde_json::json!({"n": 9_007_199_254_740_993_i64}))
                .priority(1)
                .tags(["t"])
                .deadline(Duration::from_millis(1500))
                .metadata(&[1])
        };
        let handlers = Handlers::default()
            .function("first", move |(): (), _| async move {
                Outcome::output(&1)
                    .then(follow("second"))
                    .then(follow("later").run_after(Duration::from_hours(1)))
            })
            .function("second", move |args: serde_json::Value, job: Job| {
                noted.lock().unwrap().push((args, job.options.tags, job.options.trace));
                async { Outcome::completed() }
            })
            .function("fails", |(): (), _| async {
                Outcome::failed("no").then(Enqueue::of("second", &"clean up"))
            })
            .function("nowhere", |(): (), _| async {
                Outcome::completed().then(Enqueue::of("second", &1).queue("nowhere"))
            })
            .function("unique", |(): (), _| async {
                Outcome::completed().then(Enqueue::of("second", &1).unique_key("k"))
            });
        let worker = start(db, handlers).await;
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let first = Enqueue::of("first", &()).trace(trace).send(&stage.producer).await.unwrap();
        until_state(&stage, first, "completed").await;
        eventually(&stage.superuser, "select count(*) = 1 from rolegate.job_deferred where kind = 'later' and run_at > now() + '59 min'").await;
        eventually(&stage.superuser, "select count(*) = 2 from rolegate.job_outcome").await;
        let expected = serde_json::json!({"n": 9_007_199_254_740_993_i64});
        assert_eq!(
            *seen.lock().unwrap(),
            [(expected, vec!["t".to_owned()], Some(trace.to_owned()))]
        );
        let sql = "select count(distinct principal) from (select principal from rolegate.job \
                   union all select principal from rolegate.job_deferred) j";
        assert_eq!(stage.number(sql).await, 1, "all of it is the producer's");
        seen.lock().unwrap().clear();
        let failed = enqueue(&stage, "fails").await;
        until_state(&stage, failed, "failed").await;
        eventually(&stage.superuser, "select count(*) = 4 from rolegate.job_outcome").await;
        assert_eq!(seen.lock().unwrap()[0].0, "clean up");
        // What can't be enqueued is a failure of the job, and of none beside it.
        for (kind, why) in [("nowhere", "no queue"), ("unique", "unique_key")] {
            let job = enqueue(&stage, kind).await;
            until_state(&stage, job, "failed").await;
            let sql = "select error::text from rolegate.job($1)";
            let row = stage.superuser.query_one(sql, &[&job]).await.unwrap();
            assert!(row.get::<_, String>(0).contains(why), "{}", row.get::<_, String>(0));
        }
        assert!(worker.stop().await);
    })
    .await;
}

#[tokio::test]
async fn nothing_follows_from_an_attempt_that_had_ended() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        let handlers =
            Handlers::default().function_in("slow", move |(): (), _, context: Context| {
                counted.fetch_add(1, Ordering::SeqCst);
                async move {
                    context.cancelled().await;
                    Outcome::completed().then(Enqueue::of("second", &1))
                }
            });
        let worker = start(db, handlers).await;
        let job = enqueue(&stage, "slow").await;
        while begun.load(Ordering::SeqCst) == 0 {
            stage::pause(10).await;
        }
        stage
            .producer
            .execute("select rolegate.cancel($1)", &[&job])
            .await
            .unwrap();
        assert!(worker.stop().await);
        assert_eq!(stage.number("select count(*) from rolegate.job").await, 1);
    })
    .await;
}
