//! Handlers hear that their attempt is over elsewhere.
#![allow(clippy::unwrap_used)]

mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rolegate_jobs::{Context, Handler, Handlers, Job, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::{TestDatabase, for_each_version};
use stage::{Stage, eventually, pause};
use tokio::sync::Semaphore;
use tokio_postgres::Client;

async fn start(db: &TestDatabase, handlers: Handlers, config: WorkerConfig) -> Worker {
    let login = Login::peer("rolegate_worker");
    let sql = EngineSql::new("rolegate");
    Worker::start(&db.wire_endpoint(), &login, &sql, handlers, config)
        .await
        .unwrap()
}

fn one_slot() -> WorkerConfig {
    WorkerConfig {
        concurrency: 1,
        ..WorkerConfig::default()
    }
}

/// What happened to its attempts.
#[derive(Debug, Default)]
struct Seen {
    begun: AtomicUsize,
    told: AtomicUsize,
    dropped: AtomicUsize,
}

impl Seen {
    async fn until(&self, number: &AtomicUsize, wanted: usize) {
        for _ in 0..1000 {
            if number.load(Ordering::SeqCst) >= wanted {
                return;
            }
            pause(10).await;
        }
        panic!("never {wanted}: {self:?}");
    }
}

/// Runs until it is told to end, or for ever.
struct Endless {
    seen: Arc<Seen>,
    listens: bool,
}

struct Dropped<'a>(&'a Seen);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Handler for Endless {
    fn run<'a>(&'a self, _job: Job, context: &'a Context) -> BoxFuture<'a, Outcome> {
        async move {
            let _dropped = Dropped(&self.seen);
            self.seen.begun.fetch_add(1, Ordering::SeqCst);
            if !self.listens {
                std::future::pending::<()>().await;
            }
            context.cancelled().await;
            self.seen.told.fetch_add(1, Ordering::SeqCst);
            Outcome::output(&"in vain")
        }
        .boxed()
    }
}

fn handlers(seen: &Arc<Seen>, listens: bool) -> Handlers {
    let seen = Arc::clone(seen);
    Handlers::default()
        .kind("endless", Endless { seen, listens })
        .function("quick", |(): (), _| async { Outcome::Completed(None) })
}

async fn enqueue(client: &Client, kind: &str) -> i64 {
    let sql = "select rolegate.enqueue($1, 'null')";
    client.query_one(sql, &[&kind]).await.unwrap().get(0)
}

async fn cancel(client: &Client, job: i64) {
    let row = client
        .query_one("select rolegate.cancel($1)", &[&job])
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0), "it was not over");
}

/// The states of the ends that were written.
async fn ends(superuser: &Client) -> String {
    let sql = "select coalesce(string_agg(coalesce(states::text, 'completed'), ' ' order by claim), '') \
               from rolegate.job_outcome";
    superuser.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_cancelled_jobs_handler_is_told_and_its_slot_is_free() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let seen = Arc::new(Seen::default());
        let worker = start(db, handlers(&seen, true), one_slot()).await;
        let job = enqueue(&stage.producer, "endless").await;
        seen.until(&seen.begun, 1).await;
        cancel(&stage.producer, job).await;
        seen.until(&seen.told, 1).await;
        enqueue(&stage.producer, "quick").await;
        eventually(
            &stage.superuser,
            "select count(*) = 2 from rolegate.job_outcome",
        )
        .await;
        assert!(worker.stop().await);
        assert_eq!(ends(&stage.superuser).await, "{x} completed");
        let row = stage
            .producer
            .query_one("select state, output from rolegate.job($1)", &[&job])
            .await
            .unwrap();
        assert_eq!(row.get::<_, String>(0), "cancelled");
        let none: Option<serde_json::Value> = row.get(1);
        assert_eq!(none, None);
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_does_not_listen_is_dropped() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let seen = Arc::new(Seen::default());
        let worker = start(db, handlers(&seen, false), one_slot()).await;
        let job = enqueue(&stage.producer, "endless").await;
        seen.until(&seen.begun, 1).await;
        cancel(&stage.producer, job).await;
        seen.until(&seen.dropped, 1).await;
        enqueue(&stage.producer, "quick").await;
        eventually(
            &stage.superuser,
            "select count(*) = 2 from rolegate.job_outcome",
        )
        .await;
        assert!(worker.stop().await);
        assert_eq!(ends(&stage.superuser).await, "{x} completed");
    })
    .await;
}

/// Anybody may notify.
#[tokio::test]
async fn what_nobody_cancelled_goes_on_whatever_is_said() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let seen = Arc::new(Seen::default());
        let worker = start(db, handlers(&seen, true), one_slot()).await;
        enqueue(&stage.producer, "endless").await;
        seen.until(&seen.begun, 1).await;
        stage
            .producer
            .batch_execute(
                "do $$ begin
                    for claim in 0..50 loop
                        perform pg_notify('rolegate_job_cancel', claim || ':1');
                    end loop;
                    perform pg_notify('rolegate_job_cancel', 'nonsense');
                    perform pg_notify('rolegate_job_cancel', '99999999999999999999:1');
                end $$",
            )
            .await
            .unwrap();
        pause(500).await;
        assert_eq!(
            seen.told.load(Ordering::SeqCst),
            0,
            "it was not told to end"
        );
        assert_eq!(ends(&stage.superuser).await, "");
        drop(worker);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_was_claimed_ahead_and_cancelled_does_not_begin() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let gate = Arc::new(Semaphore::new(0));
        let begun = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (opened, ran) = (Arc::clone(&gate), Arc::clone(&begun));
        let handlers = Handlers::default()
            .function("quick", |(): (), _| async { Outcome::Completed(None) })
            .function("gate", move |(): (), _| {
                let gate = Arc::clone(&opened);
                async move {
                    gate.acquire().await.unwrap().forget();
                    Outcome::Completed(None)
                }
            })
            .function("n", move |n: i32, _| {
                ran.lock().unwrap().push(n);
                async { Outcome::Completed(None) }
            });
        let worker = start(db, handlers, one_slot()).await;
        // After the first quick one all the others are claimed at once.
        stage
            .producer
            .batch_execute(
                "begin; \
                 select rolegate.enqueue_many('quick', array_fill('null'::jsonb, array[50])); \
                 select rolegate.enqueue('gate', 'null'); \
                 select rolegate.enqueue_many('n', array(select to_jsonb(n) from generate_series(1, 3) n)); \
                 commit",
            )
            .await
            .unwrap();
        let sql = "select id from rolegate.job where kind = 'n' and args = '2'";
        let job: i64 = stage.superuser.query_one(sql, &[]).await.unwrap().get(0);
        let claimed = format!("select coalesce((select state = 'running' from rolegate.job({job})), false)");
        eventually(&stage.superuser, &claimed).await;
        cancel(&stage.producer, job).await;
        // It may hear of it now.
        pause(100).await;
        gate.add_permits(1);
        eventually(
            &stage.superuser,
            "select sum(cardinality(ordinals)) = 54 from rolegate.job_outcome",
        )
        .await;
        assert!(worker.stop().await);
        assert_eq!(*begun.lock().unwrap(), [1, 3]);
    })
    .await;
}

#[tokio::test]
async fn handlers_of_a_worker_that_was_given_up_are_told() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let seen = Arc::new(Seen::default());
        let config = WorkerConfig {
            pulse: Duration::from_millis(200),
            ..one_slot()
        };
        let worker = start(db, handlers(&seen, true), config).await;
        let job = enqueue(&stage.producer, "endless").await;
        seen.until(&seen.begun, 1).await;
        stage
            .run("select rolegate.abandon_worker(id) from rolegate.job_worker")
            .await;
        seen.until(&seen.told, 1).await;
        // It went back, and the same process has it again as another worker.
        seen.until(&seen.begun, 2).await;
        cancel(&stage.producer, job).await;
        seen.until(&seen.told, 2).await;
        assert!(worker.stop().await);
        assert_eq!(ends(&stage.superuser).await, "{l} {x}");
        assert_eq!(
            stage
                .number("select count(*) from rolegate.job_worker")
                .await,
            0
        );
    })
    .await;
}

/// LISTEN is lost with its connection, and does nothing behind a pooler.
#[tokio::test]
async fn a_cancellation_that_was_not_heard_is_found_with_the_pulse() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let seen = Arc::new(Seen::default());
        let mut nowhere = db.wire_endpoint();
        nowhere.database = "nowhere".to_owned();
        let config = WorkerConfig {
            pulse: Duration::from_millis(300),
            poll: Duration::from_millis(50),
            direct: Some(nowhere),
            ..one_slot()
        };
        let worker = start(db, handlers(&seen, true), config).await;
        let job = enqueue(&stage.producer, "endless").await;
        seen.until(&seen.begun, 1).await;
        cancel(&stage.producer, job).await;
        seen.until(&seen.told, 1).await;
        assert!(worker.stop().await);
        assert_eq!(ends(&stage.superuser).await, "{x}");
    })
    .await;
}
